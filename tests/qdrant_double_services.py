"""Qdrant's gRPC services over qdrant-client's local mode, by qdrant-client's own conversions."""

from __future__ import annotations

from threading import RLock
from typing import Any

from qdrant_client import QdrantClient, grpc, models
from qdrant_client.conversions.conversion import GrpcToRest, RestToGrpc, grpc_to_payload
from qdrant_client.grpc.collections_service_pb2_grpc import CollectionsServicer
from qdrant_client.grpc.points_service_pb2_grpc import PointsServicer
from qdrant_client.grpc.qdrant_pb2_grpc import QdrantServicer

from tests.qdrant_double_faults import Faults


class Storage:
    """What outlives a server's process. Local mode breaks under concurrent calls: use it under `lock`."""

    def __init__(self) -> None:
        self.lock = RLock()
        self.local = QdrantClient(":memory:")
        self.configs: dict[str, grpc.CollectionConfig] = {}  # local mode forgets most of them
        self.cluster: dict[str, Any] = {"status": "disabled"}  # as `GET /cluster` tells
        self.spread: grpc.CollectionClusterInfoResponse | None = None  # None: one active copy of each shard
        self.indexes: dict[str, dict[str, grpc.PayloadSchemaInfo]] = {}


class Collections(CollectionsServicer):
    def __init__(self, storage: Storage) -> None:
        self._storage = storage

    def CollectionExists(self, request: Any, context: Any) -> Any:  # noqa: N802 -- as in the protocol
        with self._storage.lock:
            exists = self._storage.local.collection_exists(request.collection_name)
        return grpc.CollectionExistsResponse(result=grpc.CollectionExists(exists=exists))

    def Create(self, request: Any, context: Any) -> Any:  # noqa: N802 -- as in the protocol
        name, storage = request.collection_name, self._storage
        with storage.lock:
            storage.local.create_collection(
                name,
                vectors_config=GrpcToRest.convert_vectors_config(request.vectors_config),
                metadata=grpc_to_payload(request.metadata) or None,
            )
            config = RestToGrpc.convert_collection_info(storage.local.get_collection(name)).config
            config.hnsw_config.MergeFrom(request.hnsw_config)
            if request.HasField("quantization_config"):
                config.quantization_config.CopyFrom(request.quantization_config)
            for field in ("shard_number", "replication_factor", "write_consistency_factor"):
                if request.HasField(field):
                    setattr(config.params, field, getattr(request, field))
            storage.configs[name] = config
            storage.indexes[name] = {}
        return grpc.CollectionOperationResponse(result=True)

    def Update(self, request: Any, context: Any) -> Any:  # noqa: N802 -- as in the protocol
        name, storage = request.collection_name, self._storage
        with storage.lock:
            storage.local.update_collection(name, metadata=grpc_to_payload(request.metadata) or None)
            config = storage.configs[name]
            config.hnsw_config.MergeFrom(request.hnsw_config)
            if request.HasField("quantization_config"):
                kind = request.quantization_config.WhichOneof("quantization")
                config.ClearField("quantization_config")
                if kind != "disabled":
                    wanted = getattr(request.quantization_config, kind)
                    getattr(config.quantization_config, kind).CopyFrom(wanted)
            for field, value in request.params.ListFields():
                setattr(config.params, field.name, value)
            if request.vectors_config.params.HasField("on_disk"):
                config.params.vectors_config.params.on_disk = request.vectors_config.params.on_disk
        return grpc.CollectionOperationResponse(result=True)

    def Get(self, request: Any, context: Any) -> Any:  # noqa: N802 -- as in the protocol
        name, storage = request.collection_name, self._storage
        with storage.lock:
            info = RestToGrpc.convert_collection_info(storage.local.get_collection(name))
            metadata = info.config.metadata
            info.config.CopyFrom(storage.configs[name])
            for key, value in metadata.items():
                info.config.metadata[key].CopyFrom(value)
            for field, schema in storage.indexes[name].items():
                info.payload_schema[field].CopyFrom(schema)
        return grpc.GetCollectionInfoResponse(result=info)

    def CollectionClusterInfo(self, request: Any, context: Any) -> Any:  # noqa: N802 -- as in the protocol
        if self._storage.spread is not None:
            return self._storage.spread
        shards = self._storage.configs[request.collection_name].params.shard_number or 1
        local = [grpc.LocalShardInfo(shard_id=n, state=grpc.ReplicaState.Active) for n in range(shards)]
        return grpc.CollectionClusterInfoResponse(peer_id=1, shard_count=shards, local_shards=local)

    def Delete(self, request: Any, context: Any) -> Any:  # noqa: N802 -- as in the protocol
        with self._storage.lock:
            self._storage.local.delete_collection(request.collection_name)
        return grpc.CollectionOperationResponse(result=True)


