"""The collection on a Qdrant server: created, checked against its owner, kept as the settings want it."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from qdrant_client import models

from core.domain.errors import StartError
from core.domain.json_values import JsonObject
from core.store.contract import MARKER_ID
from core.store.tiers.server.errors import CallFailed
from core.store.tiers.server.link import Link
from core.store.tiers.server.options import CollectionOwner, ServerOptions

logger = logging.getLogger("robi.store.qdrant")

PERSON = "person"  # the payload field with the ledger's number of the person


class Collection:
    """One collection. Raises what `Link` raises; thread-safe except for `prepare` and `clear`."""

    def __init__(self, link: Link, name: str, owner: CollectionOwner, options: ServerOptions) -> None:
        self._link = link
        self.name = name
        self._owner = owner
        self._options = options
        self.notes: tuple[str, ...] = ()  # where it differs from the settings in ways that change no answer

    def prepare(self) -> int:
        """Create the collection, or check that it is this gallery's. Returns the seq of its marker.

        Raises:
            StartError: `collection_mismatch`; nothing was changed.
        """
        if not self._exists():
            self._create()
        info = self._link.read(lambda c: c.get_collection(self.name))
        marker = self._retrieve_marker()
        if not self._is_ours(info, marker):
            self._adopt()
        elif self._outlived_its_pack(info, marker):
            self._delete()
            return self.prepare()
        if PERSON not in info.payload_schema:
            self._index_persons()
        self._tune(info)
        if marker is None:
            self.mark(0)
            return 0
        return int(marker["seq"])

    def clear(self) -> None:
        """Delete it and create it anew, provided that it is still this gallery's."""
        if self._exists():
            info = self._link.read(lambda c: c.get_collection(self.name))
            self._is_ours(info, self._retrieve_marker())
            self._delete()
        self.prepare()

    def upsert(self, points: list[models.PointStruct]) -> None:
        """Returns once the points can be found.

        Raises:
            CallFailed: also when the server has only taken note of them (`unfinished`).
        """
        ordering = self._options.ordering
        self._completed(
            self._link.write(lambda c: c.upsert(self.name, points, wait=True, ordering=ordering)),
        )

    def delete(self, ids: Sequence[int]) -> None:
        """As `upsert`."""
        selector = models.PointIdsList(points=[*ids])
        ordering = self._options.ordering
        self._completed(
            self._link.write(
                lambda c: c.delete(self.name, points_selector=selector, wait=True, ordering=ordering)
            )
        )

    def mark(self, seq: int) -> None:
        """Say inside the collection how far it has followed the ledger.

        Several processes may follow one ledger into one collection, without agreeing among themselves:
        - Each applies the same changes in the same order, and each change is idempotent. So a process that
          lags behind another can only move the marker back, and whoever opens the collection then applies
          some changes once more.
        - A put and an erasure can cross: one process has read a put together with its vector, another one
          applies the erasure, and then the first one's upsert arrives. That leaves a point whose template is
          gone. It is never answered, because results are joined with the ledger; it goes with the erasure
          that the first process applies next. Should that process end just then, the marker says whether
          anybody will: either it was moved back to before the erasure, which the others notice when they
          ping and replay, or it was not, and the point stays until the next comparison of ids.
        """
        vector = np.eye(1, self._owner.dimension)[0].tolist()
        payload = {"seq": seq, **self._owner.stamp}
        self.upsert([models.PointStruct(id=MARKER_ID, vector=vector, payload=payload)])

    def marked(self) -> int | None:
        """The seq of the marker; None when it is gone, or is another gallery's."""
        marker = self._retrieve_marker()
        if marker is None or marker.get("gallery") != self._owner.gallery_id:
            return None
        return int(marker["seq"])

    def info(self) -> JsonObject:
        """points (about), segments, index (in words), status, optimizer, shards, replicas."""
        found = self._link.read(lambda c: c.get_collection(self.name))
        indexed, params = found.indexed_vectors_count, found.config.params
        return {
            "points": max(0, (found.points_count or 0) - 1),
            "segments": found.segments_count,
            "index": f"HNSW over {indexed} points" if indexed else "none yet: exact scan of all points",
            "status": str(found.status.value),
            "optimizer": _optimizer(found.optimizer_status),
            "shards": params.shard_number or 1,
            "replicas": params.replication_factor or 1,
        }

    def _exists(self) -> bool:
        return self._link.read(lambda c: c.collection_exists(self.name))

    def _create(self) -> None:
        """With the owner's stamp: of two galleries that create it at once, one is refused."""
        wanted = self._options
        vectors = models.VectorParams(
            size=self._owner.dimension, distance=models.Distance.COSINE, on_disk=wanted.on_disk
        )
        try:
            self._link.write(
                lambda c: c.create_collection(
                    self.name,
                    vectors_config=vectors,
                    shard_number=wanted.shards,
                    replication_factor=wanted.replicas,
                    write_consistency_factor=wanted.write_consistency,
                    hnsw_config=wanted.hnsw,
                    quantization_config=wanted.quantization,
                    metadata=self._owner.stamp,
                )
            )
        except CallFailed:
            if not self._exists():  # or another process was first, or the answer to our own creation was lost
                raise
        logger.info("created the Qdrant collection %s", self.name)

    def _delete(self) -> None:
        self._link.write(lambda c: c.delete_collection(self.name))

    def _index_persons(self) -> None:
        """For lookups by person. Not waited for: over a large collection it takes longer than a deadline."""
        schema = models.PayloadSchemaType.INTEGER
        self._link.write(lambda c: c.create_payload_index(self.name, PERSON, schema, wait=False))

    def _is_ours(self, info: models.CollectionInfo, marker: Mapping[str, object] | None) -> bool:
        """Whether it carries this gallery's stamp; False when it carries none and nothing is lost.

        Raises:
            StartError: `collection_mismatch`, when it is somebody else's.
        """
        stamp = {**(info.config.metadata or {}), **(marker or {})}
        owner = stamp.get("gallery")
        if owner == self._owner.gallery_id:
            return True
        if owner is not None:
            raise self._mismatch(f"belongs to another gallery ({str(owner)[:8]})")
        if marker is None and self._points(marker):
            raise self._mismatch("holds points that Robi did not put there")
        if reason := self._misfit(info):
            raise self._mismatch(reason)
        return False

    def _outlived_its_pack(self, info: models.CollectionInfo, marker: Mapping[str, object] | None) -> bool:
        """Whether it was made for another face pack and is empty: an emptied gallery may be bound anew.

        Raises:
            StartError: `collection_mismatch`, when it is not empty.
        """
        pack = {**(info.config.metadata or {}), **(marker or {})}.get("pack")
        reason = self._misfit(info)
        if reason is None and pack != self._owner.pack_digest:
            reason = f"was made with another face pack ({str(pack)[:12]})"
        if reason is not None and self._points(marker):
            raise self._mismatch(reason)
        return reason is not None

    def _adopt(self) -> None:
        self._link.write(lambda c: c.update_collection(self.name, metadata=self._owner.stamp))

    def _points(self, marker: Mapping[str, object] | None) -> int:
        """Without the marker."""
        return self._link.read(lambda c: c.count(self.name, exact=True), long=True).count - (
            marker is not None
        )

    def _misfit(self, info: models.CollectionInfo) -> str | None:
        vectors = info.config.params.vectors
        if not isinstance(vectors, models.VectorParams):
            return "has named vectors"
        if vectors.size != self._owner.dimension:
            return f"holds {vectors.size}-dimensional vectors, the face pack makes {self._owner.dimension}"
        if vectors.distance != models.Distance.COSINE:
            return "does not compare by cosine"
        return None

    def _mismatch(self, reason: str) -> StartError:
        return StartError(
            "collection_mismatch",
            f"The Qdrant collection {self.name} {reason}.",
            "Set QDRANT_COLLECTION to another name, or delete that collection.",
        )

    def _tune(self, info: models.CollectionInfo) -> None:
        """Bring to the settings what can be changed later; note what cannot. Neither changes an answer."""
        changes = _changes(info.config, self._options)
        notes = []
        shards = info.config.params.shard_number or 1
        if shards != self._options.shards:
            notes.append(f"it has {shards} shards, not {self._options.shards}: that is fixed at its creation")
        if changes:
            names = ", ".join(sorted(changes))
            try:
                self._link.write(lambda c: c.update_collection(self.name, **changes))
                logger.info("changed %s of the Qdrant collection to the settings", names)
            except CallFailed as problem:
                if problem.kind != "refused":
                    raise
                notes.append(f"the server refused to change {names}")
        for note in notes:
            logger.warning("the Qdrant collection differs from the settings: %s", note)
        self.notes = tuple(notes)

    def _retrieve_marker(self) -> Mapping[str, Any] | None:
        consistency, timeout = self._options.consistency, self._options.timeout
        found = self._link.read(
            lambda c: c.retrieve(
                self.name, [MARKER_ID], with_payload=True, consistency=consistency, timeout=timeout
            )
        )
        payload = (found[0].payload or {}) if found else {}
        # Somebody else's point 0 is no marker; one that holds nothing but a seq is from before gallery ids.
        return payload if "seq" in payload and ("gallery" in payload or len(payload) == 1) else None

    def _completed(self, result: models.UpdateResult) -> None:
        if result.status is not models.UpdateStatus.COMPLETED:
            self._link.tally.errors["unfinished"] += 1
            raise CallFailed("unfinished")


