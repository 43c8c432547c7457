"""The scores of a calibration: all comparisons as matrix products, in blocks of bounded memory.

The one heavy part. numpy releases the interpreter lock during each product, so live searches go on beside it.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from core.calibration.faces import FEWEST, Faces, Rows
from core.calibration.model import Floats, Numbers, OpenSet, Scores
from core.calibration.progress import Step, nothing

BLOCK = 4_000_000  # similarities held at a time: 16 MB
MOST_COMPARISONS = 250_000_000  # template by template; beyond it probes are sampled. 3 s on one core at 128
_MANY = 1024  # templates of one person compared with each other at a time


@dataclass(frozen=True, slots=True, eq=False)
class _Sample:
    person: Numbers
    best: Floats
    second: Floats
    best_person: Numbers
    second_person: Numbers
    impostor: Floats
    claimed: Numbers
    each: int  # impostor scores of every probe


def compare(faces: Faces, *, impostors: int, seed: int, step: Step = nothing) -> Scores:
    """Every template against all of the gallery, without itself; sampled when that would be too much.

    Args:
        impostors: how many impostor comparisons to keep; all when there are no more.
        step: is called between blocks.
    """
    rng = np.random.default_rng(seed)
    own = own_best(faces)
    several = int((faces.counts > 1).sum())
    if several < FEWEST:
        own[:] = np.nan
    rows = faces.probes(max(1, MOST_COMPARISONS // faces.templates), rng)
    sample = _open_set(faces, rows, impostors, rng, step)
    known = ~np.isnan(own)
    probe = np.repeat(sample.person, sample.each)
    return Scores(
        genuine=own[known],
        genuine_person=faces.person[known],
        impostor=sample.impostor,
        impostor_probe=probe,
        impostor_claimed=sample.claimed,
        impostor_possible=faces.templates * (faces.people - 1),
        impostor_pairs=_pairs(probe, sample.claimed, faces.people),
        open_set=OpenSet(
            person=sample.person,
            own=own[rows],
            best=sample.best,
            second=sample.second,
            best_person=sample.best_person,
            second_person=sample.second_person,
            people=faces.people - 1,
        ),
        people=faces.people,
        people_with_several=several,
        templates=faces.templates,
        seed=seed,
    )


def own_best(faces: Faces) -> Floats:
    """Each template's similarity to the best other one of its person, (n,); NaN where there is none."""
    best = np.full(faces.templates, np.nan, np.float32)
    counts = faces.counts
    for count in np.unique(counts[counts > 1]).tolist():
        starts = faces.starts[counts == count]
        at_once = max(1, BLOCK // (count * max(count, faces.vectors.shape[1])))
        for first in range(0, len(starts), at_once):
            rows = starts[first : first + at_once, None] + np.arange(count)
            for part in range(0, count, _MANY):
                best[rows[:, part : part + _MANY]] = _best_of_others(faces.vectors[rows], part)
    return best


def _best_of_others(group: Floats, part: int) -> Floats:
    """`group` (people, count, dimension), of which up to `_MANY` from `part` on are asked about."""
    asked = group[:, part : part + _MANY]
    similarity = asked @ group.transpose(0, 2, 1)
    position = np.arange(asked.shape[1])
    similarity[:, position, part + position] = -np.inf
    best: Floats = similarity.max(axis=2)
    return best


def person_similarities(faces: Faces, rows: Rows) -> Floats:
    """The best similarity of each of some templates to each person, (rows, people)."""
    similarity = faces.vectors[rows] @ faces.vectors.T
    if faces.people == faces.templates:
        return similarity
    best: Floats = np.maximum.reduceat(similarity, faces.starts, axis=1)
    return best


def blocks(rows: Rows, width: int) -> Iterator[Rows]:
    """The rows in turns, so that a block of so wide rows holds at most `BLOCK` numbers."""
    height = max(1, BLOCK // max(1, width))
    for first in range(0, len(rows), height):
        yield rows[first : first + height]


def _open_set(faces: Faces, rows: Rows, impostors: int, rng: np.random.Generator, step: Step) -> _Sample:
    others = faces.people - 1
    each = min(others, max(1, -(-impostors // len(rows))))
    best, second = np.full((2, len(rows)), np.nan, np.float32)
    best_person, second_person = np.zeros((2, len(rows)), np.int32)
    impostor = np.empty((len(rows), each), np.float32)
    claimed = np.empty((len(rows), each), np.int32)
    order = rng.permutation(others)
    done = 0
    for block in blocks(rows, faces.templates):
        step(done / len(rows))
        part = slice(done, done + len(block))
        similarity = person_similarities(faces, block)
        own = faces.person[block]
        place = np.arange(len(block))
        offsets = rng.integers(0, others, (len(block), 1))
        drawn = order[(offsets + np.arange(each)) % others]
        drawn += drawn >= own[:, None]  # numbers of the others, without the own person's
        claimed[part] = drawn
        impostor[part] = np.take_along_axis(similarity, drawn, axis=1)
        similarity[place, own] = -np.inf
        first = similarity.argmax(axis=1)
        best[part], best_person[part] = similarity[place, first], first
        if others > 1:
            similarity[place, first] = -np.inf
            runner_up = similarity.argmax(axis=1)
            second[part], second_person[part] = similarity[place, runner_up], runner_up
        done += len(block)
    step(1.0)
    return _Sample(
        faces.person[rows], best, second, best_person, second_person, impostor.ravel(), claimed.ravel(), each
    )


def _pairs(probe: Numbers, claimed: Numbers, people: int) -> int:
    """How many different pairs of people were compared."""
    low, high = np.minimum(probe, claimed).astype(np.int64), np.maximum(probe, claimed)
    ordered = np.sort(low * people + high)  # numpy's `unique` is slower, and holds the interpreter lock
    return int(np.count_nonzero(np.diff(ordered))) + 1