class Points(PointsServicer):
    def __init__(self, storage: Storage, faults: Faults) -> None:
        self._storage = storage
        self._faults = faults

    def Upsert(self, request: Any, context: Any) -> Any:  # noqa: N802 -- as in the protocol
        points = [GrpcToRest.convert_point_struct(point) for point in request.points]
        with self._storage.lock:
            self._storage.local.upsert(request.collection_name, points)
        return self._updated()

    def Delete(self, request: Any, context: Any) -> Any:  # noqa: N802 -- as in the protocol
        selector = GrpcToRest.convert_points_selector(request.points)
        with self._storage.lock:
            self._storage.local.delete(request.collection_name, selector)
        return self._updated()

    def Get(self, request: Any, context: Any) -> Any:  # noqa: N802 -- as in the protocol
        with self._storage.lock:
            records = self._storage.local.retrieve(
                request.collection_name,
                [GrpcToRest.convert_point_id(point_id) for point_id in request.ids],
                with_payload=GrpcToRest.convert_with_payload_interface(request.with_payload),
                with_vectors=GrpcToRest.convert_with_vectors_selector(request.with_vectors),
            )
        return grpc.GetResponse(result=[_record(record) for record in records])

    def Count(self, request: Any, context: Any) -> Any:  # noqa: N802 -- as in the protocol
        with self._storage.lock:
            count = self._storage.local.count(request.collection_name, exact=request.exact).count
        return grpc.CountResponse(result=grpc.CountResult(count=count))

    def QueryBatch(self, request: Any, context: Any) -> Any:  # noqa: N802 -- as in the protocol
        queries = [GrpcToRest.convert_query_points(query) for query in request.query_points]
        for query in queries:
            query.params = None  # local mode compares with every point, and warns that it has no use for them
        with self._storage.lock:
            answers = self._storage.local.query_batch_points(request.collection_name, queries)
        results = [[RestToGrpc.convert_scored_point(p) for p in answer.points] for answer in answers]
        return grpc.QueryBatchResponse(result=[grpc.BatchResult(result=result) for result in results])

    def Scroll(self, request: Any, context: Any) -> Any:  # noqa: N802 -- as in the protocol
        with self._storage.lock:
            records, following = self._storage.local.scroll(
                request.collection_name,
                limit=request.limit,
                offset=GrpcToRest.convert_point_id(request.offset) if request.HasField("offset") else None,
                with_payload=GrpcToRest.convert_with_payload_interface(request.with_payload),
            )
        response = grpc.ScrollResponse(result=[_record(record) for record in records])
        if following is not None:
            response.next_page_offset.CopyFrom(RestToGrpc.convert_extended_point_id(following))
        return response

    def CreateFieldIndex(self, request: Any, context: Any) -> Any:  # noqa: N802 -- as in the protocol
        schema = grpc.PayloadSchemaInfo(data_type=grpc.PayloadSchemaType.Integer)
        with self._storage.lock:
            self._storage.indexes[request.collection_name][request.field_name] = schema
        return self._updated()

    def _updated(self) -> Any:
        status = grpc.UpdateStatus.Acknowledged if self._faults.unfinished else grpc.UpdateStatus.Completed
        return grpc.PointsOperationResponse(result=grpc.UpdateResult(operation_id=0, status=status))


def _record(record: models.Record) -> grpc.RetrievedPoint:
    return RestToGrpc.convert_record(record.model_copy(update={"payload": record.payload or {}}))


class Health(QdrantServicer):
    def __init__(self, version: str) -> None:
        self._version = version

    def HealthCheck(self, request: Any, context: Any) -> Any:  # noqa: N802 -- as in the protocol
        return grpc.HealthCheckReply(title="qdrant - vector search engine", version=self._version)
