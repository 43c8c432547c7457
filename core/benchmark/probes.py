"""The faces that a run searches for: made from the gallery, from photos, or real ones where they are kept."""

from __future__ import annotations

from collections import Counter

import numpy as np

from core.benchmark.model import ProbeKind, ProbeSource, RecordedScores
from core.domain.errors import BadInput, Unusable
from core.domain.faces import Embeddings
from core.domain.vectors import unit_rows
from core.services.service import RobiService

PAGE = 500  # events read at once


def draw(service: RobiService, source: ProbeSource, count: int, seed: int) -> Embeddings:
    """At most `count` different unit vectors, shape (n, dimension).

    Raises:
        Unusable: `empty_gallery`.
        BadInput: `bad_parameter`, there are no such probes; `invalid_embedding`.
    """
    dimension = service.engine.pack.dimension
    if source.kind is ProbeKind.GALLERY:
        return _perturbed(service, source, count, np.random.default_rng(seed))
    if source.kind is ProbeKind.PHOTOS:
        if source.embeddings is None or not len(source.embeddings):
            raise BadInput("bad_parameter", "No face was found in the photos.", "Choose other photos.")
        return _different(unit_rows(source.embeddings, dimension))[:count]
    recent = service.store.recent.newest(count)
    if not len(recent):
        raise BadInput(
            "bad_parameter",
            "No real probes are kept.",
            "Set ROBI_KEEP_PROBES to how many to keep in memory, or use probes made from the gallery.",
        )
    return _different(recent)


def recorded_scores(service: RobiService, limit: int) -> RecordedScores:
    """The newest decisions on record, at most `limit`."""
    similarities: list[float] = []
    decisions: Counter[str] = Counter()
    cursor: str | None = None
    while (left := limit - decisions.total()) > 0:
        page = service.events.listing(limit=min(left, PAGE), cursor=cursor, kind="verified")
        for event in page.items:
            decisions[str(event.detail.get("decision", "unknown"))] += 1
            if event.detail.get("similarity") is not None:
                similarities.append(float(event.detail["similarity"]))
        cursor = page.next
        if cursor is None:
            break
    return RecordedScores(tuple(similarities), dict(decisions))


def perturbed(vectors: Embeddings, similarity: float, rng: np.random.Generator) -> Embeddings:
    """Unit vectors at exactly this similarity to the given ones, in random directions."""
    noise = rng.standard_normal(vectors.shape)
    noise -= (noise * vectors).sum(axis=1, keepdims=True) * vectors  # only right angles change the angle
    noise /= np.linalg.norm(noise, axis=1, keepdims=True)
    probes: Embeddings = (similarity * vectors + np.sqrt(1 - similarity**2) * noise).astype(np.float32)
    return probes


def _different(rows: Embeddings) -> Embeddings:
    """Each once, in their order: the same photo twice is one probe."""
    return rows[np.sort(np.unique(rows, axis=0, return_index=True)[1])]


def _perturbed(service: RobiService, source: ProbeSource, count: int, rng: np.random.Generator) -> Embeddings:
    """Templates of the gallery changed to look like other photos, and strangers, in random order."""
    ids = np.sort(service.ledger.feed.template_ids()[1])
    chosen = ids[rng.integers(len(ids), size=count - round(count * source.strangers))] if len(ids) else ids
    found = service.ledger.feed.resolve(set(chosen.tolist()))
    templates = [found[i].vector for i in chosen.tolist() if i in found]
    if not len(ids):
        raise Unusable(
            "empty_gallery", "Nobody is enrolled yet.", "Enroll somebody or load the demo gallery."
        )
    dimension = service.engine.pack.dimension
    near = np.stack(templates) if templates else np.empty((0, dimension), np.float32)
    strangers = rng.standard_normal((count - len(near), dimension))
    strangers /= np.linalg.norm(strangers, axis=1, keepdims=True)
    both = np.vstack([perturbed(near, source.similarity, rng), strangers])
    return unit_rows(rng.permutation(both), dimension)
