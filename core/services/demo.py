"""The demo gallery: the people in the photos that Robi's own dependencies ship."""

from __future__ import annotations

from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING

from core.domain.faces import PhotoVerdict, Purpose
from core.domain.people import EnrollResult

if TYPE_CHECKING:
    from core.services.service import RobiService


@dataclass(frozen=True, slots=True)
class DemoPhoto:
    """A photo file and, from left to right, who to enroll its faces as: (user_id, name)."""

    path: Path
    people: tuple[tuple[str, str], ...]


def demo_photos() -> tuple[DemoPhoto, ...]:
    """InsightFace's group photo and portrait, and scikit-image's astronaut."""
    insightface, skimage = _package("insightface"), _package("skimage")
    group = tuple((f"demo-{number}", f"Demo Person {number}") for number in range(1, 7))
    return (
        DemoPhoto(insightface / "data/images/t1.jpg", group),
        DemoPhoto(insightface / "data/images/Tom_Hanks_54745.png", (("tom-hanks", "Tom Hanks"),)),
        DemoPhoto(skimage / "data/astronaut.png", (("eileen-collins", "Eileen Collins"),)),
    )


def _package(name: str) -> Path:
    spec = find_spec(name)
    if spec is None or spec.origin is None:
        raise ModuleNotFoundError(name)
    return Path(spec.origin).parent


def load_demo_gallery(robi: RobiService) -> tuple[EnrollResult, ...]:
    """Enroll the people of the demo photos who are not enrolled yet."""
    return tuple(result for photo in demo_photos() for result in _enrolled(robi, photo))


def _enrolled(robi: RobiService, photo: DemoPhoto) -> list[EnrollResult]:
    """Every face, also one in profile that an operator's photo would be refused for."""
    analysis = robi.pictures.analyze(robi.pictures.decode(photo.path.read_bytes()), Purpose.VERIFY)
    largest = sorted(analysis.faces[: len(photo.people)], key=lambda face: face.box.x1)
    results = []
    for face, (user_id, name) in zip(largest, photo.people, strict=False):
        if robi.ledger.people.find(user_id) is None:
            verdict = PhotoVerdict(photo.path.name, face, (), ())
            results.append(
                robi.enrollment.enroll_verdicts(user_id, name, [verdict], allow_duplicate=True, via="demo")
            )
    return results
