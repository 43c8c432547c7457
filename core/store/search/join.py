"""The second step of a search: which of the proposed templates the ledger still has, and whose they are."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence

from core.domain.search import Hit
from core.domain.templates import StoredTemplate
from core.store.contract import ChangeFeed

Templates = dict[int, StoredTemplate]
PersonsOf = Callable[[Collection[int]], Mapping[int, int]]
"""The persons whom templates belong to, as far as is known; never a wrong one."""


def nobody(_template_ids: Collection[int]) -> Mapping[int, int]:
    return {}


def join(
    proposed: Sequence[Sequence[Hit]],
    people: int,
    feed: ChangeFeed,
    *,
    known: Templates,
    persons_of: PersonsOf = nobody,
    also: Collection[int] = (),
) -> tuple[Templates, list[int]]:
    """Living templates among lists of hits, beside the `known`: enough to tell the first `people` of each.

    Of a person whom `persons_of` knows only the most similar template is joined; where that names too few
    people, because some were erased, all are. `also` are further template ids to join.

    Returns the templates, and which lists (by their places) name too few people all the same.
    """
    persons = persons_of({hit.template_id for hits in proposed for hit in hits})
    first = {*also, *(i for hits in proposed for i in _best(hits, people, persons))}
    templates = _with(known, first, feed)
    short = [n for n, hits in enumerate(proposed) if _people_among(hits, templates) < people]
    if not short:
        return templates, short
    templates = _with(templates, {hit.template_id for n in short for hit in proposed[n]}, feed)
    return templates, [n for n in short if _people_among(proposed[n], templates) < people]


def _people_among(hits: Sequence[Hit], templates: Mapping[int, StoredTemplate]) -> int:
    """How many distinct living people the hits belong to."""
    known = templates.keys() & {hit.template_id for hit in hits}
    return len({templates[template_id].person for template_id in known})


def _best(hits: Sequence[Hit], people: int, persons: Mapping[int, int]) -> Iterator[int]:
    """The most similar template of each of the first people, and all whose person is not known."""
    seen: set[int] = set()
    for template_id, _ in hits:
        person = persons.get(template_id)
        if person is None:
            yield template_id
        elif person not in seen and len(seen) < people:
            seen.add(person)
            yield template_id


def _with(templates: Templates, template_ids: set[int], feed: ChangeFeed) -> Templates:
    missing = template_ids - templates.keys()
    return {**templates, **feed.resolve(missing)} if missing else templates
