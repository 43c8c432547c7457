"""The cold tier on a Qdrant server, over gRPC."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Collection as Ids
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray
from qdrant_client import models

from core.config.settings import Settings
from core.domain.faces import Embedding, Embeddings
from core.domain.json_values import Json, json_object
from core.domain.search import Hit
from core.domain.system import ServerState
from core.domain.templates import Change
from core.store.contract import MARKER_ID, Stale, TierBatch, TierDown, Traces, Unwritable, condense
from core.store.tiers.server.address import Address, addresses
from core.store.tiers.server.collection import PERSON, Collection
from core.store.tiers.server.errors import CallFailed, Hopeless
from core.store.tiers.server.link import Link
from core.store.tiers.server.node import PROBE_SECONDS
from core.store.tiers.server.options import CollectionOwner, ServerOptions
from core.store.tiers.server.replicas import look

logger = logging.getLogger("robi.store.qdrant")

PAGE = 10_000  # ids asked for at once
COUNT_SECONDS = 10.0  # that a count is believed; drift is found by comparing ids


@dataclass(frozen=True, slots=True)
class _Counted:
    state: tuple[int, int]  # generation and seq
    at: float  # monotonic
    templates: int


class QdrantServerTier:
    """Thread-safe. A search of a server that hangs costs one deadline, and none once that is known."""

    complete = True
    degraded = False
    progress: float | None = None
    name = "qdrant"
    kind = "server"
    note: str | None = None

    def __init__(
        self,
        nodes: Sequence[Address],
        collection: str,
        owner: CollectionOwner,
        options: ServerOptions | None = None,
        *,
        pace: float = PROBE_SECONDS,
    ) -> None:
        """`pace`: as that of a `Link`."""
        self._options = options or ServerOptions()
        self._dimension = owner.dimension
        self._link = Link(nodes, pace=pace, write_timeout=self._options.write_timeout)
        self._collection = Collection(self._link, collection, owner, self._options)
        self._frailties = self._options.frailties(len(nodes))
        for frailty in self._frailties:
            logger.warning("the Qdrant cluster: %s", frailty)
        self._lock = threading.Lock()  # held by writers: apply, clear, open
        self._ready = False  # False after any failure: the server may have come back without its data
        self._seq = 0
        self._generation = 0
        self._version_note: str | None = None
        self._looked: ServerState | None = None
        self._counted: _Counted | None = None

    @classmethod
    def of(cls, settings: Settings, owner: CollectionOwner) -> QdrantServerTier:
        """
        Raises:
            StartError: `invalid_setting`.
        """
        return cls(addresses(settings), settings.qdrant_collection, owner, ServerOptions.of(settings))

    @property
    def seq(self) -> int:
        return self._seq

    @property
    def generation(self) -> int:
        return self._generation

    @property
    def server(self) -> ServerState:
        """As it was when last looked at, a few seconds ago; asks nobody."""
        nodes = tuple(node.state() for node in self._link.nodes)
        return replace(self._looked or ServerState(nodes), nodes=nodes, notes=self._notes)

    def open(self) -> None:
        """As `Tier.open`.

        Raises:
            StartError: `qdrant_unauthorized`, `qdrant_untrusted`, `qdrant_incompatible` or
                `collection_mismatch`.
        """
        with self._lock:
            self._link.open()
            if self._ready:
                return
            try:
                self._version_note = self._link.hello()
                self._seq = self._collection.prepare()
            except Hopeless as problem:
                raise problem.error from None
            except CallFailed as problem:
                raise self._link.explained(problem) from None
            self._look()
            self._generation += 1
            self._ready = True
            logger.info("connected to Qdrant %s at seq %d", self._link.version, self._seq)

    def apply(self, changes: Sequence[Change], *, after: int) -> None:
        batch = condense(changes, self._dimension)
        with self._lock, self._watched():
            if self._seq != after:
                raise Stale("The collection was reopened at another position.")
            try:
                self._write(batch)
            except CallFailed as problem:
                raise Unwritable(f"It takes no changes: {problem.message}") from None
            self._seq = batch.seq

    def _write(self, batch: TierBatch) -> None:
        if batch.drops:
            self._collection.delete(batch.drops)
        if batch.ids:
            self._collection.upsert(_points(batch))
        self._collection.mark(batch.seq)

    def search(self, probes: Embeddings, limit: int, ef: int | None = None) -> list[list[Hit]]:
        params, consistency = self._options.search_params(ef), self._options.consistency
        requests = [
            models.QueryRequest(query=probe.tolist(), limit=limit + 1, params=params) for probe in probes
        ]
        name, timeout = self._collection.name, self._options.timeout
        with self._watched():
            answers = self._link.read(
                lambda c: c.query_batch_points(name, requests, consistency=consistency, timeout=timeout)
            )
        return [
            [Hit(p.id, p.score) for p in answer.points if isinstance(p.id, int) and p.id != MARKER_ID][:limit]
            for answer in answers
        ]

    def count(self) -> int:
        """Exactly, but unless something was applied as of up to COUNT_SECONDS ago: counting takes long."""
        state, now = (self._generation, self._seq), time.monotonic()
        known = self._counted
        if self._ready and known and known.state == state and now - known.at < COUNT_SECONDS:
            return known.templates
        with self._watched():
            points = self._link.read(lambda c: c.count(self._collection.name, exact=True), long=True).count
        templates = int(points) - (1 if self._generation else 0)  # the marker is there once it was opened
        self._counted = _Counted(state, now, templates)
        return templates

    def ping(self) -> None:
        """`GET /`, and whether the marker is where this process or a faster one left it.

        A marker behind that was moved back by a slower process, or by a server that lost writes or was
        restored: opening the tier again takes up from there, which is idempotent.
        """
        seq = self._seq
        with self._watched():
            self._version_note = self._link.hello()
            marked = self._collection.marked()
            if marked is None:
                raise TierDown("The Qdrant collection has lost its marker.")
            if marked < seq:
                raise TierDown("The Qdrant collection was put back to an earlier state.")
        self._link.check()
        self._look()

    def held(self, template_ids: Ids[int]) -> Mapping[int, Embedding]:
        wanted = [template_id for template_id in template_ids if template_id != MARKER_ID]
        if not wanted:
            return {}
        name, consistency = self._collection.name, self._options.consistency
        with self._watched():
            records = self._link.read(
                lambda c: c.retrieve(
                    name, wanted, with_payload=False, with_vectors=True, consistency=consistency
                )
            )
        return {int(record.id): np.asarray(record.vector, np.float32) for record in records}

    def ids(self) -> NDArray[np.int64]:
        pages: list[NDArray[np.int64]] = []
        offset: models.ExtendedPointId | None = None
        while not pages or offset is not None:
            page, offset = self._page(offset)
            pages.append(page)
        found = np.concatenate(pages)
        return np.asarray(found[found != MARKER_ID], np.int64)

    def clear(self) -> None:
        with self._lock, self._watched():
            self._collection.clear()
            self._seq = 0
            self._generation += 1

    def maintain(self) -> None:
        """Nothing: the server optimises itself in the background."""

    def traces(self) -> Traces:
        """Always: the server says neither whether nor when a segment of its own was written anew."""
        return Traces(there=True)

    def info(self) -> Mapping[str, Json]:
        """What the server says of the collection, and this side of it; never raises.

        points (about; None while the server is away), segments, index, status, optimizer, shards, replicas,
        nodes, unindexed, replicas_by_shard, transfers, notes, and what `Link.info` tells.
        """
        try:
            found = self._collection.info()
            self._look()
        except TierDown:
            found = {"points": None, "segments": None, "index": "not known", "status": "not known"}
        server = json_object(self.server)
        del server["wanted"], server["status"]  # which are `replicas` and `status` of the collection
        server["replicas_by_shard"] = server.pop("replicas")
        return found | self._link.info() | server

    @property
    def _notes(self) -> tuple[str, ...]:
        version = (self._version_note,) if self._version_note else ()
        return (*self._frailties, *self._collection.notes, *version)

    def _look(self) -> None:
        """What cannot be seen now stays as it was: it decides nothing."""
        with suppress(TierDown):
            self._looked = look(self._link, self._collection.name)

    def close(self) -> None:
        self._ready = False
        self._link.close()  # without the lock: whoever waits for a hanging server need not be waited for

    def _page(
        self, start: models.ExtendedPointId | None
    ) -> tuple[NDArray[np.int64], models.ExtendedPointId | None]:
        name, consistency = self._collection.name, self._options.consistency
        with self._watched():
            records, offset = self._link.read(
                lambda c: c.scroll(
                    name, limit=PAGE, offset=start, with_payload=False, consistency=consistency
                ),
                long=True,
            )
        return np.fromiter((_number(record.id) for record in records), np.int64), offset

    @contextmanager
    def _watched(self) -> Iterator[None]:
        """After a failure the tier has to be opened again before it is believed."""
        try:
            yield
        except Stale:
            raise
        except TierDown:
            self._ready = False
            raise


def _points(batch: TierBatch) -> list[models.PointStruct]:
    rows = zip(batch.ids, batch.persons, batch.vectors, strict=True)
    return [
        models.PointStruct(id=i, vector=vector.tolist(), payload={PERSON: person})
        for i, person, vector in rows
    ]


def _number(point_id: object) -> int:
    """Robi's ids are integers; -1 for a point that somebody else has put there."""
    return point_id if isinstance(point_id, int) else -1
