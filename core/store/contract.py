"""The contracts of the store: the ledger as tiers see it, and a tier as the store sees it.

A tier is a disposable projection. It stores its own `seq` as a marker point inside itself, written after the
changes it stands for and ordered by the same log, so whatever a crash tears off is simply applied again.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from core.domain.errors import Unavailable
from core.domain.faces import Embedding, Embeddings
from core.domain.json_values import Json
from core.domain.people import GalleryCounts
from core.domain.search import Hit
from core.domain.system import ServerState
from core.domain.templates import Change, ChangeKind, HotSet, StoredTemplate

logger = logging.getLogger("robi.store.cold")

MARKER_ID = 0  # the ledger's template ids start at 1
SPOT_CHECK = 64  # changes at either end of the feed whose vectors are compared after opening
SAME_VECTOR = 0.999  # cosine; tiers store float32, so a true copy is far above


BATCH = 500  # changes that are applied in one step: it blocks a tier's searches for some 20 ms


class ChangeFeed(Protocol):
    """Every call sees only committed state. Template ids are never reused and vectors never change."""

    @property
    def gallery_id(self) -> str:
        """Whose feed this is: a UUID that no other gallery has."""
        ...

    def head(self) -> int:
        """The greatest committed seq, 0 when there is none."""
        ...

    def changes(self, after: int, limit: int) -> Sequence[Change]:
        """At most `limit` changes with a seq above `after`, ascending.

        A put whose template has been erased since comes without its vector.
        """
        ...

    def resolve(self, template_ids: Collection[int]) -> Mapping[int, StoredTemplate]:
        """The templates that exist now; ids that do not are absent."""
        ...

    def hot_set(
        self, limit: int, *, spare: int = 0, progress: Callable[[float], None] = lambda _share: None
    ) -> HotSet:
        """At most `limit` templates of whole people, most recently matched or enrolled first, as of one seq.

        `spare` more rows are left free at the end of the arrays; `progress` is told the share that is read.

        Raises:
            MemoryError: the arrays are too large.
        """
        ...

    def templates_of(self, persons: Collection[int]) -> Sequence[StoredTemplate]:
        """All templates of these people as of now."""
        ...

    def template_ids(self) -> tuple[int, NDArray[np.int64]]:
        """The head and all living template ids, in any order, as of one moment; fast for a million."""
        ...

    def counts(self) -> GalleryCounts: ...


class TierDown(Unavailable):
    """The tier could not answer. The ledger still has everything; the follower heals the tier."""

    def __init__(self, message: str) -> None:
        super().__init__(
            "tier_unavailable", message, "Robi reconnects by itself; see Monitoring for its state."
        )


class Unwritable(TierDown):
    """A change could not be applied. Whether searches are answered is another matter: ask."""


class Stale(TierDown):
    """The tier is not where the caller believed it to be: read its `seq` again."""


class Unsettled(Exception):
    """The ledger was written to while a tier was compared with it."""


class CannotRenew(TierDown):
    """There is no room, or nothing to build from, for a second copy of the tier's content."""


class Tier(Protocol):
    """What the follower needs of a vector tier. Calls raise TierDown when it cannot answer."""

    @property
    def name(self) -> str: ...

    @property
    def kind(self) -> str: ...

    @property
    def seq(self) -> int:
        """The last change applied; never raises."""
        ...

    @property
    def generation(self) -> int:
        """Grows whenever the tier was opened anew, so that its content has to be checked again."""
        ...

    @property
    def complete(self) -> bool:
        """Whether it is to hold every template of the ledger, as of its `seq`; a cache may hold a part."""
        ...

    @property
    def note(self) -> str | None:
        """What an operator should know although the tier works."""
        ...

    @property
    def degraded(self) -> bool:
        """Whether it works on something less than was asked for: on the CPU instead of a GPU."""
        ...

    @property
    def progress(self) -> float | None:
        """0..1 while it is being loaded; None otherwise."""
        ...

    def open(self) -> None:
        """Make the tier ready; does nothing when it is.

        Raises:
            TierDown: it cannot be reached now.
            StartError: it never can with these settings.
        """
        ...

    def apply(self, changes: Sequence[Change], *, after: int) -> None:
        """Apply ascending changes, idempotently, and move `seq` to the last of them.

        Raises:
            Stale: the tier's seq is not `after`; nothing was applied.
        """
        ...

    def search(self, probes: Embeddings, limit: int, ef: int | None = None) -> list[list[Hit]]:
        """For each probe the `limit` most similar templates, best first; fewer when it holds fewer.

        `ef` is how many neighbours a tier with a graph considers in it; None: as many as it does by itself.
        """
        ...

    def count(self) -> int:
        """Templates held."""
        ...

    def ping(self) -> None:
        """Ask for a sign of life, cheaply.

        Raises:
            TierDown: there is none, or what is there is not what this process left there.
        """
        ...

    def held(self, template_ids: Collection[int]) -> Mapping[int, Embedding]:
        """Those of the templates that the tier holds, with their vectors."""
        ...

    def ids(self) -> NDArray[np.int64]:
        """All templates held, in any order, without the marker; searches go on meanwhile."""
        ...

    def clear(self) -> None:
        """Forget everything; `seq` is 0 (or where the tier reloads itself to) afterwards."""
        ...

    def close(self) -> None:
        """Release everything; may be called twice."""
        ...


