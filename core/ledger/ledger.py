"""The ledger: opens the database, binds it to the face pack, and has a part for each thing it keeps."""

from __future__ import annotations

from uuid import uuid4

from sqlalchemy import Connection, insert, select, update

from core.domain import folding
from core.domain.errors import StartError, Unavailable
from core.domain.faces import PackInfo
from core.ledger.counts import Counter
from core.ledger.database import Database
from core.ledger.erased import ErasedPeople
from core.ledger.events import EventLog
from core.ledger.feed import Feed
from core.ledger.history import History
from core.ledger.migrations import migrate
from core.ledger.models import gallery
from core.ledger.opening import Place, open_database
from core.ledger.pairs import Pairs
from core.ledger.people import PeopleRegister
from core.ledger.runs import Runs
from core.ledger.sql import people, templates
from core.ledger.tunings import Tunings

REMEMBERED_BYTES = 64 << 20  # of vectors, for the join; 130,000 templates of 128 numbers


class Ledger:
    """The true record: one database, with a part for each kind of thing it keeps.

    What a method of a part has returned is on the disk. Every method of every part is one transaction, and
    safe to call from any thread and beside another process on the same database. When that cannot be used it
    raises `Unavailable` (`disk_full`, `ledger_unavailable`; of a server also `ledger_unreachable`,
    `ledger_refused`, `ledger_read_only`, `ledger_crowded`) and has changed nothing.
    """

    def __init__(self, database: Database, pack: PackInfo, gallery_id: str) -> None:
        self.database = database
        """What is under it, for those who look after files."""
        counter = Counter()
        self.people = PeopleRegister(database, pack.dimension, counter)
        self.pairs = Pairs(database)
        self.events = EventLog(database)
        self.erased = ErasedPeople(database)
        self.feed = Feed(database, gallery_id, counter, REMEMBERED_BYTES // (4 * pack.dimension))
        """What vector tiers follow and searches are joined with."""
        self.tunings = Tunings(database)
        self.runs = Runs(database)
        """Comparisons of strategies."""
        self.history = History(database)
        """What was measured."""

    @classmethod
    def open(cls, place: Place, pack: PackInfo) -> Ledger:
        """Open or create the ledger, bring it up to date and bind it to the face pack.

        Raises:
            StartError: `pack_mismatch` when it holds templates of another pack, `ledger_too_new`,
                `ledger_foreign`, `ledger_unfinished`, `ledger_unfit`, or with the code of `Unavailable` when
                it cannot be used.
        """
        try:
            database = open_database(place)
        except (OSError, Unavailable) as problem:
            raise _cannot_start(problem) from problem
        try:
            with database.write(long=True) as connection:
                migrate(connection)
                gallery_id = _bind(connection, pack)
                _fold(connection)
        except Unavailable as problem:
            database.close()
            raise _cannot_start(problem) from problem
        except BaseException:
            database.close()
            raise
        return cls(database, pack, gallery_id)

    def close(self) -> None:
        self.feed.close()
        self.database.close()

    def write_problem(self) -> Unavailable | None:
        """Why nothing can be saved now; None when it can. After a failure it is tried again."""
        if self.database.refused is None:
            return None
        try:
            with self.database.write() as connection:
                connection.execute(update(gallery).values(id=1))  # writes, and changes nothing
        except Unavailable as problem:
            return problem
        return None


def _bind(connection: Connection, pack: PackInfo) -> str:
    """Bind the gallery to the pack and return its id. An empty gallery may be bound anew."""
    wanted = {"pack_id": pack.id, "digest": pack.digest, "dimension": pack.dimension}
    bound = connection.execute(select(gallery)).one_or_none()
    if bound is None:
        gallery_id = str(uuid4())
        connection.execute(insert(gallery), {"id": 1, "gallery_id": gallery_id, **wanted})
        return gallery_id
    if (bound.pack_id, bound.digest, bound.dimension) == tuple(wanted.values()):
        return str(bound.gallery_id)
    if templates.count(connection):
        raise StartError(
            "pack_mismatch",
            f"The gallery was enrolled with the face pack {bound.pack_id} ({bound.dimension} numbers, "
            f"{bound.digest[:12]}), not with {pack.id} ({pack.dimension} numbers, {pack.digest[:12]}).",
            f"Set FACE_PACK={bound.pack_id}, or use another ROBI_DATA_DIR and enroll again.",
        )
    connection.execute(update(gallery), wanted)
    return str(bound.gallery_id)


def _fold(connection: Connection) -> None:
    """Fold every name again when it was done by another version, or another table of Unicode."""
    if connection.scalar(select(gallery.c.folding)) != folding.VERSION:
        people.fold_again(connection)
        connection.execute(update(gallery).values(folding=folding.VERSION))


def _cannot_start(problem: OSError | Unavailable) -> StartError:
    if isinstance(problem, Unavailable):
        return StartError(problem.code, problem.message, problem.hint)
    return StartError(
        "ledger_unavailable",
        f"The data directory cannot be used ({problem.strerror or 'unknown reason'}).",
        "Check that ROBI_DATA_DIR names a directory that this user may write to.",
    )
