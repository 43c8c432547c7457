from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pytest

from core.calibration.calibrate import of_faces
from core.calibration.faces import Faces
from core.calibration.model import Calibration
from core.calibration.progress import ProgressWatch
from core.domain.decisions import Rule
from core.domain.faces import Embeddings, PackInfo
from core.domain.templates import NewTemplate
from core.domain.vectors import unit_rows
from core.services.service import RobiService

PACK = PackInfo(id="open", digest="ab" * 32, dimension=16, licence="test")
RULE = Rule(threshold=0.6, margin=0.05, review_band=0.05)


def crowd(counts: Sequence[int], *, seed: int = 1, dimension: int = 16, spread: float = 0.25) -> Embeddings:
    """Photos of people with so many photos each, side by side; few dimensions make strangers look alike."""
    random = np.random.default_rng(seed)
    centers = np.repeat(
        unit_rows(random.standard_normal((len(counts), dimension)), dimension), counts, axis=0
    )
    return unit_rows(centers + spread * random.standard_normal(centers.shape), dimension)


def faces_of(counts: Sequence[int], **options: float) -> Faces:
    vectors = crowd(counts, **options)  # type: ignore[arg-type]
    return Faces.of(vectors, np.repeat(np.arange(len(counts)) + 7, counts), np.arange(len(vectors)) + 100)


def calibration_of(
    counts: Sequence[int], rule: Rule = RULE, *, sample: int = 1_000_000, **options: float
) -> Calibration:
    return of_faces(faces_of(counts, **options), PACK, rule, impostors=sample, watch=ProgressWatch())


def enroll(service: RobiService, counts: Sequence[int], **options: float) -> Embeddings:
    """People p0, p1, … in a real ledger; the vectors in the order of the templates."""
    vectors = crowd(counts, dimension=service.engine.pack.dimension, **options)  # type: ignore[arg-type]
    first = 0
    for number, count in enumerate(counts):
        rows = vectors[first : first + count]
        service.ledger.people.enroll(
            f"p{number}", f"Person {number}", [NewTemplate(row, 0.9, "api") for row in rows]
        )
        first += count
    return vectors


@pytest.fixture(scope="module")
def mixed() -> Faces:
    """People with one to six photos."""
    return faces_of([1, 2, 3, 6, 1, 4, 2, 5, 3, 2] * 4)
