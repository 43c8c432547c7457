"""Who deserves a place in the hot tier: the people who are recognised. And its upkeep, in the background."""

from __future__ import annotations

import logging
import threading
from collections.abc import Sequence

from core.domain.templates import StoredTemplate
from core.store.sync.projection import Projection
from core.store.tiers.faiss.index_builder import Job, Outcome
from core.store.tiers.faiss.tier import HotTier

logger = logging.getLogger("robi.store.faiss")

MAX_WAITING = 1000  # people; more recognitions in a follower's step than that are not worth remembering
PROMOTE_SECONDS = 3.0


class Promotions:
    """Promotions happen under the hot tier's apply lock and read the ledger inside it.

    An erasure committed before that read is seen by it, one committed later is applied later: a promoted
    template cannot outlive its person.
    """

    def __init__(self, hot: HotTier, projection: Projection) -> None:
        self._hot = hot
        self._projection = projection
        self._lock = threading.Lock()
        self._waiting: set[int] = set()
        self._builder: threading.Thread | None = None
        self._outcome: Outcome | None = None

    def learn(self, matched: Sequence[StoredTemplate]) -> None:
        """Note accepted matches: who is in the hot tier stays, who is not comes in soon."""
        for template in matched:
            if self._hot.snapshot.rows.holds(template.template_id):
                self._hot.policy.note(template.person)
                continue
            with self._lock:
                if len(self._waiting) < MAX_WAITING:
                    self._waiting.add(template.person)
            self._projection.wake.set()

    def chores(self) -> None:
        """What the hot tier's follower does when there is nothing to apply.

        Raises TierDown when the tier is busy for long.
        """
        with self._lock:
            waiting, self._waiting = self._waiting, set()
        with self._projection.exclusive(PROMOTE_SECONDS):
            if waiting:
                self._hot.promote(waiting)
            self._upkeep()

    def _upkeep(self) -> None:
        """Take over what was built, and begin with what is due; one thing at a time."""
        if self._builder is not None:
            if self._builder.is_alive():
                return
            if self._outcome is not None:
                self._hot.adopt(self._outcome)
            self._builder = self._outcome = None
        job = self._hot.due()
        if job is not None:
            self._builder = threading.Thread(target=self._build, args=(job,), name="faiss-build", daemon=True)
            self._builder.start()

    def _build(self, job: Job) -> None:
        self._outcome = job.run()
        self._projection.wake.set()