@dataclass(frozen=True, slots=True)
class Traces:
    """Whether the files of a tier may still hold something of what was erased from it, and until when."""

    there: bool
    gone_by: datetime | None = None  # None: the tier does not say


class ColdTier(Tier, Protocol):
    """A tier that outlives the process."""

    def maintain(self) -> None:
        """Tidy up; called by the follower when there is nothing to apply."""
        ...

    def traces(self) -> Traces:
        """Of anything that was ever erased: engines mark a point as deleted long before they overwrite it."""
        ...

    def info(self) -> Mapping[str, Json]:
        """points, segments, index (in words), retries, restarts, errors."""
        ...


@runtime_checkable
class Renewing(Protocol):
    """A tier that can fill itself anew without ceasing to answer."""

    def renew(self) -> None:
        """Build everything anew from the ledger; return when that answers. The present data do until then.

        Raises:
            CannotRenew: there is no room for it; nothing has changed.
            TierDown: it could not be built; nothing has changed.
        """
        ...


@runtime_checkable
class Served(Protocol):
    """A tier on a server of its own."""

    @property
    def server(self) -> ServerState:
        """How that stands, as far as is known; asks nobody, and never raises."""
        ...


@dataclass(frozen=True, slots=True, eq=False)
class TierBatch:
    """What a run of changes comes to: puts and drops that may be applied in any order."""

    ids: list[int]
    persons: list[int]
    vectors: Embeddings  # (len(ids), dimension)
    drops: list[int]
    seq: int


def condense(changes: Sequence[Change], dimension: int) -> TierBatch:
    """Fold changes into one batch; an id that is dropped, or whose put has lost its vector, ends dropped."""
    puts: dict[int, Change] = {}
    drops: dict[int, None] = {}
    for change in changes:
        if change.kind is ChangeKind.PUT and change.vector is not None:
            puts[change.template_id] = change
        else:
            puts.pop(change.template_id, None)
            drops[change.template_id] = None
    rows = [change.vector for change in puts.values() if change.vector is not None]
    vectors = np.stack(rows) if rows else np.empty((0, dimension), np.float32)
    return TierBatch(list(puts), [c.person for c in puts.values()], vectors, list(drops), changes[-1].seq)


def differs(tier: Tier, feed: ChangeFeed) -> str | None:
    """Why a caught-up tier does not hold what the ledger holds; None if it does.

    Compares the number of templates, and the vectors of those at both ends of the feed: a directory that
    belongs to another ledger can have the right seq and count by chance, but not the right vectors.

    Raises:
        Unsettled: the ledger moved meanwhile.
    """
    head = feed.head()
    expected = feed.counts().templates
    held = tier.count()
    samples = [*feed.changes(0, SPOT_CHECK), *feed.changes(max(0, head - SPOT_CHECK), SPOT_CHECK)]
    if tier.seq != head or feed.head() != head:
        raise Unsettled
    if held != expected:
        return f"it holds {held} templates, the ledger {expected}"
    truth = {c.template_id: c.vector for c in samples if c.kind is ChangeKind.PUT and c.vector is not None}
    found = tier.held(list(truth))
    wrong = [i for i, vector in truth.items() if i not in found or float(found[i] @ vector) < SAME_VECTOR]
    return f"{len(wrong)} of {len(truth)} sampled templates are missing or different" if wrong else None
