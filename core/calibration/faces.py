"""The faces that are compared: unit vectors, person by person."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from core.calibration.model import Numbers
from core.calibration.progress import Step, nothing
from core.domain.decisions import LookAlikes
from core.domain.errors import Unusable
from core.domain.faces import Embeddings
from core.ledger.ledger import Ledger

MOST_BYTES = 512 << 20  # of vectors read at once: a million templates of 128 numbers
FEWEST = 2  # people, and people with two templates: a bootstrap of one varies in nothing

Rows = NDArray[np.int64]
"""Which templates, by their places in `Faces`."""


@dataclass(frozen=True, slots=True, eq=False)
class Faces:
    """`vectors` (n, dimension) are side by side for each person; `person` (n,) are ordinals from 0 upwards.

    `starts` (people,) is where each person's begin; `ids` (n,) and `numbers` (people,) are those of templates
    and persons in the gallery or the set.
    """

    vectors: Embeddings
    person: Numbers
    starts: NDArray[np.int64]
    ids: NDArray[np.int64]
    numbers: NDArray[np.int64]

    @classmethod
    def of(cls, vectors: Embeddings, persons: NDArray[np.int64], ids: NDArray[np.int64]) -> Faces:
        """`persons` are any numbers, equal ones side by side."""
        first = np.flatnonzero(np.diff(persons, prepend=-1))
        counts = np.diff(first, append=len(persons))
        ordinals = np.repeat(np.arange(len(first), dtype=np.int32), counts)
        return cls(vectors, ordinals, first, ids, persons[first])

    @property
    def templates(self) -> int:
        return len(self.person)

    @property
    def people(self) -> int:
        return len(self.starts)

    @property
    def counts(self) -> NDArray[np.int64]:
        """Templates of each person."""
        return np.diff(self.starts, append=self.templates)

    def look_alikes(self, known: LookAlikes) -> LookAlikes:
        """Those of the pairs who are both here, by their ordinals."""
        if not known.margins:
            return known
        ordinals = {number: ordinal for ordinal, number in enumerate(self.numbers.tolist())}
        here = {
            (ordinals[one], ordinals[other]): margin
            for (one, other), margin in known.margins.items()
            if one in ordinals and other in ordinals
        }
        return LookAlikes({(min(pair), max(pair)): margin for pair, margin in here.items()})

    def probes(self, most: int, rng: np.random.Generator) -> Rows:
        """At most so many rows, ascending, of as many different people as possible; drawn at random."""
        if self.templates <= most:
            return np.arange(self.templates)
        order = rng.permutation(self.templates)
        by_person = order[np.argsort(self.person[order], kind="stable")]
        turn = np.arange(self.templates) - np.repeat(self.starts, self.counts)  # 0 is each one's first
        first_turns = by_person[np.lexsort((rng.random(self.templates), turn))]
        return np.sort(first_turns[:most])

    def whole_people(self, most: int, rng: np.random.Generator) -> Rows:
        """The rows, ascending, of random people: at most so many, but one person at least."""
        if self.templates <= most:
            return np.arange(self.templates)
        order = rng.permutation(self.people)
        enough = int(np.searchsorted(np.cumsum(self.counts[order]), most, side="right"))
        wanted = np.zeros(self.people, bool)
        wanted[order[: max(1, enough)]] = True
        return np.flatnonzero(wanted[self.person])


@dataclass(frozen=True, slots=True, eq=False)
class Read:
    """The gallery as it stood at `seq`; `templates` are all there are, `faces` what was read of them."""

    faces: Faces
    seq: int
    templates: int


def read(ledger: Ledger, dimension: int, step: Step = nothing) -> Read:
    """The gallery, or as many of the people active last as `MOST_BYTES` hold.

    Raises:
        Unusable: `empty_gallery`.
    """
    hot = ledger.feed.hot_set(MOST_BYTES // (4 * dimension), progress=step)
    if not hot.count:
        raise Unusable(
            "empty_gallery", "Nobody is enrolled yet.", "Enroll somebody or load the demo gallery."
        )
    rows = slice(hot.count)
    return Read(Faces.of(hot.vectors[rows], hot.persons[rows], hot.ids[rows]), hot.seq, hot.gallery)


def check_enough(faces: Faces) -> None:
    """
    Raises:
        Unusable: `not_enough_templates`, with what is missing.
    """
    if faces.people < FEWEST:
        raise Unusable(
            "not_enough_templates",
            "There is only one person: nobody to tell them apart from.",
            f"At least {FEWEST} people are needed; some hundred, with two photos each, make it meaningful.",
        )
