"""The ledger and the two vector tiers, as they lie there."""

from __future__ import annotations

import importlib.metadata
from collections.abc import Mapping
from pathlib import Path

from core.config.settings import Settings
from core.domain.errors import StartError, Unavailable
from core.domain.wording import count
from core.ledger import look as ledgers
from core.ledger.migrations import HEAD
from robi.cli.doctor.finding import Finding, Level, imported, not_installed


def ledger(settings: Settings) -> Finding:
    return _file(settings, settings.ledger) if isinstance(settings.ledger, Path) else _postgres(settings)


def _postgres(settings: Settings) -> Finding:
    part = "ledger"
    try:
        from core.ledger.look_server import look_at_server

        found = look_at_server(settings.database_url)
    except ModuleNotFoundError as problem:
        return not_installed(part, problem)
    except (Unavailable, StartError) as problem:
        return Finding.of(part, problem)
    says = f"PostgreSQL {found.version}."
    if found.standby:
        do = "Name the primary in DATABASE_URL; until then nobody can be enrolled or erased."
        return Finding(part, Level.MIND, f"{says} It is a standby, or set read-only.", do)
    if not found.durable:
        do = "Set fsync and full_page_writes to on."
        return Finding(part, Level.MIND, f"{says} A power cut may lose what was acknowledged.", do)
    if found.ledger is None:
        return Finding(part, Level.WELL, f"{says} There is no ledger yet; the first start makes it.")
    return _ledger(settings, found.ledger, says)


def _file(settings: Settings, path: Path) -> Finding:
    part = "ledger"
    try:
        found = ledgers.look(path)
    except Unavailable as problem:
        return Finding(part, Level.WRONG, problem.message, problem.hint)
    if found is None:
        return Finding(part, Level.WELL, "There is none yet; the first start makes it.")
    if found.damage is not None:
        return Finding(part, Level.WRONG, "SQLite finds damage in it.", "Put a backup in its place.")
    return _ledger(settings, found)


def _ledger(settings: Settings, found: ledgers.LedgerLook, kept_by: str = "") -> Finding:
    says = f"{kept_by} " if kept_by else ""
    says += f"{count(found.people, 'person', 'people')}, {count(found.templates, 'template')}."
    if found.revision is not None and found.revision > HEAD:
        return Finding(
            "ledger",
            Level.WRONG,
            "A newer version of Robi wrote it.",
            "Install that version or a later one, or use another ROBI_DATA_DIR.",
        )
    if found.templates and found.pack_id != settings.face_pack:
        return Finding(
            "ledger",
            Level.WRONG,
            f"{says} They were enrolled with the face pack {found.pack_id}, not {settings.face_pack}.",
            f"Set FACE_PACK={found.pack_id}, or use another ROBI_DATA_DIR and enroll again.",
        )
    if found.revision != HEAD:
        says += " The next start brings its tables up to date."
    return Finding("ledger", Level.WELL, says)


def faiss(settings: Settings) -> Finding:
    library = imported("FAISS", "faiss")
    if isinstance(library, Finding):
        return library
    built = "with" if hasattr(library, "StandardGpuResources") else "without"
    says = f"{library.__version__}, {built} GPU support."
    if not settings.faiss_enabled:
        says += " Switched off in the settings: Qdrant answers alone."
    return Finding("FAISS", Level.WELL, says)


def qdrant(settings: Settings) -> Finding:
    return _server(settings) if settings.qdrant_url else _edge(settings)


def _edge(settings: Settings) -> Finding:
    library = imported("Qdrant", "qdrant_edge")
    if isinstance(library, Finding):
        return library
    version = importlib.metadata.version("qdrant-edge-py")
    kept = settings.robi_data_dir / "qdrant" / settings.qdrant_collection
    filled = "" if kept.is_dir() else " It has no files yet, and is filled from the ledger."
    return Finding("Qdrant", Level.WELL, f"The embedded engine, {version}.{filled}")


def _server(settings: Settings) -> Finding:
    """Both of its ports are asked: HTTP for the version, gRPC for the collection."""
    part, name = "Qdrant", settings.qdrant_collection
    try:
        from core.store.contract import TierDown
        from core.store.tiers.server.address import addresses
        from core.store.tiers.server.errors import CallFailed, Hopeless
        from core.store.tiers.server.link import Link
    except ModuleNotFoundError as problem:
        return not_installed(part, problem)
    link: Link | None = None
    try:
        link = Link(addresses(settings))
        link.open()
        note = link.hello()
        exists = link.read(lambda client: client.collection_exists(name))
        metadata = link.read(lambda client: client.get_collection(name)).config.metadata if exists else None
    except Hopeless as problem:
        return Finding.of(part, problem.error)
    except StartError as problem:
        return Finding.of(part, problem)
    except TierDown as problem:
        if link is not None and isinstance(problem, CallFailed):
            problem = link.explained(problem)
        do = "Start the server, or correct QDRANT_URL and QDRANT_GRPC_PORT; until then the cache answers."
        return Finding(part, Level.MIND, f"{problem.message} ({settings.qdrant_url})", do)
    finally:
        if link is not None:
            link.close()
    says = f"Server {link.version} at {settings.qdrant_url}."
    if note:
        return Finding(part, Level.MIND, f"{says} Mind that {note}.")
    return _collection(settings, says, metadata) if exists else _no_collection(name, says)


def _no_collection(name: str, says: str) -> Finding:
    return Finding("Qdrant", Level.WELL, f"{says} The next start makes the collection {name}.")


def _collection(settings: Settings, says: str, metadata: Mapping[str, object] | None) -> Finding:
    """Whether the collection is this gallery's, by what is stamped on it."""
    owner = (metadata or {}).get("gallery")
    try:
        found = _gallery_id(settings)
    except (Unavailable, StartError):
        return Finding("Qdrant", Level.WELL, says)
    if owner is None or found == owner:
        return Finding("Qdrant", Level.WELL, f"{says} It has the collection.")
    return Finding(
        "Qdrant",
        Level.WRONG,
        f"{says} The collection {settings.qdrant_collection} belongs to another gallery.",
        "Set QDRANT_COLLECTION to another name, or delete that collection.",
    )


def _gallery_id(settings: Settings) -> str | None:
    if isinstance(settings.ledger, Path):
        found = ledgers.look(settings.ledger)
    else:
        from core.ledger.look_server import look_at_server

        found = look_at_server(settings.ledger).ledger
    return None if found is None else found.gallery_id
