"""Both tiers held to the ledger: compared, rebuilt, reconnected, and what is left in them of the erased."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence

from core.domain.errors import BadInput
from core.domain.system import ServerState
from core.store.contract import ColdTier, Served, TierDown, Traces
from core.store.search.plan import COLD, HOT
from core.store.search.tier_runtime import TierRuntime
from core.store.sync.drift import Drift
from core.store.sync.follower import Follower

RECONNECT_SECONDS = 6.0  # a little longer than a circuit stays open
RECONNECT_PAUSE = 0.2


class Upkeep:
    """Thread-safe; searches and writes go on meanwhile."""

    def __init__(self, tiers: Mapping[str, TierRuntime], cold: ColdTier) -> None:
        self._tiers = tiers
        self._cold = cold

    def rebuild(self, tier: str) -> None:
        """Fill a tier anew from the ledger; what it held, or the other tier, keeps answering.

        Raises:
            BadInput: `bad_parameter` for an unknown tier.
            TierDown: it does not answer.
        """
        self._tier(tier).projection.rebuild()

    def check_drift(self, tier: str | None = None) -> tuple[Drift, ...]:
        """Compare a tier, or both, with the ledger id by id, and put right what differs.

        What was found, before it was put right, is also in `drifts`.

        Raises:
            BadInput: `bad_parameter` for an unknown tier.
            TierDown: a tier does not answer, or could not be put right.
        """
        runtimes = [self._tier(tier)] if tier is not None else list(self._tiers.values())
        return tuple(runtime.projection.check() for runtime in runtimes)

    def drifts(self) -> Mapping[str, Drift | None]:
        """What the last comparison of each tier with the ledger found; None before the first."""
        return {name: runtime.projection.last_check for name, runtime in self._tiers.items()}

    def reconnect(self, seconds: float = RECONNECT_SECONDS) -> tuple[str, ...]:
        """Try the tiers that do not answer now, not at the end of their pauses.

        Returns the names of those that still do not after `seconds`; they go on being tried.
        """
        end = time.monotonic() + seconds
        while (away := self._away()) and (left := end - time.monotonic()) > 0:
            for follower in away:
                follower.try_now(left)
            time.sleep(RECONNECT_PAUSE)
        return tuple(name for name, runtime in self._tiers.items() if runtime.projection.down)

    def left(self, template_ids: Sequence[int]) -> Mapping[str, int | None]:
        """How many of these templates each tier still holds; None when a tier cannot be asked."""
        left: dict[str, int | None] = {COLD: None, HOT: 0}
        for name, runtime in self._tiers.items():
            try:
                left[name] = len(runtime.tier.held(template_ids))
            except TierDown:
                left[name] = None
        return left

    def traces(self) -> Traces | None:
        """Of erased templates in the files of the cold tier; None when it cannot be asked."""
        try:
            return self._cold.traces()
        except TierDown:
            return None

    @property
    def server(self) -> ServerState | None:
        """How the cold tier's server stands, as far as is known; None for an embedded engine."""
        return self._cold.server if isinstance(self._cold, Served) else None

    def _away(self) -> list[Follower]:
        followers = [runtime.follower for runtime in self._tiers.values()]
        return [follower for follower in followers if follower is not None and follower.away]

    def _tier(self, name: str) -> TierRuntime:
        if name not in self._tiers:
            raise BadInput("bad_parameter", "There is no such tier.", f"Use {' or '.join(self._tiers)}.")
        return self._tiers[name]
