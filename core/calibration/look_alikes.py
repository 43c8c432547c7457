"""The people to look at: different ones who resemble each other most, and templates that resemble their own
person least."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass

import faiss
import numpy as np
from numpy.typing import NDArray

from core.calibration.faces import Faces, Rows
from core.calibration.model import Floats
from core.calibration.people import ConfusablePair, WeakTemplate
from core.calibration.progress import Step, nothing
from core.calibration.score_blocks import blocks, own_best, person_similarities
from core.domain.faces import Embeddings
from core.ledger.ledger import Ledger

LIMIT = 50  # people to look at
EXACT_BELOW = 20_000  # templates: all are compared; beyond, with their neighbours in an index
_POINTS_PER_LIST = 39  # what FAISS asks for to train an IVF list
_PROBED = 16  # lists of the index that are looked into
_ITERATIONS = 5  # of k-means; the lists need not be the best ones
_NEIGHBOURS = 8  # of each template, besides those of its own person
_MOST_NEIGHBOURS = 64
_AT_ONCE = 1024


@dataclass(frozen=True, slots=True, eq=False)
class Alike:
    """Pairs, (n,) each, most alike first and each pair of people once; `a` and `b` are rows of `Faces`."""

    a: Rows
    b: Rows
    similarity: Floats


def closest(faces: Faces, limit: int = LIMIT, step: Step = nothing) -> Alike:
    """The `limit` closest pairs of people; exact up to `EXACT_BELOW` templates, by an index beyond."""
    if faces.people < 2:
        return _NOBODY
    find = _all_pairs if faces.templates <= EXACT_BELOW else _neighbours
    return find(faces, limit, step)


def confusable_pairs(
    ledger: Ledger, faces: Faces, alike: Alike, confirmed: Collection[frozenset[str]] = ()
) -> tuple[ConfusablePair, ...]:
    """Who was erased meanwhile is left out. `confirmed` are pairs of user_ids of two people."""
    owners = ledger.people.template_owners(faces.ids[np.concatenate([alike.a, alike.b])].tolist())
    pairs = []
    for rows, similarity in zip(np.stack([alike.a, alike.b], 1), alike.similarity.tolist(), strict=True):
        ids = faces.ids[rows].tolist()
        if any(template not in owners for template in ids):
            continue
        (one, first), (other, second) = sorted(((owners[i], i) for i in ids), key=lambda end: end[0].user_id)
        is_confirmed = frozenset((one.user_id, other.user_id)) in confirmed
        pairs.append(ConfusablePair(one.user_id, other.user_id, first, second, similarity, is_confirmed))
    return tuple(pairs)


def weak_templates(ledger: Ledger, faces: Faces, limit: int = LIMIT) -> tuple[WeakTemplate, ...]:
    """Weakest first, of people with several templates."""
    best = own_best(faces)
    known = np.flatnonzero(~np.isnan(best))
    rows = known[np.argsort(best[known], kind="stable")[:limit]]
    owners = ledger.people.template_owners(faces.ids[rows].tolist())
    counts = faces.counts
    return tuple(
        WeakTemplate(
            template_id=template,
            user_id=owners[template].user_id,
            name=owners[template].name,
            own_best=float(best[row]),
            others=int(counts[faces.person[row]]) - 1,
            quality=owners[template].quality,
            asked=owners[template].asked,
        )
        for row, template in zip(rows.tolist(), faces.ids[rows].tolist(), strict=True)
        if template in owners
    )


_NOBODY = Alike(np.empty(0, np.int64), np.empty(0, np.int64), np.empty(0, np.float32))


def _all_pairs(faces: Faces, limit: int, step: Step) -> Alike:
    """The best of every person to every later one, keeping only what may still be among the closest."""
    found = _NOBODY
    for block in blocks(np.arange(faces.templates), faces.templates):
        step(int(block[0]) / faces.templates)
        people = faces.person[block]
        first = np.flatnonzero(np.diff(people, prepend=-1))
        similarity = np.maximum.reduceat(person_similarities(faces, block), first, axis=0)
        similarity[np.arange(faces.people) <= people[first][:, None]] = -np.inf
        found = _closest(_merged(found, _above(similarity, people[first], found, limit)), limit)
    step(1.0)
    return _templates_of(faces, found)


def _above(similarity: Floats, people: NDArray[np.int32], found: Alike, limit: int) -> Alike:
    """The pairs of people of a block, (some people, people), that can be among the closest `limit`."""
    floor = found.similarity[-1] if len(found.similarity) == limit else np.float32(-1.5)
    place = np.flatnonzero(similarity > floor)
    value = similarity.ravel()[place]
    if len(place) > limit:
        best = np.argpartition(-value, limit)[:limit]
        place, value = place[best], value[best]
    row, other = np.divmod(place, similarity.shape[1])
    return Alike(people[row].astype(np.int64), other, value)


def _merged(one: Alike, other: Alike) -> Alike:
    return Alike(
        np.concatenate([one.a, other.a]),
        np.concatenate([one.b, other.b]),
        np.concatenate([one.similarity, other.similarity]),
    )


def _closest(pairs: Alike, limit: int) -> Alike:
    """The closest `limit` of pairs of people, each pair once."""
    order = np.lexsort((pairs.b, pairs.a, -pairs.similarity))
    ends = np.stack([pairs.a[order], pairs.b[order]], axis=1)
    _, first = np.unique(ends, axis=0, return_index=True)
    kept = order[np.sort(first)[:limit]]
    return Alike(pairs.a[kept], pairs.b[kept], pairs.similarity[kept])


def _templates_of(faces: Faces, pairs: Alike) -> Alike:
    """From pairs of people to the two templates of each that are most alike."""
    ends = np.append(faces.starts, faces.templates)
    a, b = np.empty_like(pairs.a), np.empty_like(pairs.b)
    for number, (one, other) in enumerate(zip(pairs.a.tolist(), pairs.b.tolist(), strict=True)):
        similarity = faces.vectors[ends[one] : ends[one + 1]] @ faces.vectors[ends[other] : ends[other + 1]].T
        row, column = np.divmod(int(similarity.argmax()), similarity.shape[1])
        a[number], b[number] = ends[one] + row, ends[other] + column
    return Alike(a, b, pairs.similarity)


def _neighbours(faces: Faces, limit: int, step: Step) -> Alike:
    """The nearest templates of others, by inverted lists.

    The more alike two people are, the surer they share a list: of the 50 closest pairs among 2,000 people at
    random, with cosines from 0.4, one in five was missed.
    """
    threads = faiss.omp_get_max_threads()
    faiss.omp_set_num_threads(1)  # of this thread alone: the other cores are for searches
    try:
        index = _index(faces.vectors)
        found = _NOBODY
        wanted = min(_MOST_NEIGHBOURS, int(faces.counts.max()) + _NEIGHBOURS)
        for first in range(0, faces.templates, _AT_ONCE):
            step(0.2 + 0.8 * first / faces.templates)
            rows = np.arange(first, min(first + _AT_ONCE, faces.templates))
            similarity, near = index.search(faces.vectors[rows], wanted)
            found = _closest(_merged(found, _of_others(faces, rows, near, similarity)), limit)
    finally:
        faiss.omp_set_num_threads(threads)
    step(1.0)
    return _templates_of(faces, found)


def _index(vectors: Embeddings) -> faiss.IndexIVFFlat:
    dimension = vectors.shape[1]
    lists = int(2 * np.sqrt(len(vectors)))
    quantizer = faiss.IndexFlatIP(dimension)
    index = faiss.IndexIVFFlat(quantizer, dimension, lists, faiss.METRIC_INNER_PRODUCT)
    index.cp.niter, index.cp.max_points_per_centroid = _ITERATIONS, _POINTS_PER_LIST
    index.nprobe = _PROBED
    index.train(vectors)
    index.add(vectors)
    return index


def _of_others(faces: Faces, rows: Rows, near: Rows, similarity: Floats) -> Alike:
    """The neighbours that are other people's, as pairs of people with the smaller number first."""
    one = np.repeat(faces.person[rows], near.shape[1]).astype(np.int64)
    other = faces.person[near.ravel()].astype(np.int64)
    others = (near.ravel() >= 0) & (one != other)  # -1: the lists held no more
    low, high = np.minimum(one, other)[others], np.maximum(one, other)[others]
    return Alike(low, high, similarity.ravel()[others])
