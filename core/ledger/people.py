"""The people who are enrolled, with their templates: each use-case is one transaction."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime

from core.domain.bounds import PAGE_SIZE
from core.domain.errors import BadInput, Conflict, Unavailable
from core.domain.events import NewEvent
from core.domain.json_values import Json
from core.domain.listing import Page
from core.domain.people import CommittedEnrollment, Erasure, Merger, Person
from core.domain.templates import NewTemplate, StoredTemplate, TemplateInfo, TemplateOwner
from core.domain.validation import checked_metadata
from core.domain.vectors import unit_rows
from core.ledger.counts import Counter
from core.ledger.database import Database
from core.ledger.sql import changes, events, people, templates


class PeopleRegister:
    """Raises `Unavailable` (`disk_full`, `ledger_unavailable`) when the file cannot be used; nothing is
    changed then.
    """

    def __init__(self, database: Database, dimension: int, counter: Counter) -> None:
        """`dimension` is that of the pack's embeddings."""
        self._database = database
        self._dimension = dimension
        self._counter = counter

    # ------------------------------------------------------------ changing

    def enroll(
        self,
        user_id: str,
        name: str,
        new: Sequence[NewTemplate],
        *,
        metadata: Mapping[str, object] | None = None,
    ) -> CommittedEnrollment:
        """Create a person with their first templates. Vectors need not be normalised; they are stored so.

        Raises:
            Conflict: `person_exists`; nothing is enrolled then, as with all that follow.
            BadInput: `invalid_embedding` or `invalid_metadata`. TooLarge: `metadata_too_large`.
        """
        checked = self._checked(new, vouched=True)
        if metadata is not None:
            checked_metadata(metadata)
        at = datetime.now(UTC)
        with self._database.write() as connection:
            if people.find(connection, user_id) is not None:
                raise person_exists(user_id)
            number = people.add(connection, user_id, name, metadata or {}, at)
            ids = templates.add(connection, number, checked, at)
            person = people.must_find(connection, user_id).person
            detail = {"templates": len(ids), "via": checked[0].via}
            events.add(connection, [NewEvent(at, "enrolled", user_id, detail)])
            return CommittedEnrollment(person, ids, changes.head(connection), created=True)

    def add_templates(
        self,
        user_id: str,
        new: Sequence[NewTemplate],
        *,
        metadata: Mapping[str, object] | None = None,
        similarities: Iterable[float] = (),
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
        at = datetime.now(UTC)
        with self._database.write() as connection:
            found = people.must_find(connection, user_id)
            people.edit(connection, found, at, metadata=metadata, active=True)
            ids = templates.add(connection, found.number, checked, at)
            person = people.must_find(connection, user_id).person
            detail = {
                "templates": len(ids),
                "via": checked[0].via,
                "similarities": [round(similarity, 4) for similarity in similarities],
            }
            events.add(connection, [NewEvent(at, "photos_added", user_id, detail)])
            return CommittedEnrollment(person, ids, changes.head(connection), created=False)

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
        at = datetime.now(UTC)
        with self._database.write() as connection:
            found = people.must_find(connection, user_id)
            ids = templates.remove(connection, found.number, at)
            people.remove(connection, found)
            events.forget_names(connection, found.number)
            detail = {"templates": len(ids), "template_ids": list(ids)}
            events.add(connection, [NewEvent(at, "erased", user_id, detail)])
            event = events.newest(connection)
            self._database.scrub_soon()
            return Erasure(user_id, found.person.name, ids, changes.head(connection), event)

    def update(
        self, user_id: str, *, name: str | None = None, metadata: Mapping[str, object] | None = None
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
                people.edit(connection, found, (at := datetime.now(UTC)), name=name, metadata=metadata)
                if name not in (None, found.person.name):
                    names = {"from_name": found.person.name, "to_name": name}
                    events.add(connection, [NewEvent(at, "renamed", user_id, names)])
                self._database.scrub_soon()  # what was noted before should not linger
            return people.must_find(connection, user_id).person

    def merge(self, user_id: str, into: str) -> Merger:
        """Make two people one: `into` keeps name, ID and metadata, and takes the other's templates over.

        Raises:
            NotFound: `unknown_person`. BadInput: `bad_parameter` for somebody with themselves.
        """
        if user_id == into:
            raise BadInput("bad_parameter", "Nobody can be merged with themselves.", "Choose two people.")
        at = datetime.now(UTC)
        with self._database.write() as connection:
            other, kept = people.must_find(connection, user_id), people.must_find(connection, into)
            events.hand_over(connection, other.number, kept.number)
            ids = templates.copy(connection, other.number, kept.number, at)
            gone = templates.remove(connection, other.number, at)
            people.matched_as_either(connection, kept, other)
            people.remove(connection, other)
            people.edit(connection, kept, at, active=True)
            detail = {"templates": len(ids), "from": user_id, "from_name": other.person.name}
            events.add(connection, [NewEvent(at, "merged", into, detail)])
            self._database.scrub_soon()
            person = people.must_find(connection, into).person
            return Merger(person, ids, gone, changes.head(connection))

    def ask_for_photo(self, user_id: str, *, asked: bool = True) -> Person:
        """Note that a better photo of a person is wanted, until one is enrolled; or that none is any more.

        Raises:
            NotFound: `unknown_person`.
        """
        at = datetime.now(UTC)
        with self._database.write() as connection:
            found = people.must_find(connection, user_id)
            people.ask_for_photo(connection, found, at if asked else None)
            if asked and found.person.photo_asked_at is None:
                events.add(connection, [NewEvent(at, "photo_asked", user_id)])
            return people.must_find(connection, user_id).person

    # ------------------------------------------------------------ reading

    def one(self, user_id: str) -> Person:
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
            return templates.by_user_id(connection, user_id)

    def template_infos(self, user_id: str) -> tuple[TemplateInfo, ...]:
        """As `templates`: what is shown of them, without the vectors."""
        with self._database.read() as connection:
            return templates.infos(connection, user_id)

    def template_owners(self, template_ids: Collection[int]) -> Mapping[int, TemplateOwner]:
        """Whose the templates are and how good, without the vectors; erased ones are absent."""
        with self._database.snapshot() as connection:
            return templates.owners(connection, template_ids)

    def listing(self, *, query: str = "", limit: int = 50, cursor: str | None = None) -> Page[Person]:
        """People by name, then user_id. Every word of `query` is looked for in both, folded as they are.

        Raises:
            BadInput: `bad_parameter` for a cursor of another listing, or a limit outside `PAGE_SIZE`.
        """
        PAGE_SIZE.check(limit, "limit", "Leave it out for the usual page size.")
        with self._database.snapshot() as connection:
            everybody = self._counter.counts(connection).people
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

    def _checked(self, new: Sequence[NewTemplate], *, vouched: bool) -> list[NewTemplate]:
        """The templates with unit vectors: what is in the ledger is what every tier and search works with."""
        if not new:
            raise BadInput("bad_parameter", "There is nothing to enroll.", "Give at least one template.")
        rows = unit_rows([template.vector for template in new], self._dimension)
        return [
            replace(template, vector=row, vouched=vouched) for template, row in zip(new, rows, strict=True)
        ]


def person_exists(user_id: str, **detail: Json) -> Conflict:
    return Conflict(
        "person_exists",
        "Somebody is enrolled under this user_id already.",
        "Choose another user_id, or say that the photos are to be added to that person.",
        detail={"user_id": user_id, **detail},
    )