def _changes(config: models.CollectionConfig, wanted: ServerOptions) -> dict[str, Any]:
    """Arguments of `update_collection` for what differs."""
    changes: dict[str, Any] = {}
    if (config.hnsw_config.m, config.hnsw_config.ef_construct) != (wanted.hnsw_m, wanted.hnsw_ef_construct):
        changes["hnsw_config"] = wanted.hnsw
    if isinstance(config.quantization_config, models.ScalarQuantization) != wanted.int8:
        changes["quantization_config"] = wanted.quantization or models.Disabled.DISABLED
    params = config.params
    if isinstance(params.vectors, models.VectorParams) and bool(params.vectors.on_disk) != wanted.on_disk:
        changes["vectors_config"] = {"": models.VectorParamsDiff(on_disk=wanted.on_disk)}
    copies = (
        params.replication_factor or 1,
        params.write_consistency_factor or 1,
        params.read_fan_out_delay_ms,
    )
    if copies != (wanted.replicas, wanted.write_consistency, wanted.fan_out_ms):
        changes["collection_params"] = models.CollectionParamsDiff(
            replication_factor=wanted.replicas,
            write_consistency_factor=wanted.write_consistency,
            read_fan_out_delay_ms=wanted.fan_out_ms,
        )
    return changes


def _optimizer(status: models.OptimizersStatus) -> str:
    if isinstance(status, models.OptimizersStatusOneOf1):
        return f"error: {status.error}"
    return "ok"
