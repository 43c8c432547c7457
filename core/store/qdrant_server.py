"""The cold tier on a Qdrant server, over gRPC."""

from __future__ import annotations

import logging
import random
import threading
import time
from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Any, TypeVar
from urllib.parse import urlsplit

import grpc  # type: ignore[import-untyped,unused-ignore]
import httpx
import numpy as np
from qdrant_client import QdrantClient, models
from qdrant_client.common.client_exceptions import QdrantException
from qdrant_client.http.exceptions import ApiException, UnexpectedResponse

from core.config import Settings
from core.errors import StartError
from core.store.cold import MARKER_ID, Batch, Stale, TierDown, condense
from core.types import Change, Embedding, Embeddings, Hit

logger = logging.getLogger("robi.store.qdrant")

T = TypeVar("T")

TIMEOUT_SECONDS = 2
RETRIES = 2
RETRY_SECONDS = 0.05  # before the first retry, doubled before the second, each with jitter
SEARCH = models.SearchParams(
    hnsw_ef=128, quantization=models.QuantizationSearchParams(rescore=True, oversampling=2.0)
)
TRANSPORT_ERRORS = (grpc.RpcError, ApiException, QdrantException, httpx.HTTPError, OSError)
TRANSIENT = (grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.DEADLINE_EXCEEDED, grpc.StatusCode.ABORTED)

Connect = Callable[[], QdrantClient]


def connector(settings: Settings) -> Connect:
    """How to reach the server of the settings. Connecting itself sends nothing."""
    port = urlsplit(settings.qdrant_url).port or 6333

    def connect() -> QdrantClient:
        return QdrantClient(
            url=settings.qdrant_url,
            port=port,
            grpc_port=settings.qdrant_grpc_port,
            prefer_grpc=True,
            timeout=TIMEOUT_SECONDS,
            check_compatibility=False,  # it would warn on the console whenever the server is down
        )

    return connect


