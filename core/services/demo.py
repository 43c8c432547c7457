"""The demo gallery: the people in the photos that Robi's own dependencies ship."""

from __future__ import annotations

from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path


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
