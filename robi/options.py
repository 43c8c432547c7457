"""The settings that a gallery can be opened with: all but those of a server and its log."""

from __future__ import annotations

from typing import Literal, TypedDict

from core.config.settings import CachePolicy, IndexType
from core.domain.search import Strategy


class GalleryOptions(TypedDict, total=False):
    """Each has the meaning and the default of the setting of its name; README lists them in capitals."""

    face_pack: str
    face_threshold: float
    face_margin: float
    face_review_band: float
    face_min_eye_distance: float
    robi_allow_looser_threshold: bool
    search_strategy: Strategy | Literal["hybrid", "faiss_first", "qdrant_only"]

    robi_keep_images: bool
    robi_max_upload_mb: int
    robi_max_image_megapixels: int
    database_url: str
    robi_keep_probes: int
    robi_drift_check_minutes: float

    faiss_enabled: bool
    faiss_index_type: IndexType
    faiss_nlist: int
    faiss_nprobe: int
    faiss_cache_size: int | Literal["auto"]
    faiss_cache_policy: CachePolicy

    use_gpu: bool | Literal["auto", "true", "false"]
    gpu_device_id: int
    gpu_memory_fraction: float

    qdrant_url: str
    qdrant_grpc_port: int
    qdrant_collection: str
    qdrant_api_key: str
    qdrant_ca_cert: str
    qdrant_timeout_seconds: int
    qdrant_hnsw_m: int
    qdrant_hnsw_ef_construct: int
    qdrant_search_ef: int
    qdrant_quantization: Literal["int8", "none"]
    qdrant_on_disk: bool
    qdrant_shard_number: int
    qdrant_replication_factor: int
    qdrant_write_consistency_factor: int | Literal["auto"]
    qdrant_read_consistency: str
