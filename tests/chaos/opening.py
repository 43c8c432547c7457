"""A service as the dashboard opens it, but that a Qdrant server which fails is tried again sooner."""

from __future__ import annotations

from contextlib import ExitStack
from pathlib import Path

from core.config.settings import Settings
from core.domain.faces import PackInfo
from core.faces.engine import FaceEngine
from core.ledger.ledger import Ledger
from core.services.service import RobiService
from core.store.contract import ColdTier
from core.store.hybrid import HybridVectorStore
from core.store.tiers.edge.tier import QdrantEdgeTier
from core.store.tiers.server.address import addresses
from core.store.tiers.server.options import CollectionOwner, ServerOptions
from core.store.tiers.server.tier import QdrantServerTier


def opened(settings: Settings, engine: FaceEngine) -> RobiService:
    """Leaves nothing open when it fails."""
    pack, directory = engine.pack, settings.robi_data_dir
    with ExitStack() as last_to_first:
        ledger = Ledger.open(directory / "ledger.db", pack)
        last_to_first.callback(ledger.close)
        store = HybridVectorStore(settings, ledger.feed, pack, _cold(settings, ledger, pack, directory))
        last_to_first.callback(store.close)
        store.start()
        service = RobiService.open(settings, engine, ledger, store)
        last_to_first.pop_all()
        return service


def _cold(settings: Settings, ledger: Ledger, pack: PackInfo, directory: Path) -> ColdTier:
    if not settings.qdrant_url:
        return QdrantEdgeTier(directory / "qdrant" / "faces", pack.dimension, feed=ledger.feed)
    owner = CollectionOwner(ledger.feed.gallery_id, pack.digest, pack.dimension)
    options = ServerOptions.of(settings)
    return QdrantServerTier(addresses(settings), settings.qdrant_collection, owner, options, pace=0.1)
