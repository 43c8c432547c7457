"""One settings object, read from the environment and `.env`, checked at start."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field, SecretStr, ValidationError, model_validator
from pydantic_settings import BaseSettings, PydanticBaseSettingsSource, SettingsConfigDict

from core.config.formats import (
    AutoOrBool,
    CacheSize,
    Copies,
    DatabaseUrl,
    Directory,
    HeaderSecret,
    HttpUrls,
    LoopbackHost,
    OptionalFile,
    OtlpUrl,
)
from core.domain import bounds
from core.domain.errors import StartError
from core.domain.search import Strategy

IndexType = Literal["auto", "Flat", "PQfs", "SQfp16", "RaBitQ", "IVF", "IVFPQ"]
CachePolicy = Literal["lru", "lfu"]


class Settings(BaseSettings):
    """Every setting is an environment variable of the same name in capitals."""

    model_config = SettingsConfigDict(env_file=".env", extra="ignore", frozen=True)

    # Cold tier
    qdrant_url: HttpUrls = Field(
        "",
        description="Qdrant server, for example http://localhost:6333, or the nodes of a cluster, comma "
        "separated. Empty: the embedded engine.",
    )
    qdrant_grpc_port: int = Field(6334, ge=1, le=65535, description="gRPC port of each Qdrant node.")
    qdrant_collection: str = Field(
        "face_embeddings", pattern=r"^[A-Za-z0-9_-]{1,64}$", description="Name of the Qdrant collection."
    )

    qdrant_api_key: HeaderSecret = Field(
        SecretStr(""), description="API key of the Qdrant server; it must allow writing."
    )
    qdrant_ca_cert: OptionalFile = Field(
        "", description="PEM file of the authority that signed the server's certificate. Empty: the system's."
    )
    qdrant_timeout_seconds: int = Field(
        3, ge=1, le=60, description="Longest wait for one answer of the Qdrant server."
    )
    qdrant_hnsw_m: int = Field(16, ge=4, le=128, description="Links per point of Qdrant's HNSW graph.")
    qdrant_hnsw_ef_construct: int = Field(
        128, ge=4, le=4096, description="Neighbours considered while that graph is built."
    )
    qdrant_search_ef: Annotated[int, bounds.SEARCH_EF] = Field(
        128, description="Neighbours considered while it is searched."
    )
    qdrant_quantization: Literal["int8", "none"] = Field(
        "int8", description="8-bit codes beside the vectors on the Qdrant server; results are rescored."
    )
    qdrant_on_disk: bool = Field(
        False, description="Keep the full vectors on the Qdrant server's disk, not in its memory."
    )
    qdrant_shard_number: int = Field(
        1, ge=1, le=1024, description="Parts of the collection, fixed at its creation."
    )
    qdrant_replication_factor: int = Field(1, ge=1, le=32, description="Copies of each part in the cluster.")
    qdrant_write_consistency_factor: Copies = Field(
        "auto", description="Copies that must have a write before it counts; auto: most, but never all."
    )
    qdrant_read_consistency: str = Field(
        "",
        pattern=r"^(majority|quorum|all|[1-9][0-9]?)?$",
        description="Copies that must agree on a read: majority, quorum, all or a number. Empty: any one.",
    )

    # Hot tier
    faiss_enabled: bool = Field(True, description="Keep a FAISS cache in memory in front of Qdrant.")
    faiss_index_type: IndexType = Field(
        "auto", description="FAISS index: auto, Flat, PQfs, SQfp16, RaBitQ, IVF or IVFPQ."
    )
    faiss_nlist: int = Field(4096, ge=1, le=1_000_000, description="Lists of an IVF index.")
    faiss_nprobe: Annotated[int, bounds.NPROBE] = Field(
        64, description="Lists of an IVF index that a search looks into."
    )
    faiss_cache_size: CacheSize = Field(
        "auto", description="Most templates the FAISS cache holds. auto: as a quarter of the memory holds."
    )
    faiss_cache_policy: CachePolicy = Field(
        "lfu", description="Who leaves a full cache: lfu (seen least of late) or lru (seen longest ago)."
    )

    # Hardware
    use_gpu: AutoOrBool = Field(
        "auto", description="auto: a GPU if one works. true: report a missing GPU as degraded."
    )
    gpu_device_id: int = Field(0, ge=0, description="Which GPU to use.")
    gpu_memory_fraction: float = Field(0.8, gt=0, le=1, description="Most of its memory to use.")

    # Server
    robi_host: LoopbackHost = Field(
        "localhost", description="Address to listen on. Only loopback without an API key."
    )
    robi_allowed_hosts: str = Field(
        "localhost,127.0.0.1,[::1]",
        description="Names and addresses, comma separated, under which browsers and programs reach Robi.",
    )
    robi_port: int = Field(8000, ge=1, le=65535, description="Port of dashboard and API.")
    robi_data_dir: Directory = Field(Path("data"), description="Where ledger, vectors and face pack live.")
    database_url: DatabaseUrl = Field(
        SecretStr(""),
        description="PostgreSQL database of the ledger. Empty: an SQLite file in the data directory.",
    )
    robi_keep_images: bool = Field(False, description="Keep a thumbnail of each enrolled photo.")
    robi_max_upload_mb: int = Field(10, ge=1, le=200, description="Largest image file, in megabytes.")
    robi_max_image_megapixels: int = Field(40, ge=1, le=200, description="Largest image, in megapixels.")
    robi_keep_probes: int = Field(
        0, ge=0, le=10_000, description="Newest probes kept in memory for comparing strategies. 0: none."
    )
    robi_drift_check_minutes: float = Field(
        60, ge=0, le=10_080, description="Minutes between comparisons of each tier with the ledger. 0: never."
    )
    robi_backup_dir: str = Field(
        "", description="Where backups are made by the clock. Empty: none are, but by robi backup."
    )
    robi_backup_hours: float = Field(24, ge=0.1, le=744, description="Hours from one of them to the next.")
    robi_backup_keep: int = Field(7, ge=1, le=1000, description="How many of them are kept: the newest.")
    robi_backup_key_file: OptionalFile = Field(
        "", description="File with the key or passphrase that encrypts backups. Empty: not encrypted."
    )
    robi_log_level: Literal["DEBUG", "INFO", "WARNING", "ERROR"] = Field(
        "INFO", description="How much is logged."
    )
    robi_log_format: Literal["text", "json"] = Field(
        "text", description="text: lines for people. json: one object a line, with the request's id."
    )
    otel_exporter_otlp_endpoint: OtlpUrl = Field(
        "", description="OTLP/HTTP receiver of traces, for example http://localhost:4318. Empty: no traces."
    )
    otel_service_name: str = Field(
        "robi", min_length=1, max_length=100, description="Name of this Robi in its traces."
    )

    # Recognition
    face_pack: str = Field(
        "open",
        pattern=r"^[A-Za-z0-9_-]{1,64}$",
        description="Face models: open (YuNet + SFace), or an InsightFace pack such as buffalo_l.",
    )
    face_threshold: Annotated[float, bounds.THRESHOLD] = Field(
        0.40, description="Similarity from which a face counts as a person."
    )
    face_margin: Annotated[float, bounds.MARGIN] = Field(
        0.05, description="Lead over the second person that a match needs."
    )
    face_review_band: Annotated[float, bounds.REVIEW_BAND] = Field(
        0.04, description="Similarities this far below the threshold are for review."
    )
    face_min_eye_distance: Annotated[float, bounds.EYE_DISTANCE] = Field(
        10, description="Pixels between the eyes that a face needs to be a match."
    )
    robi_allow_looser_threshold: bool = Field(
        False, description="Let a request ask for a lower threshold than the one in effect."
    )
    search_strategy: Strategy = Field(
        Strategy.HYBRID, description="Strategy used unless a request names one."
    )

    @property
    def ledger(self) -> Path | SecretStr:
        """Where the ledger is: a file of SQLite, or the URL of a PostgreSQL database."""
        return self.database_url or self.robi_data_dir / "ledger.db"

    @property
    def addresses(self) -> tuple[str, ...]:
        """What is listened on: both of this machine's own addresses where the host is `localhost`."""
        return ("127.0.0.1", "::1") if self.robi_host == "localhost" else (self.robi_host,)

    @property
    def allowed_hosts(self) -> tuple[str, ...]:
        named = [host.strip() for host in self.robi_allowed_hosts.split(",")]
        return (*filter(None, named), *self.addresses)

    @property
    def qdrant_urls(self) -> tuple[str, ...]:
        """Of each node; none for the embedded engine."""
        return tuple(filter(None, self.qdrant_url.split(",")))

    @property
    def qdrant_write_consistency(self) -> int:
        """Copies. By itself the majority, unless that is all of them: the loss of one must stop no write."""
        copies, chosen = self.qdrant_replication_factor, self.qdrant_write_consistency_factor
        return max(1, min(copies // 2 + 1, copies - 1)) if chosen == "auto" else chosen

    @model_validator(mode="after")
    def _qdrant_consistent(self) -> Settings:
        if self.qdrant_ca_cert and not self.qdrant_url.startswith("https://"):
            raise ValueError("QDRANT_CA_CERT needs a QDRANT_URL that begins with https://")
        copies = self.qdrant_replication_factor
        if self.qdrant_write_consistency > copies:
            raise ValueError("QDRANT_WRITE_CONSISTENCY_FACTOR must not exceed QDRANT_REPLICATION_FACTOR")
        if self.qdrant_read_consistency.isdigit() and int(self.qdrant_read_consistency) > copies:
            raise ValueError("QDRANT_READ_CONSISTENCY must not exceed QDRANT_REPLICATION_FACTOR")
        return self

    @model_validator(mode="after")
    def _backups_elsewhere(self) -> Settings:
        if self.robi_backup_dir and self.robi_data_dir.resolve() in (
            (place := Path(self.robi_backup_dir).resolve()),
            *place.parents,
        ):
            raise ValueError("ROBI_BACKUP_DIR must not lie in ROBI_DATA_DIR: one loss would take both")
        return self

    @model_validator(mode="after")
    def _consistent(self) -> Settings:
        if self.faiss_index_type in ("IVF", "IVFPQ") and self.faiss_nprobe > self.faiss_nlist:
            raise ValueError("FAISS_NPROBE must not exceed FAISS_NLIST")
        if self.face_review_band >= self.face_threshold:
            raise ValueError("FACE_REVIEW_BAND must be smaller than FACE_THRESHOLD")
        return self


class _Given(Settings):
    """Settings from arguments alone."""

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],  # noqa: ARG003  pydantic-settings calls it with all of them
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,  # noqa: ARG003
        dotenv_settings: PydanticBaseSettingsSource,  # noqa: ARG003
        file_secret_settings: PydanticBaseSettingsSource,  # noqa: ARG003
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        return (init_settings,)


def load_settings(**given: object) -> Settings:
    """Read and check the settings; what is `given`, by a field's name, stands over environment and `.env`.

    Raises:
        StartError: `invalid_setting`, naming the variable and what is wrong with it.
    """
    try:
        return Settings(**given)  # type: ignore[arg-type]  # pydantic checks them
    except (OSError, UnicodeDecodeError) as problem:
        why = problem.strerror if isinstance(problem, OSError) else "it is not UTF-8 text"
        raise StartError("invalid_setting", f".env: {why}.", "Save it as plain text.") from None
    except ValidationError as problem:
        raise _invalid(problem, "Correct it in the environment or in .env.") from None


def given_settings(**given: object) -> Settings:
    """What is `given`, by a field's name, and defaults: neither the environment nor `.env` has a say.

    Raises:
        StartError: `invalid_setting`, as `load_settings`.
    """
    try:
        return _Given(**given)  # type: ignore[arg-type]  # pydantic checks them
    except ValidationError as problem:
        raise _invalid(problem, "Give it another value.") from None


def _invalid(problem: ValidationError, hint: str) -> StartError:
    first = problem.errors()[0]
    reason = first["msg"].removeprefix("Value error, ")
    variable = str(first["loc"][0]).upper() if first["loc"] else ""
    return StartError("invalid_setting", f"{variable}: {reason}." if variable else f"{reason}.", hint)
