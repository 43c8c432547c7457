"""What another rule would have made of the decisions on record."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

import numpy as np
from numpy.typing import NDArray

from core.domain.decisions import TOLERANCE, Rule
from core.domain.people import Pair
from core.domain.search import Decision
from core.domain.statistics import Rates
from core.ledger.ledger import Ledger

DAYS = 30
MOST_DECISIONS = 100_000
MOST_EVENTS = 50  # named in a preview
_UNKNOWABLE = "?"


@dataclass(frozen=True, slots=True, eq=False)
class Decided:
    """Decisions on record, newest first: arrays of one length. Read once, preview often.

    `similarity` is NaN where nobody was found, `lead` (to the second person) NaN where it was not recorded.
    `decision` has the values of `Decision`, `user_id` is "" where nobody was proposed. `own_threshold`: the
    request asked for another threshold than the one in effect. `held_back`: for what its picture shows it
    was for review at most.
    """

    ids: NDArray[np.int64]
    decision: NDArray[np.str_]
    similarity: Rates
    lead: Rates
    user_id: NDArray[np.str_]
    one_to_one: NDArray[np.bool_]
    own_threshold: NDArray[np.bool_]
    held_back: NDArray[np.bool_]
    days: int
    truncated: bool  # there are more than were read


@dataclass(frozen=True, slots=True)
class Flip:
    was: Decision
    becomes: Decision
    count: int


@dataclass(frozen=True, slots=True)
class Preview:
    """What another rule would have made of the recorded decisions.

    `own_threshold` are not among the `decisions`: requests with a threshold of their own, which stays theirs.
    `unknown`: it depends on the second person, on whom the record says too little.
    `events` are the ids of some that change, newest first.
    """

    days: int
    decisions: int
    own_threshold: int
    changed: tuple[Flip, ...]
    unchanged: int
    unknown: int
    events: tuple[int, ...]
    truncated: bool

    @property
    def changes(self) -> int:
        return sum(flip.count for flip in self.changed)


def recent_decisions(ledger: Ledger, days: int = DAYS, limit: int = MOST_DECISIONS) -> Decided:
    """The decisions of the last days, the newest when there are too many. Call `service.events` before it,
    or the last second may be missing."""
    since = datetime.now(UTC) - timedelta(days=days)
    rows = ledger.events.decisions(since, limit + 1)
    details = [json.loads(row[1]) for row in rows[:limit]]
    return Decided(
        ids=np.array([row[0] for row in rows[:limit]], np.int64),
        decision=np.array([detail.get("decision", "") for detail in details], np.str_),
        similarity=np.array([_number(detail.get("similarity")) for detail in details], np.float64),
        lead=np.array([_number(detail.get("lead")) for detail in details], np.float64),
        user_id=np.array([row[2] or "" for row in rows[:limit]], np.str_),
        one_to_one=np.array([detail.get("mode") == "1:1" for detail in details], np.bool_),
        held_back=np.array([bool(detail.get("held_back_by")) for detail in details], np.bool_),
        own_threshold=np.array([_own_threshold(detail) for detail in details], np.bool_),
        days=days,
        truncated=len(rows) > limit,
    )


def preview(decided: Decided, rule: Rule, margin_before: float, pairs: Sequence[Pair] = ()) -> Preview:
    """What `rule` would have decided; its own look-alikes do not count, `pairs` do.

    A decision between two people hangs on the margin as well. Where the lead was not recorded, a `match` is
    known to have led by `margin_before`; what is not a match and would reach the threshold is `unknown`.
    So is what leads by the margin and not by that of a confirmed pair, where the second person may have been
    the other of the pair: who it was is not on record, nor who came first where nobody was proposed.
    """
    becomes = _becomes(decided, rule, margin_before, _pair_margins(decided, pairs))
    ruled = ~decided.own_threshold
    known = ruled & (becomes != _UNKNOWABLE)
    changed = known & (becomes != decided.decision)
    moved = zip(decided.decision[changed].tolist(), becomes[changed].tolist(), strict=True)
    flips = Counter(moved).most_common()
    return Preview(
        days=decided.days,
        decisions=int(ruled.sum()),
        own_threshold=int(decided.own_threshold.sum()),
        changed=tuple(Flip(Decision(was), Decision(then), count) for (was, then), count in flips),
        unchanged=int((known & ~changed).sum()),
        unknown=int((ruled & ~known).sum()),
        events=tuple(decided.ids[changed][:MOST_EVENTS].tolist()),
        truncated=decided.truncated,
    )


def _pair_margins(decided: Decided, pairs: Sequence[Pair]) -> NDArray[np.float64]:
    """The greatest lead that each decision may have needed by a confirmed pair; 0 where by none."""
    of: dict[str, float] = {"": max((pair.margin for pair in pairs), default=0.0)}
    for pair in pairs:
        for user_id in pair.user_ids:
            of[user_id] = max(pair.margin, of.get(user_id, 0.0))
    return np.array([of.get(user_id, 0.0) for user_id in decided.user_id.tolist()], np.float64)


def _becomes(
    decided: Decided, rule: Rule, margin_before: float, pair_margin: NDArray[np.float64]
) -> NDArray[np.str_]:
    """As `Rule.decide`, for many; `_UNKNOWABLE` where that hangs on a lead that nobody knows."""
    reaches = decided.similarity >= rule.threshold - TOLERANCE
    in_band = decided.similarity >= rule.threshold - rule.review_band - TOLERANCE
    recorded = ~np.isnan(decided.lead)
    led_before = (decided.decision == Decision.MATCH.value) & ~recorded
    leads = decided.one_to_one | (decided.lead >= rule.margin - TOLERANCE)
    leads |= led_before & (rule.margin <= margin_before + TOLERANCE)
    unknowable = reaches & ~leads & ~recorded & ~decided.one_to_one
    by_pair = (pair_margin > rule.margin) & ~(decided.lead >= pair_margin - TOLERANCE) & ~decided.one_to_one
    unknowable |= reaches & leads & by_pair
    free = ~decided.held_back
    outcomes = [
        (unknowable & free, _UNKNOWABLE),
        (reaches & leads & free, Decision.MATCH.value),
        (in_band, Decision.REVIEW.value),
    ]
    return np.select([case for case, _ in outcomes], [name for _, name in outcomes], Decision.UNKNOWN.value)


def _own_threshold(detail: Mapping[str, Any]) -> bool:
    """Whether a request's own threshold decided, not the one in effect. Older events name that alone."""
    return bool(detail.get("decided_by", {}).get("own", "threshold" in detail))


def _number(value: float | None) -> float:
    return np.nan if value is None else float(value)
