"""Which gallery a data directory belongs to, once a server keeps the ledger and no file in it says so."""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path

from core.domain.errors import StartError, Unavailable
from core.ledger.look import look
from core.ledger.opening import Place

NOTE = "gallery"


def check_before(directory: Path, place: Place) -> None:
    """Do not begin an empty gallery in a file, where the directory belongs to one that a server keeps.

    Raises:
        StartError: `ledger_mismatch`.
    """
    if isinstance(place, Path) and not place.exists() and _noted(directory):
        raise StartError(
            "ledger_mismatch",
            "The gallery of this data directory is kept by a PostgreSQL server.",
            "Set DATABASE_URL, or use another ROBI_DATA_DIR.",
        )


def check_after(directory: Path, place: Place, gallery_id: str) -> None:
    """Note whose directory it is, unless it is somebody else's already: its vectors are of one gallery.

    Raises:
        StartError: `ledger_mismatch`, or `data_dir_unusable` when nothing can be noted.
    """
    if isinstance(place, Path):
        return
    if (_noted(directory) or _of_file(directory) or gallery_id) != gallery_id:
        raise StartError(
            "ledger_mismatch",
            "DATABASE_URL names another gallery than this data directory belongs to.",
            "Name the database of that gallery, or use another ROBI_DATA_DIR.",
        )
    try:
        (directory / NOTE).write_text(gallery_id)
    except OSError as problem:
        raise StartError(
            "data_dir_unusable",
            f"The data directory cannot be written to ({problem.strerror}).",
            "Check that ROBI_DATA_DIR names a directory that this user may write to.",
        ) from problem


def _noted(directory: Path) -> str:
    with suppress(OSError):
        return (directory / NOTE).read_text().strip()
    return ""


def _of_file(directory: Path) -> str | None:
    """Of a ledger in a file beside it, with people who would seem to be gone."""
    with suppress(Unavailable):
        found = look(directory / "ledger.db")
        return found.gallery_id if found is not None and found.people else None
    return None
