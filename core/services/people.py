"""The people who are enrolled: finding, renaming, merging, telling apart."""

from __future__ import annotations

from collections.abc import Mapping

from core.domain.listing import Page
from core.domain.people import GalleryCounts, Pair, Person
from core.domain.templates import TemplateInfo
from core.domain.validation import MAX_QUERY, checked_name
from core.ledger.journal import Journal
from core.ledger.ledger import Ledger
from core.store.hybrid import HybridVectorStore


class People:
    def __init__(self, ledger: Ledger, store: HybridVectorStore, journal: Journal) -> None:
        self._ledger = ledger
        self._store = store
        self._journal = journal

    def listing(self, *, query: str = "", limit: int = 50, cursor: str | None = None) -> Page[Person]:
        return self._ledger.people.listing(query=query[:MAX_QUERY], limit=limit, cursor=cursor)

    def person(self, user_id: str) -> Person:
        """Raises NotFound: unknown_person."""
        return self._ledger.people.one(user_id)

    def counts(self) -> GalleryCounts:
        """How many people and templates are enrolled."""
        return self._ledger.feed.counts()

    def templates(self, user_id: str) -> tuple[TemplateInfo, ...]:
        return self._ledger.people.template_infos(user_id)

    def update(
        self, user_id: str, *, name: str | None = None, metadata: Mapping[str, object] | None = None
    ) -> Person:
        """Rename a person, or replace what is noted about them.

        Raises:
            NotFound: unknown_person. BadInput: invalid_name, invalid_metadata. TooLarge: metadata_too_large.
        """
        clean = checked_name(name) if name is not None else None
        return self._ledger.people.update(user_id, name=clean, metadata=metadata)

    def merge(self, user_id: str, into: str) -> Person:
        """Make two people one, who keeps the name and ID of `into`. From the return on, no search finds two.

        Raises:
            NotFound: unknown_person. BadInput: bad_parameter for somebody with themselves.
        """
        self._journal.flush()
        merger = self._ledger.people.merge(user_id, into)
        self._store.sync(merger.seq)
        self._store.recent.rename(user_id, into)
        return merger.person

    def ask_for_photo(self, user_id: str, *, asked: bool = True) -> Person:
        """Note that a better photo is wanted; the next enrollment of the person settles it."""
        return self._ledger.people.ask_for_photo(user_id, asked=asked)

    def pairs(self) -> tuple[Pair, ...]:
        """Look-alikes who were found to be two people, newest first."""
        return self._ledger.pairs.all()
