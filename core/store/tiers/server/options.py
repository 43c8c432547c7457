"""How a Qdrant server is used: what the settings come to, in the words of qdrant-client."""

from __future__ import annotations

from dataclasses import dataclass

from qdrant_client import models

from core.config.settings import Settings

OVERSAMPLING = 2.0  # candidates by 8-bit codes per result, before they are rescored with the vectors
QUANTILE = 0.99  # of the components within the range of the 8-bit codes
FAN_OUT_MS = 100  # less than Robi's own patience with a node: what hangs may be another one behind it
REPLICA_SECONDS = 15  # twice the 5 s that a node waits for another one, with room
_CONSISTENCY = {kind.value: kind for kind in models.ReadConsistencyType}


@dataclass(frozen=True, slots=True)
class CollectionOwner:
    """Whose vectors a collection holds."""

    gallery_id: str
    pack_digest: str
    dimension: int

    @property
    def stamp(self) -> dict[str, str]:
        """What a collection of this owner carries, in its metadata and in its marker point."""
        return {"gallery": self.gallery_id, "pack": self.pack_digest}


@dataclass(frozen=True, slots=True)
class ServerOptions:
    """Defaults are those of the settings."""

    timeout: int = 3  # seconds for one answer; qdrant-client knows whole seconds only
    hnsw_m: int = 16
    hnsw_ef_construct: int = 128
    search_ef: int = 128
    int8: bool = True
    on_disk: bool = False
    shards: int = 1
    replicas: int = 1
    write_consistency: int = 1
    read_consistency: str = ""

    @classmethod
    def of(cls, settings: Settings) -> ServerOptions:
        return cls(
            timeout=settings.qdrant_timeout_seconds,
            hnsw_m=settings.qdrant_hnsw_m,
            hnsw_ef_construct=settings.qdrant_hnsw_ef_construct,
            search_ef=settings.qdrant_search_ef,
            int8=settings.qdrant_quantization == "int8",
            on_disk=settings.qdrant_on_disk,
            shards=settings.qdrant_shard_number,
            replicas=settings.qdrant_replication_factor,
            write_consistency=settings.qdrant_write_consistency,
            read_consistency=settings.qdrant_read_consistency,
        )

    @property
    def consistency(self) -> models.ReadConsistency | None:
        """How many replicas must agree on what is read; None: one is believed."""
        if not self.read_consistency:
            return None
        return _CONSISTENCY.get(self.read_consistency) or int(self.read_consistency)

    @property
    def read_copies(self) -> int:
        """How many copies must be there for a read: Qdrant's `majority` asks all of them, too."""
        if self.read_consistency == "quorum":
            return self.replicas // 2 + 1
        if self.read_consistency.isdigit():
            return int(self.read_consistency)
        return self.replicas if self.read_consistency else 1

    def frailties(self, nodes: int) -> tuple[str, ...]:
        """What the loss of one of the nodes would stop, in an operator's words."""
        copies, found = self.replicas, []
        if copies == 1 and nodes > 1:
            found.append(
                "each part has one copy: the loss of a node stops searches and writes in Qdrant "
                "(QDRANT_REPLICATION_FACTOR)"
            )
        if copies > 1 and self.write_consistency == copies:
            found.append(
                f"a write needs {copies} of {copies} copies: the loss of a node stops every write "
                "(QDRANT_WRITE_CONSISTENCY_FACTOR)"
            )
        if copies > 1 and self.read_copies == copies:
            found.append(
                f"a read needs {copies} of {copies} copies: the loss of a node stops searches in Qdrant "
                "(QDRANT_READ_CONSISTENCY)"
            )
        return tuple(found)

    @property
    def ordering(self) -> models.WriteOrdering | None:
        """Among replicas a put and a drop of one template must not overtake each other."""
        return models.WriteOrdering.MEDIUM if self.replicas > 1 else None

    @property
    def write_timeout(self) -> int:
        """Seconds. Among replicas, until the server has given up one that hangs: it takes the write then, but
        not when Robi has hung up before."""
        return max(self.timeout, REPLICA_SECONDS) if self.replicas > 1 else self.timeout

    @property
    def fan_out_ms(self) -> int | None:
        """After which a node asks another copy of a part that it does not hold; None where there is none."""
        return FAN_OUT_MS if self.replicas > 1 else None

    def search_params(self, ef: int | None = None) -> models.SearchParams:
        """`ef` instead of the settings' one, if given."""
        rescored = models.QuantizationSearchParams(rescore=True, oversampling=OVERSAMPLING)
        return models.SearchParams(hnsw_ef=ef or self.search_ef, quantization=rescored if self.int8 else None)

    @property
    def hnsw(self) -> models.HnswConfigDiff:
        return models.HnswConfigDiff(m=self.hnsw_m, ef_construct=self.hnsw_ef_construct)

    @property
    def quantization(self) -> models.ScalarQuantization | None:
        if not self.int8:
            return None
        return models.ScalarQuantization(
            scalar=models.ScalarQuantizationConfig(
                type=models.ScalarType.INT8, quantile=QUANTILE, always_ram=True
            )
        )
