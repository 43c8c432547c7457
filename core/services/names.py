"""Names and IDs: what to look at before believing one, and how namesakes are told apart."""

from __future__ import annotations

from collections.abc import Callable, Collection
from dataclasses import replace

from core.domain.errors import Unavailable
from core.domain.folding import fold
from core.domain.names import NameWarning, mixed_alphabets, user_id_from
from core.domain.search import SearchResult
from core.ledger.ledger import Ledger


class Names:
    def __init__(self, ledger: Ledger) -> None:
        self._ledger = ledger

    def suggest_user_id(self, name: str) -> str:
        """A free ID made of the letters and digits of a name: "Ana Ruiz" gives `ana-ruiz`."""
        return free_user_id(user_id_from(name), lambda user_id: self._ledger.people.find(user_id) is not None)

    def warnings(self, name: str, user_id: str | None = None) -> tuple[NameWarning, ...]:
        """What to look at before believing a name: others have it, or it looks like theirs.

        `user_id` is whose name it is, or is to become.
        """
        found = []
        others = [other for other in self._ledger.people.namesakes(name) if other[0] != user_id]
        same = tuple(other for other, called in others if fold(called) == fold(name))
        alike = tuple(other for other, called in others if fold(called) != fold(name))
        if same:
            found.append(NameWarning("name_exists", "Somebody of this name is enrolled already.", same))
        if alike:
            message = "The name looks like that of somebody else."
            found.append(NameWarning("name_looks_like", message, alike))
        if alphabets := mixed_alphabets(name):
            mixed = " and ".join(alphabet.capitalize() for alphabet in alphabets)
            message = f"One word of the name mixes {mixed} letters, which look the same."
            found.append(NameWarning("mixed_alphabets", message))
        return tuple(found)

    def shared(self, user_ids: Collection[str]) -> frozenset[str]:
        """Those of the people whose name is, or looks like, somebody else's: show their IDs beside it."""
        return self._ledger.people.sharing_names(user_ids)

    def called(self, user_id: str, name: str) -> str:
        """A person's name for the screen: "Ana Ruiz", or "Ana Ruiz (ana-2)" where others have that name."""
        return f"{name} ({user_id})" if self.shared([user_id]) else name

    def told_apart(self, search: SearchResult, shared: Collection[str] | None = None) -> SearchResult:
        """A search for the screen: its candidates are called so that nobody is taken for a namesake.

        `shared` is what `shared` said a moment ago, if somebody asked.
        """
        if shared is None:
            try:
                shared = self.shared([candidate.user_id for candidate in search.candidates])
            except Unavailable:
                return search
        if not shared:
            return search
        named = (
            replace(c, name=f"{c.name} ({c.user_id})") if c.user_id in shared else c
            for c in search.candidates
        )
        return replace(search, candidates=tuple(named))


def free_user_id(base: str, taken: Callable[[str], bool]) -> str:
    """`base`, or `base-2` and so on: one that is free, found in few looks however many are taken.

    Names without Latin letters all have the same base: counting up would ask once for each of those people.
    """
    if not taken(base):
        return base
    low, high = 1, 2  # `low` is taken
    while taken(f"{base}-{high}"):
        low, high = high, 2 * high
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (middle, high) if taken(f"{base}-{middle}") else (low, middle)
    return f"{base}-{high}"
