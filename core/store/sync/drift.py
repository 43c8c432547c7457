"""Comparing all that a tier holds with all that the ledger holds, while both go on."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime

import numpy as np
from numpy.typing import NDArray

from core.domain.templates import Change, ChangeKind
from core.store.contract import ChangeFeed, Tier, Unsettled

FEW = 1000  # differences that are confirmed and put right one by one; more are worth a rebuild

Ids = NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class Drift:
    """What a comparison found. A tier that caches a part of the gallery on purpose misses nothing."""

    tier: str
    at: datetime
    ledger_count: int
    tier_count: int
    missing: int  # templates that the ledger has and the tier lacks
    extra: int  # templates that only the tier has
    seq: int  # of the ledger, at the moment compared
    ok: bool


@dataclass(frozen=True, slots=True, eq=False)
class TierComparison:
    drift: Drift
    missing: Ids
    extra: Ids


def compare(tier: Tier, feed: ChangeFeed, catch_up: Callable[[], None]) -> TierComparison:
    """Holds no lock. Changes that arrive meanwhile are told apart from drift by looking again.

    Raises:
        Unsettled: too much changed meanwhile to say.
        TierDown: the tier does not answer.
    """
    before = tier.seq
    held = tier.ids()
    seq, truth = feed.template_ids()
    missing, extra = _differences(truth, held, whole=tier.complete)
    if (len(missing) or len(extra)) and not before == tier.seq == seq:
        missing, extra = _confirm(missing, extra, tier, feed, catch_up)
    ok = not len(missing) and not len(extra)
    numbers = (len(truth), len(held), len(missing), len(extra), seq)
    return TierComparison(Drift(tier.name, datetime.now(UTC), *numbers, ok), missing, extra)


def repairs(found: TierComparison, feed: ChangeFeed, seq: int) -> list[Change]:
    """Changes that put the differences right, for a tier that stands at `seq` and stays there."""
    drops = [Change(seq, ChangeKind.DROP, int(number), 0, None) for number in found.extra]
    living = feed.resolve(found.missing.tolist()).values()
    return [*drops, *(Change(seq, ChangeKind.PUT, t.template_id, t.person, t.vector) for t in living)]


def checksum(ids: Ids) -> int:
    """The same for the same ids in any order: the sum, modulo 2^64, of what SplitMix64 makes of each.

    Source of the constants: Sebastiano Vigna, splitmix64.c (public domain), after Steele, Lea and Flood,
    "Fast splittable pseudorandom number generators", OOPSLA 2014.
    """
    mixed = ids.astype(np.uint64) + np.uint64(0x9E3779B97F4A7C15)
    mixed = (mixed ^ (mixed >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    mixed = (mixed ^ (mixed >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return int((mixed ^ (mixed >> np.uint64(31))).sum(dtype=np.uint64))


def _differences(truth: Ids, held: Ids, *, whole: bool) -> tuple[Ids, Ids]:
    if len(truth) == len(held) and checksum(truth) == checksum(held):
        return np.empty(0, np.int64), np.empty(0, np.int64)
    missing = np.setdiff1d(truth, held) if whole else np.empty(0, np.int64)
    return missing, np.setdiff1d(held, truth)


def _confirm(
    missing: Ids, extra: Ids, tier: Tier, feed: ChangeFeed, catch_up: Callable[[], None]
) -> tuple[Ids, Ids]:
    """What is left of the differences once the tier has caught up with all that can explain them."""
    suspects = [*missing.tolist(), *extra.tolist()]
    if len(suspects) > FEW:
        raise Unsettled
    living = feed.resolve(suspects).keys()  # whoever is not is gone for good: ids are never given again
    catch_up()
    present = tier.held(suspects).keys()
    lacking = (living & feed.resolve(living).keys()) - present if tier.complete else set()
    return np.array(sorted(lacking), np.int64), np.array(sorted(present - living), np.int64)
