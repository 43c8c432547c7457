"""Synthetic galleries for benchmarks: people whose photos resemble each other as real ones do."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime

import numpy as np

from core.domain.faces import Embeddings
from core.domain.vectors import unit_rows
from core.ledger.ledger import Ledger

GENUINE = 0.72  # cosine of two photos of one person: the median of genuine pairs with the open pack
CHUNK = 50_000  # templates made and written at a time


@dataclass(frozen=True, slots=True)
class Gallery:
    """`people` with `each` templates, drawn anew from the seed whenever they are needed."""

    people: int
    each: int
    dimension: int
    seed: int = 1

    @property
    def templates(self) -> int:
        return self.people * self.each

    def chunks(self) -> Iterator[Embeddings]:
        """All templates in the order of their ids, person by person, some thousand at a time."""
        random = np.random.default_rng(self.seed)
        step = max(1, CHUNK // self.each)
        for start in range(0, self.people, step):
            centers = _unit(random, min(step, self.people - start), self.dimension)
            yield self._photos(np.repeat(centers, self.each, axis=0), random)

    def vectors(self) -> Embeddings:
        return np.concatenate(list(self.chunks()))

    def known(self, vectors: Embeddings, count: int) -> tuple[Embeddings, np.ndarray]:
        """New photos of random people, and the number of each person, counted from 0."""
        random = np.random.default_rng(self.seed + 1)
        persons = random.integers(0, self.people, count)
        own = vectors.reshape(self.people, self.each, self.dimension)[persons]
        return self._photos(unit_rows(own.mean(axis=1), self.dimension), random), persons

    def strangers(self, count: int) -> Embeddings:
        return _unit(np.random.default_rng(self.seed + 2), count, self.dimension)

    def _photos(self, centers: Embeddings, random: np.random.Generator) -> Embeddings:
        spread = np.sqrt((1 / GENUINE - 1) / self.dimension, dtype=np.float32)
        noise = random.standard_normal(centers.shape, np.float32)
        return unit_rows(centers + spread * noise, self.dimension)


def fill(ledger: Ledger, gallery: Gallery) -> None:
    """Write the gallery into an empty ledger, in a few transactions instead of one for each person."""
    at = datetime.now(UTC).replace(tzinfo=None).isoformat(sep=" ")
    first = 1
    for vectors in gallery.chunks():
        ids = range(first, first + len(vectors))
        persons = [(i - 1) // gallery.each + 1 for i in ids]
        with ledger.database.write() as connection:
            driver = connection.connection.cursor()
            driver.executemany(
                "INSERT INTO people (id, user_id, name, search_key, metadata, created_at, updated_at,"
                " active_at) VALUES (?, ?, ?, ?, '{}', ?, ?, ?)",
                [(p, f"p{p}", f"Person {p}", f"person {p}", at, at, at) for p in sorted(set(persons))],
            )
            driver.executemany(
                "INSERT INTO templates (id, person_id, vector, quality, via, created_at)"
                " VALUES (?, ?, ?, 1.0, 'api', ?)",
                [(i, p, row.tobytes(), at) for i, p, row in zip(ids, persons, vectors, strict=True)],
            )
            driver.executemany(
                "INSERT INTO changes (kind, template_id, person_id, at) VALUES ('put', ?, ?, ?)",
                [(i, p, at) for i, p in zip(ids, persons, strict=True)],
            )
        first += len(vectors)


def _unit(random: np.random.Generator, count: int, dimension: int) -> Embeddings:
    return unit_rows(random.standard_normal((count, dimension), np.float32), dimension)
