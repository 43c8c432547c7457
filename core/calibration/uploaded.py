"""An evaluation set: what goes in, and what comes out."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from core.calibration.model import Calibration
from core.domain.decisions import TOLERANCE
from core.domain.statistics import Interval


@dataclass(frozen=True, slots=True)
class Upload:
    """One uploaded file: a zip, or an image with its path inside the folder, `ana/1.jpg`."""

    path: str
    data: bytes


@dataclass(frozen=True, slots=True)
class Skipped:
    """A file that is no image of a person: junk, or refused. `reason` is a code of `archive.REASONS`; of an
    image that could not be enrolled, one of `Evaluation.failures`."""

    path: str
    reason: str


@dataclass(frozen=True, slots=True, eq=False)
class Extreme:
    """Two pictures that the matcher finds least (genuine) or most (impostor) alike; thumbnails are JPEG."""

    genuine: bool
    similarity: float
    a_path: str
    b_path: str
    a_thumbnail: bytes
    b_thumbnail: bytes

    def is_error(self, threshold: float) -> bool:
        """Whether 1:1 goes wrong with these two: refused though genuine, accepted though not."""
        return self.genuine != (self.similarity >= threshold - TOLERANCE)


@dataclass(frozen=True, slots=True, eq=False)
class Evaluation:
    """An evaluation set, in memory only.

    `failures` counts the images that could not be enrolled by reason (`Reason` values, and error codes of
    files that are no readable image); one image may have several. `failed` and `skipped` name the first
    `evaluation.MOST_LISTED`, `skipped_files` are all.
    """

    calibration: Calibration
    images: int
    enrolled: int
    failure_interval: Interval  # of `failure_to_enroll`, by Wilson
    failures: Mapping[str, int]
    failed: tuple[Skipped, ...]
    skipped: tuple[Skipped, ...]
    skipped_files: int
    extremes: tuple[Extreme, ...]  # genuine ones first, worst first; errors or not

    @property
    def failure_to_enroll(self) -> float:
        """The share of images without a face that could be enrolled."""
        return 1 - self.enrolled / self.images

    def worst_errors(self, threshold: float) -> tuple[Extreme, ...]:
        """Those of the extremes that are errors at a threshold; genuine ones first, worst first."""
        return tuple(one for one in self.extremes if one.is_error(threshold))
