"""The third step of a search: the people behind several tiers' hits, by their similarity to the probe."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from typing import NamedTuple

from core.domain.decisions import reaches
from core.domain.faces import Embedding
from core.domain.search import Candidate, Hit, Source
from core.domain.templates import StoredTemplate

TemplatesOf = Callable[[Collection[int]], Sequence[StoredTemplate]]
"""All templates of some people."""


class Ranked(NamedTuple):  # a tuple for speed: each search makes several
    """A person's best template for one probe."""

    template: StoredTemplate
    similarity: float

    def candidate(self, hot: Collection[int], cold: Collection[int]) -> Candidate:
        """`hot` and `cold` are the template ids that each tier proposed."""
        template = self.template
        source = source_of(template.template_id, hot, cold)
        return Candidate(template.user_id, template.name, self.similarity, source, template.template_id)


def source_of(template_id: int, hot: Collection[int], cold: Collection[int]) -> Source:
    """`both` when both tiers proposed this very template, otherwise the tier that did."""
    if template_id in hot and template_id in cold:
        return Source.BOTH
    return Source.FAISS if template_id in hot else Source.QDRANT


def rank(probe: Embedding, hits: Sequence[Hit], templates: Mapping[int, StoredTemplate]) -> list[Ranked]:
    """The people behind the hits, best first, ties by user_id.

    `templates` is the join with the ledger: a hit that is not in it was erased and does not exist.
    Similarities are computed anew from the ledger's float32 vectors, so no tier's index can blur them.
    """
    best: dict[int, Ranked] = {}
    for template_id in sorted(templates.keys() & {hit.template_id for hit in hits}):
        template = templates[template_id]
        similarity = float(probe.dot(template.vector))  # as `@`, in half the time
        known = best.get(template.person)
        if known is None or similarity > known.similarity:  # of equals, the template that was there first
            best[template.person] = Ranked(template, similarity)
    return sorted(best.values(), key=_order)


def rank_backed(
    probe: Embedding,
    hits: Sequence[Hit],
    templates: Mapping[int, StoredTemplate],
    *,
    first: int,
    floor: float,
    templates_of: TemplatesOf,
) -> list[Ranked]:
    """As `rank`; of the `first` who reach `floor`, photos that `unbacked` does not trust do not count."""
    ranked = rank(probe, hits, templates)
    checked: set[int] = set()
    while True:
        near = [one.template for one in ranked[:first] if reaches(one.similarity, floor)]
        doubtful = {template.person for template in near if not template.vouched} - checked
        if not doubtful:
            return ranked
        checked |= doubtful
        out = unbacked(probe, _by_person(doubtful, templates_of), floor)
        templates = {i: t for i, t in templates.items() if t.vouched or t.person not in out}
        ranked = rank(probe, hits, templates)


def unbacked(probe: Embedding, of: Mapping[int, Sequence[StoredTemplate]], floor: float) -> frozenset[int]:
    """Of people with their templates, those whose vouched ones the probe does not resemble at all.

    A photo that was added later may have come in because it resembles the person a little, and somebody
    else a lot: a mixed picture does. It counts for a probe only where a vouched one reaches `floor` as well.
    """
    return frozenset(
        person
        for person, own in of.items()
        if not any(one.vouched and reaches(float(probe.dot(one.vector)), floor) for one in own)
    )


def _by_person(persons: set[int], templates_of: TemplatesOf) -> dict[int, list[StoredTemplate]]:
    found: dict[int, list[StoredTemplate]] = {person: [] for person in persons}
    for template in templates_of(persons):
        found[template.person].append(template)
    return found


def _order(person: Ranked) -> tuple[float, str]:
    template, similarity = person
    return -similarity, template.user_id


def misled(
    probe: Embedding, hot: Sequence[Hit], ranked: Sequence[Ranked], templates: Mapping[int, StoredTemplate]
) -> bool:
    """Whether the hot tier had someone to propose first, and it was not who came out first."""
    if not hot or not ranked or ranked[0].template.template_id in {hit.template_id for hit in hot}:
        return False  # who is first of all is first of the hot tier's
    proposed = rank(probe, hot, templates)
    return bool(proposed) and proposed[0].template.person != ranked[0].template.person