class QdrantServerTier:
    """Thread-safe. Every call is idempotent, so transient failures are retried a bounded number of times."""

    name = "qdrant"
    kind = "server"
    note: str | None = None

    def __init__(self, connect: Connect, collection: str, dimension: int) -> None:
        self._connect = connect
        self._collection = collection
        self._dimension = dimension
        self._lock = threading.Lock()  # held by writers: apply, clear, open, close
        self._client: QdrantClient | None = None
        self._closed = False
        self._ready = False  # False after any failure: the server may have come back without its data
        self._seq = 0
        self._generation = 0
        self._retries = 0
        self._errors = 0
        self._jitter = random.Random()  # noqa: S311  spreads retries, decides nothing

    @property
    def seq(self) -> int:
        return self._seq

    @property
    def generation(self) -> int:
        return self._generation

    def open(self) -> None:
        with self._lock:
            if self._closed:
                raise TierDown("The connection to Qdrant is closed.")
            if self._client is None:
                self._client = self._connect()
            if self._ready:
                return
            self._prepare()
            self._seq = self._marker()
            self._generation += 1
            self._ready = True
            logger.info("connected to Qdrant at seq %d", self._seq)

    def apply(self, changes: Sequence[Change], *, after: int) -> None:
        batch = condense(changes, self._dimension)
        with self._lock:
            if self._seq != after:
                raise Stale("The collection was reopened at another position.")
            if batch.drops:
                self._delete(batch.drops)
            if batch.ids:
                self._upsert(_points(batch))
            self._mark(batch.seq)
            self._seq = batch.seq

    def search(self, probes: Embeddings, limit: int) -> list[list[Hit]]:
        requests = [
            models.QueryRequest(query=probe.tolist(), limit=limit + 1, params=SEARCH) for probe in probes
        ]
        answers = self._call(lambda c: c.query_batch_points(self._collection, requests))
        return [
            [Hit(int(p.id), p.score) for p in answer.points if p.id != MARKER_ID][:limit]
            for answer in answers
        ]

    def count(self) -> int:
        points = self._call(lambda c: c.count(self._collection, exact=True)).count
        return int(points) - (1 if self._seq else 0)  # the marker is there once anything was applied

    def ping(self) -> None:
        self._call(lambda c: c.info())

    def held(self, template_ids: Collection[int]) -> Mapping[int, Embedding]:
        wanted = [template_id for template_id in template_ids if template_id != MARKER_ID]
        if not wanted:
            return {}
        records = self._call(
            lambda c: c.retrieve(self._collection, wanted, with_payload=False, with_vectors=True)
        )
        return {int(record.id): np.asarray(record.vector, np.float32) for record in records}

    def clear(self) -> None:
        with self._lock:
            self._call(lambda c: c.delete_collection(self._collection))
            self._prepare()
            self._seq = 0
            self._generation += 1

    def maintain(self) -> None:
        """Nothing: the server optimises itself in the background."""

    def info(self) -> Mapping[str, Any]:
        found = self._call(lambda c: c.get_collection(self._collection))
        indexed = found.indexed_vectors_count
        return {
            "segments": found.segments_count,
            "index": f"HNSW over {indexed} points" if indexed else "none yet: exact scan of all points",
            "status": str(found.status),
            "retries": self._retries,
            "restarts": 0,
            "errors": self._errors,
        }

    def close(self) -> None:
        with self._lock:
            self._closed = True
            if self._client is not None:
                self._client.close()
                self._client = None

    def _prepare(self) -> None:
        """Create the collection, or check that the existing one can hold this gallery."""
        if self._call(lambda c: c.collection_exists(self._collection)):
            self._check(self._call(lambda c: c.get_collection(self._collection)).config.params.vectors)
            return
        self._call(self._create)
        logger.info("created the Qdrant collection %s", self._collection)

    def _create(self, client: QdrantClient) -> None:
        client.create_collection(
            self._collection,
            vectors_config=models.VectorParams(size=self._dimension, distance=models.Distance.COSINE),
            hnsw_config=models.HnswConfigDiff(m=16, ef_construct=128),
            quantization_config=models.ScalarQuantization(
                scalar=models.ScalarQuantizationConfig(
                    type=models.ScalarType.INT8, quantile=0.99, always_ram=True
                )
            ),
        )
        client.create_payload_index(self._collection, "person", models.PayloadSchemaType.INTEGER)

    def _check(self, vectors: object) -> None:
        if not isinstance(vectors, models.VectorParams):
            raise self._mismatch("has named vectors")
        if vectors.size != self._dimension:
            raise self._mismatch(
                f"holds {vectors.size}-dimensional vectors, the face pack makes {self._dimension}"
            )
        if vectors.distance != models.Distance.COSINE:
            raise self._mismatch("does not compare by cosine")

    def _mismatch(self, reason: str) -> StartError:
        return StartError(
            "collection_mismatch",
            f"The Qdrant collection {self._collection} {reason}.",
            "Set QDRANT_COLLECTION to another name, or delete that collection.",
        )

    def _marker(self) -> int:
        found = self._call(lambda c: c.retrieve(self._collection, [MARKER_ID], with_payload=True))
        return int((found[0].payload or {}).get("seq", 0)) if found else 0

    def _mark(self, seq: int) -> None:
        vector = np.eye(1, self._dimension)[0].tolist()
        self._upsert([models.PointStruct(id=MARKER_ID, vector=vector, payload={"seq": seq})])

    def _upsert(self, points: list[models.PointStruct]) -> None:
        self._call(lambda c: c.upsert(self._collection, points, wait=True))

    def _delete(self, ids: list[int]) -> None:
        selector = models.PointIdsList(points=[*ids])
        self._call(lambda c: c.delete(self._collection, points_selector=selector, wait=True))

    def _call(self, operation: Callable[[QdrantClient], T]) -> T:
        client = self._client
        if client is None:
            raise TierDown("Qdrant is not connected.")
        for attempt in range(RETRIES + 1):
            try:
                return operation(client)
            except TRANSPORT_ERRORS as problem:
                self._errors += 1
                logger.warning("Qdrant: %s", _summary(problem))
                if attempt == RETRIES or not _transient(problem):
                    self._ready = False
                    raise TierDown("Qdrant does not answer.") from None
                self._retries += 1
                time.sleep(RETRY_SECONDS * 2**attempt * self._jitter.uniform(0.5, 1.5))
        raise AssertionError("unreachable")


def _points(batch: Batch) -> list[models.PointStruct]:
    rows = zip(batch.ids, batch.persons, batch.vectors, strict=True)
    return [
        models.PointStruct(id=i, vector=vector.tolist(), payload={"person": person})
        for i, person, vector in rows
    ]


def _transient(problem: BaseException) -> bool:
    if isinstance(problem, UnexpectedResponse):
        return (problem.status_code or 500) >= 500
    return not isinstance(problem, grpc.RpcError) or getattr(problem, "code", lambda: None)() in TRANSIENT


def _summary(problem: BaseException) -> str:
    """Kind and code only: transport errors can quote the request, which holds an embedding."""
    code = getattr(problem, "code", None)
    return f"{type(problem).__name__} {code() if callable(code) else ''}".strip()
