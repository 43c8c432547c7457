"""Opens everything that recognition needs, on one data directory, and closes it again."""

from __future__ import annotations

import logging
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from typing import TYPE_CHECKING, Protocol

from core.config.settings import Settings
from core.domain.errors import StartError, Unavailable

if TYPE_CHECKING:
    from core.faces.engine import FaceEngine
    from core.services.service import RobiService

logger = logging.getLogger("robi.opening")


class Closable(Protocol):
    def close(self) -> None: ...


def open_service(settings: Settings) -> RobiService:
    """The use-cases on the settings' data directory, whose lock the caller holds.

    Raises:
        StartError: `library_missing`, or what the face models, the ledger and the store raise when they
            cannot start.
    """
    try:
        return _open(settings)
    except ImportError as problem:
        raise _missing(problem) from problem


def _open(settings: Settings) -> RobiService:
    # Models load on one thread while the store's libraries are imported on another.
    with ThreadPoolExecutor(1, "open-faces") as other:
        faces = other.submit(_open_engine, settings)
        from core.ledger import belonging
        from core.ledger.ledger import Ledger
        from core.store.hybrid import HybridVectorStore

        engine = faces.result()
    from core.services.service import RobiService

    with ExitStack() as failed:  # closes what is open, last to first, unless all of it could be opened
        failed.callback(engine.close)
        belonging.check_before(settings.robi_data_dir, settings.ledger)
        ledger = Ledger.open(settings.ledger, engine.pack)
        failed.callback(ledger.close)
        belonging.check_after(settings.robi_data_dir, settings.ledger, ledger.feed.gallery_id)
        try:
            store = HybridVectorStore.open(settings, ledger.feed, engine.pack, settings.robi_data_dir)
            failed.callback(store.close)
            service = RobiService.open(settings, engine, ledger, store)
        except Unavailable as problem:  # the ledger could be opened, but not be read
            raise StartError(problem.code, problem.message, problem.hint) from problem
        failed.pop_all()
    return service


def close_service(service: RobiService) -> None:
    """Close the use-cases, then what they stand on. Never raises."""
    close_each((service, service.store, service.ledger, service.engine))


def close_each(parts: Iterable[Closable]) -> None:
    """Close one after the other; one that cannot be closed is logged, and the others are all the same."""
    for part in parts:
        try:
            part.close()
        except Exception:
            logger.exception("closing %s failed", type(part).__name__)


def _open_engine(settings: Settings) -> FaceEngine:
    from core.faces.engine import FaceEngine

    return FaceEngine.open(settings)


def _missing(problem: ImportError) -> StartError:
    if isinstance(problem, ModuleNotFoundError):
        message = f"The package {problem.name} is not installed."
    else:  # it is, and lacks something of the system's
        message = f"A package cannot be loaded: {problem.msg}."
    hint = "Install Robi with its libraries: robi[cpu], or robi[gpu] where there is an NVIDIA card."
    return StartError("library_missing", message, hint)
