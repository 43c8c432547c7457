"""The ledger: one class that opens the database and offers every use-case as one transaction."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from uuid import uuid4

import numpy as np
from numpy.typing import NDArray
from sqlalchemy import Connection, func, insert, select, update

from core.domain import folding
from core.domain.bounds import PAGE_SIZE
from core.domain.errors import BadInput, StartError, Unavailable
from core.domain.events import Event, NewEvent
from core.domain.faces import PackInfo
from core.domain.listing import Page
from core.domain.people import CommittedEnrollment, Erasure, GalleryCounts, Merger, Pair, Person
from core.domain.templates import Change, HotSet, NewTemplate, StoredTemplate, TemplateInfo
from core.domain.validation import checked_metadata
from core.domain.vectors import unit_rows
from core.ledger import calibration_reads, events, feed, pairs, people
from core.ledger.database import Database
from core.ledger.feed import TemplateBlock
from core.ledger.history import History
from core.ledger.join import Join
from core.ledger.migrations import migrate
from core.ledger.models import gallery, templates
from core.ledger.runs import Runs
from core.ledger.tunings import Tunings


class Ledger:
    """The true record. What a method has returned is on the disk.

    What engineers keep has parts of its own: `runs` (comparisons), `tunings`, `history` (measurements).

    Safe to call from any thread, and beside another process on the same file. When the file cannot be used,
    every method raises `Unavailable` (`disk_full`, `ledger_unavailable`) and has changed nothing.
    """

    def __init__(self, database: Database, pack: PackInfo, gallery_id: str) -> None:
        self._database = database
        self._pack = pack
        self._gallery_id = gallery_id
        self._counted: tuple[int, GalleryCounts] | None = None
        self._join = Join(database, pack.dimension)
        self.runs = Runs(database)
        self.tunings = Tunings(database)
        self.history = History(database)

    @classmethod
    def open(cls, path: Path, pack: PackInfo) -> Ledger:
        """Open or create the ledger at `path`, bring it up to date and bind it to the face pack.

        Raises:
            StartError: `pack_mismatch` when it holds templates of another pack, `ledger_too_new`, or
                `ledger_unavailable` when the file cannot be used.
        """
        try:
            database = Database(path)
        except (OSError, Unavailable) as problem:
            raise _cannot_start(problem) from problem
        try:
            with database.write() as connection:
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

    @property
    def database(self) -> Database:
        """The file under it, for those who look after files."""
        return self._database

    @property
    def gallery_id(self) -> str:
        """A UUID that no other gallery has; it stays when an empty gallery is bound to another pack."""
        return self._gallery_id

    @property
    def scrubbed(self) -> bool:
        """Whether nothing that was erased is in the files any more; if not, the next write sees to it."""
        return self._database.scrubbed

    def close(self) -> None:
        self._join.close()
        self._database.close()

    # ------------------------------------------------------------ people

    def enroll(
        self,
        user_id: str,
        name: str,
        new: Sequence[NewTemplate],
        *,
        metadata: Mapping[str, Any] | None = None,
    ) -> CommittedEnrollment:
        """Create a person with their first templates. Vectors need not be normalised; they are stored so.

        Raises:
            Conflict: `person_exists`; nothing is enrolled then, as with all that follow.
            BadInput: `invalid_embedding` or `invalid_metadata`. TooLarge: `metadata_too_large`.
        """
        checked = self._checked(new, vouched=True)
        if metadata is not None:
            checked_metadata(metadata)
        at = _now()
        with self._database.write() as connection:
            people.must_be_free(connection, user_id)
            number = people.add(connection, user_id, name, metadata or {}, at)
            ids = people.add_templates(connection, number, checked, at)
            person = people.must_find(connection, user_id).person
            detail = {"templates": len(ids), "via": checked[0].via}
            events.add(connection, [NewEvent(at, "enrolled", user_id, detail)])
            return CommittedEnrollment(person, ids, feed.head(connection), created=True)

    def add_templates(
        self,
        user_id: str,
        new: Sequence[NewTemplate],
        *,
        metadata: Mapping[str, Any] | None = None,
        similarities: Sequence[float] = (),
    ) -> CommittedEnrollment:
        """Add templates to a person who is enrolled; metadata are replaced if some are given.

        `similarities` go on record: how much each photo resembled the ones that say who the person is.

        Raises:
            NotFound: `unknown_person`, also when the person was erased a moment ago.
            BadInput: `invalid_embedding` or `invalid_metadata`. TooLarge: `metadata_too_large`.
        """
        checked = self._checked(new, vouched=False)
        if metadata is not None:
            checked_metadata(metadata)
        at = _now()
        with self._database.write() as connection:
            found = people.must_find(connection, user_id)
            people.edit(connection, found, at, metadata=metadata, active=True)
            ids = people.add_templates(connection, found.number, checked, at)
            person = people.must_find(connection, user_id).person
            detail = {
                "templates": len(ids),
                "via": checked[0].via,
                "similarities": [round(similarity, 4) for similarity in similarities],
            }
            events.add(connection, [NewEvent(at, "photos_added", user_id, detail)])
            return CommittedEnrollment(person, ids, feed.head(connection), created=False)

    def erase(self, user_id: str) -> Erasure:
        """Remove a person for good: name, metadata and vectors are overwritten in the file.

        On a full disk it takes the room that is kept for it, since erasing is also what makes room.

        Raises:
            NotFound: `unknown_person`.
        """
        try:
            erasure = self._erase(user_id)
        except Unavailable as problem:
            if problem.code != "disk_full" or not self._database.use_reserve():
                raise
            erasure = self._erase(user_id)
        self._database.set_aside_room()
        return erasure

    def _erase(self, user_id: str) -> Erasure:
        at = _now()
        with self._database.write() as connection:
            found = people.must_find(connection, user_id)
            ids = people.remove(connection, found, at)
            events.forget_names(connection, found.number)
            detail = {"templates": len(ids), "template_ids": list(ids)}
            events.add(connection, [NewEvent(at, "erased", user_id, detail)])
            event = events.newest(connection)
            self._database.scrub_soon()
            return Erasure(user_id, found.person.name, ids, feed.head(connection), event)

    def update(
        self, user_id: str, *, name: str | None = None, metadata: Mapping[str, Any] | None = None
    ) -> Person:
        """Change what is given; metadata are replaced as a whole.

        Raises:
            NotFound: `unknown_person`.
            BadInput: `invalid_metadata`. TooLarge: `metadata_too_large`.
        """
        if metadata is not None:
            checked_metadata(metadata)
        with self._database.write() as connection:
            found = people.must_find(connection, user_id)
            if name is not None or metadata is not None:
                people.edit(connection, found, (at := _now()), name=name, metadata=metadata)
                if name not in (None, found.person.name):
                    names = {"from_name": found.person.name, "to_name": name}
                    events.add(connection, [NewEvent(at, "renamed", user_id, names)])
                self._database.scrub_soon()  # what was noted before should not linger
            return people.must_find(connection, user_id).person

    def person(self, user_id: str) -> Person:
        """
        Raises:
            NotFound: `unknown_person`.
        """
        with self._database.read() as connection:
            return people.must_find(connection, user_id).person

    def find(self, user_id: str) -> Person | None:
        with self._database.read() as connection:
            found = people.find(connection, user_id)
        return None if found is None else found.person

    def templates(self, user_id: str) -> tuple[StoredTemplate, ...]:
        """A person's templates, oldest first; none for an unknown person."""
        with self._database.read() as connection:
            return feed.by_user_id(connection, user_id)

    def template_infos(self, user_id: str) -> tuple[TemplateInfo, ...]:
        with self._database.read() as connection:
            return people.template_infos(connection, user_id)

    def people(self, *, query: str = "", limit: int = 50, cursor: str | None = None) -> Page[Person]:
        """People by name, then user_id. Every word of `query` is looked for in both, folded as they are.

        Raises:
            BadInput: `bad_parameter` for a cursor of another listing, or a limit outside `PAGE_SIZE`.
        """
        PAGE_SIZE.check(limit, "limit", "Leave it out for the usual page size.")
        with self._database.snapshot() as connection:
            everybody = self._counts(connection).people
            return people.listing(connection, query, limit, cursor, everybody)

    def namesakes(self, name: str, limit: int = 5) -> tuple[tuple[str, str], ...]:
        """user_id and name of people whose name is this one or looks like it, oldest first."""
        with self._database.read() as connection:
            return people.namesakes(connection, name, limit)

    def sharing_names(self, user_ids: Collection[str]) -> frozenset[str]:
        """Those of the people whose name is, or looks like, somebody else's too."""
        if not user_ids:
            return frozenset()
        with self._database.read() as connection:
            return people.sharing_names(connection, user_ids)

    def merge(self, user_id: str, into: str) -> Merger:
        """Make two people one: `into` keeps name, ID and metadata, and takes the other's templates over.

        Raises:
            NotFound: `unknown_person`. BadInput: `bad_parameter` for somebody with themselves.
        """
        if user_id == into:
            raise BadInput("bad_parameter", "Nobody can be merged with themselves.", "Choose two people.")
        at = _now()
        with self._database.write() as connection:
            other, kept = people.must_find(connection, user_id), people.must_find(connection, into)
            events.hand_over(connection, other.number, kept.number)
            ids, gone = people.take_over(connection, other, kept, at)
            people.edit(connection, kept, at, active=True)
            detail = {"templates": len(ids), "from": user_id, "from_name": other.person.name}
            events.add(connection, [NewEvent(at, "merged", into, detail)])
            self._database.scrub_soon()
            person = people.must_find(connection, into).person
            return Merger(person, ids, gone, feed.head(connection))

    def ask_for_photo(self, user_id: str, *, asked: bool = True) -> Person:
        """Note that a better photo of a person is wanted, until one is enrolled; or that none is any more.

        Raises:
            NotFound: `unknown_person`.
        """
        at = _now()
        with self._database.write() as connection:
            found = people.must_find(connection, user_id)
            people.ask_for_photo(connection, found, at if asked else None)
            if asked and found.person.photo_asked_at is None:
                events.add(connection, [NewEvent(at, "photo_asked", user_id)])
            return people.must_find(connection, user_id).person

    def put_pair(self, one: str, other: str, margin: float) -> tuple[Pair, ...]:
        """Remember that two people look alike and are two, and the margin a match between them needs.

        Returns all pairs that there are then.

        Raises:
            NotFound: `unknown_person`. BadInput: `bad_parameter` for a pair of one.
        """
        with self._database.write() as connection:
            pairs.put(connection, one, other, margin, _now())
            return pairs.listing(connection)

    def remove_pair(self, one: str, other: str) -> tuple[Pair, ...]:
        """They are no such pair from now on. Returns and raises as `put_pair` does."""
        with self._database.write() as connection:
            pairs.remove(connection, one, other)
            return pairs.listing(connection)

    def pairs(self) -> tuple[Pair, ...]:
        """Newest first."""
        with self._database.read() as connection:
            return pairs.listing(connection)

    # ------------------------------------------------------------ events

    def record(
        self,
        new: Sequence[NewEvent],
        *,
        matched: Mapping[str, datetime] | None = None,
        replaced: Sequence[NewEvent] = (),
    ) -> None:
        """Keep events, and when people were last matched, in one transaction.

        `detail` must be JSON-ready and hold no names and no biometric data. Times of matches only move
        forward; unknown people are ignored. Events that `new` ones take the place of are `replaced`.
        """
        if not new and not matched:
            return
        with self._database.write() as connection:
            events.remove(connection, replaced)
            events.add(connection, new)
            if matched:
                people.touch(connection, matched)

    def events(
        self,
        *,
        limit: int = 50,
        cursor: str | None = None,
        kind: str | None = None,
        user_id: str | None = None,
    ) -> Page[Event]:
        """Events, newest first.

        Raises:
            BadInput: `bad_parameter` for a cursor of another listing, or a limit outside `PAGE_SIZE`.
        """
        PAGE_SIZE.check(limit, "limit", "Leave it out for the usual page size.")
        with self._database.snapshot() as connection:
            return events.listing(connection, limit, cursor, kind, user_id)

    def erasure(self, event_id: int) -> Event | None:
        """The event that tells of an erasure; None when there is none of that id."""
        with self._database.read() as connection:
            return events.one(connection, event_id, "erased")

    def count_events(self, kind: str, since: datetime) -> int:
        with self._database.read() as connection:
            return events.count(connection, kind, since)

    def decisions(self, since: datetime, limit: int) -> tuple[tuple[int, str, str | None], ...]:
        """Decisions on record since then, newest first: each event's id and its detail as JSON."""
        with self._database.read() as connection:
            return calibration_reads.decisions(connection, since, limit)

    # ------------------------------------------------------------ the change feed

    def head(self) -> int:
        """The greatest committed seq; 0 when there is none."""
        with self._database.read() as connection:
            return feed.head(connection)

    def changes(self, after: int, limit: int) -> Sequence[Change]:
        """Up to `limit` changes with a seq above `after`, ascending."""
        with self._database.read() as connection:
            return feed.after(connection, after, limit)

    def resolve(self, template_ids: Collection[int]) -> Mapping[int, StoredTemplate]:
        """The templates that (still) exist, with whose they are; erased ones are simply absent."""
        return self._join.resolve(template_ids)

    def hot_set(
        self, limit: int, *, spare: int = 0, progress: Callable[[float], None] = lambda _share: None
    ) -> HotSet:
        """Whole people, most recently matched or enrolled first, at most `limit` templates, as of one seq.

        `spare` more rows are left free at the end of the arrays. Raises MemoryError.
        """
        with self._database.snapshot() as connection:
            return feed.hot_set(connection, limit, spare, progress)

    def blocks(self, rows: int = 8192) -> Iterator[TemplateBlock]:
        """All templates by ascending id, so many at a time; each block as of the moment it is read."""
        after = 0
        while True:
            with self._database.read() as connection:
                block = feed.block(connection, after, rows)
            if not len(block.ids):
                return
            yield block
            after = int(block.ids[-1])

    def templates_of(self, persons: Collection[int]) -> Sequence[StoredTemplate]:
        with self._database.read() as connection:
            return feed.by_person(connection, persons)

    def template_owners(self, template_ids: Collection[int]) -> Mapping[int, calibration_reads.TemplateOwner]:
        """Whose the templates are and how good, without the vectors; erased ones are absent."""
        with self._database.snapshot() as connection:
            return calibration_reads.owners(connection, template_ids)

    def template_ids(self) -> tuple[int, NDArray[np.int64]]:
        """The head and all living template ids, in any order, as of one moment."""
        with self._database.snapshot() as connection:
            return feed.template_ids(connection)

    def counts(self) -> GalleryCounts:
        """How many people and templates there are; counted again only when the seq has moved."""
        with self._database.snapshot() as connection:
            return self._counts(connection)

    def write_problem(self) -> Unavailable | None:
        """Why nothing can be saved now; None when it can. After a failure it is tried again."""
        if self._database.refused is None:
            return None
        try:
            with self._database.write() as connection:
                connection.execute(update(gallery).values(id=1))  # writes, and changes nothing
        except Unavailable as problem:
            return problem
        return None

    def _counts(self, connection: Connection) -> GalleryCounts:
        seq, known = feed.head(connection), self._counted
        if known is None or known[0] != seq:
            self._counted = known = (seq, feed.counts(connection))
        return known[1]

    def _checked(self, new: Sequence[NewTemplate], *, vouched: bool) -> list[NewTemplate]:
        """The templates with unit vectors: what is in the ledger is what every tier and search works with."""
        if not new:
            raise BadInput("bad_parameter", "There is nothing to enroll.", "Give at least one template.")
        rows = unit_rows([template.vector for template in new], self._pack.dimension)
        return [
            replace(template, vector=row, vouched=vouched) for template, row in zip(new, rows, strict=True)
        ]


def _now() -> datetime:
    return datetime.now(UTC)


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
    if connection.scalar(select(func.count()).select_from(templates)):
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
