"""The last step of a search: what the people found amount to by the rule."""

from __future__ import annotations

from collections.abc import Sequence

from core.domain.decisions import Rule
from core.domain.search import Decision
from core.store.search.rank import Ranked


def decide(ranked: Sequence[Ranked], rule: Rule) -> Decision:
    """What the rule makes of these people, best first."""
    first = ranked[:2]
    return rule.decide([one.similarity for one in first], [one.template.person for one in first])


def enough(ranked: Sequence[Ranked], rule: Rule, *, settled: bool) -> bool:
    """Whether the hot tier's people settle the matter without the cold tier.

    They do when the hot tier holds the whole gallery and looks at all of it (`settled`), or when its best
    person is a match by the rule.
    """
    return settled or decide(ranked, rule) is Decision.MATCH
