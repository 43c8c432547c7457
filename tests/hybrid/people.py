"""Synthetic people, and the exact answer to who a probe is."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from core.domain.decisions import Rule
from core.domain.faces import Embedding, Embeddings
from core.domain.search import Decision, SearchResult

WITHIN = 0.72  # cosine of two looks at one person: the median genuine pair of the open pack
EACH = 3  # templates a person
TOLERANCE = 1e-3  # of a similarity; people closer than that to each other may change places


@dataclass(frozen=True, slots=True, eq=False)
class People:
    """Random directions, around each of which the looks of one person gather."""

    user_ids: tuple[str, ...]
    templates: NDArray[np.float32]  # (people, EACH, dimension)
    probes: Embeddings  # (people, dimension): one more look at each

    def __len__(self) -> int:
        return len(self.user_ids)

    def __iter__(self) -> Iterator[tuple[str, Embeddings]]:
        return zip(self.user_ids, self.templates, strict=True)

    def probe_of(self) -> Mapping[str, Embedding]:
        return dict(zip(self.user_ids, self.probes, strict=True))

    def cosine(self) -> float:
        """The mean cosine between two templates of one person."""
        products = np.einsum("nij,nkj->nik", self.templates, self.templates)
        return float(products[:, *np.triu_indices(EACH, 1)].mean())


@dataclass(frozen=True, slots=True)
class Truth:
    """The exact answer to one probe: the best people with their similarities, and the decision."""

    ranked: tuple[tuple[str, float], ...]
    decision: Decision


def people_of(rng: np.random.Generator, count: int, dimension: int, prefix: str) -> People:
    """`count` people whose looks have a cosine of WITHIN to each other, give or take 0.28/√dimension."""
    centres = strangers_of(rng, count, dimension)[:, None]
    noise = rng.standard_normal((count, EACH + 1, dimension), np.float32)
    noise -= (noise * centres).sum(axis=2, keepdims=True) * centres  # across, so that the angle is known
    noise /= np.linalg.norm(noise, axis=2, keepdims=True)
    looks = np.float32(np.sqrt(WITHIN)) * centres + np.float32(np.sqrt(1 - WITHIN)) * noise
    user_ids = tuple(f"{prefix}{number}" for number in range(count))
    return People(user_ids, looks[:, :EACH], np.ascontiguousarray(looks[:, EACH]))


def strangers_of(rng: np.random.Generator, count: int, dimension: int) -> Embeddings:
    """Shape (count, dimension): unit vectors in random directions."""
    rows = rng.standard_normal((count, dimension), np.float32)
    return rows / np.linalg.norm(rows, axis=1, keepdims=True)


def exact(people: People, probes: Embeddings, k: int, rule: Rule) -> list[Truth]:
    """The oracle: numpy compares every probe with every template; the best of each person counts."""
    flat = people.templates.reshape(-1, people.templates.shape[2])
    return [_truth(people, (flat @ probe).reshape(-1, EACH).max(axis=1), k, rule) for probe in probes]


def _truth(people: People, best: NDArray[np.float32], k: int, rule: Rule) -> Truth:
    top = np.argsort(-best, kind="stable")[:k]
    ranked = sorted(((people.user_ids[i], float(best[i])) for i in top), key=lambda p: (-p[1], p[0]))
    return Truth(tuple(ranked), rule.decide([similarity for _, similarity in ranked]))


def agrees(result: SearchResult, truth: Truth, floor: float) -> bool:
    """Same decision, and the same people and similarities down to `floor`; ties may change places."""
    wanted: Sequence[float] = [similarity for _, similarity in truth.ranked if similarity >= floor]
    if result.decision is not truth.decision or len(result.candidates) < len(wanted):
        return False
    known = dict(truth.ranked)
    return all(
        abs(candidate.similarity - similarity) <= TOLERANCE
        and abs(known.get(candidate.user_id, -1.0) - similarity) <= TOLERANCE
        for candidate, similarity in zip(result.candidates, wanted, strict=False)
    )
