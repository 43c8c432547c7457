"""What an engineer may change while Robi runs: over the settings of the environment, kept in the ledger."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields, replace
from datetime import datetime
from typing import TypeAlias, TypedDict, cast, get_args

from core.config.settings import IndexType, Settings
from core.domain.bounds import EYE_DISTANCE, MARGIN, NPROBE, REVIEW_BAND, SEARCH_EF, THRESHOLD
from core.domain.errors import BadInput
from core.domain.search import Strategy
from core.domain.validation import checked_strategy

TuningValue: TypeAlias = str | float
"""Of one field of a tuning, as JSON knows it; whole numbers, too."""


class TuningChanges(TypedDict, total=False):
    """Fields of a tuning."""

    strategy: Strategy
    threshold: float
    margin: float
    review_band: float
    min_eye_distance: float
    index_type: IndexType
    nprobe: int
    search_ef: int


@dataclass(frozen=True, slots=True)
class Tuning:
    """How Robi searches and decides. `values` of a step are those that differ from the settings."""

    strategy: Strategy
    threshold: float
    margin: float
    review_band: float
    min_eye_distance: float
    index_type: IndexType
    nprobe: int
    search_ef: int

    @classmethod
    def of(cls, settings: Settings) -> Tuning:
        return cls(
            strategy=settings.search_strategy,
            threshold=settings.face_threshold,
            margin=settings.face_margin,
            review_band=settings.face_review_band,
            min_eye_distance=settings.face_min_eye_distance,
            index_type=settings.faiss_index_type,
            nprobe=settings.faiss_nprobe,
            search_ef=settings.qdrant_search_ef,
        )

    @property
    def review_floor(self) -> float:
        """Similarity below which nobody is proposed."""
        return self.threshold - self.review_band


@dataclass(frozen=True, slots=True)
class TuningStep:
    """One change: the `values` that differ from the settings since then, and why."""

    id: int
    at: datetime
    values: Mapping[str, TuningValue]
    reason: str


def tuned(tuning: Tuning, changes: Mapping[str, object]) -> Tuning:
    """`tuning` with some fields changed, checked as the settings are.

    Raises:
        BadInput: `bad_parameter`, `bad_strategy`.
    """
    unknown = changes.keys() - {field.name for field in fields(Tuning)}
    if unknown:
        raise BadInput("bad_parameter", "There is no such setting to tune.", "See the Settings page.")
    clean = {name: _of_kind(name, value) for name, value in changes.items()}
    changed = replace(tuning, **cast("TuningChanges", clean))
    _check(changed)
    return changed


def _of_kind(name: str, value: object) -> object:
    if name == "strategy":
        return checked_strategy(str(value))
    wanted = {"nprobe": int, "search_ef": int, "index_type": str}.get(name, (int, float))
    if not isinstance(value, wanted) or isinstance(value, bool):
        raise BadInput("bad_parameter", f"This is no value for {name}.", "See the Settings page.")
    return value


def differing(tuning: Tuning, settings: Settings) -> dict[str, TuningValue]:
    """What of a tuning is not as the settings say; JSON-ready."""
    usual = asdict(Tuning.of(settings))
    return {name: value for name, value in asdict(tuning).items() if value != usual[name]}


def _check(tuning: Tuning) -> None:
    refused = [sentence for right, sentence in _rules(tuning) if not right]
    if refused:
        raise BadInput("bad_parameter", refused[0], "Choose another value.")


def _rules(tuning: Tuning) -> list[tuple[bool, str]]:
    """What must hold (also false for NaN), with what to say when it does not."""
    return [
        (tuning.threshold in THRESHOLD, f"The threshold must be {THRESHOLD}."),
        (tuning.margin in MARGIN, f"The margin must be {MARGIN}."),
        (tuning.review_band in REVIEW_BAND, f"The review band must be {REVIEW_BAND}."),
        (tuning.review_band < tuning.threshold, "The review band must be smaller than the threshold."),
        (
            tuning.min_eye_distance in EYE_DISTANCE,
            f"The least distance of the eyes must be {EYE_DISTANCE} pixels.",
        ),
        (tuning.index_type in get_args(IndexType), "There is no such FAISS index type."),
        (tuning.nprobe in NPROBE, f"nprobe must be {NPROBE}."),
        (tuning.search_ef in SEARCH_EF, f"The search's ef must be {SEARCH_EF}."),
    ]
