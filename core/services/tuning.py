"""The tuning in effect: read from the ledger at the start, changed by engineers, followed by the store."""

from __future__ import annotations

import logging
import threading
from collections.abc import Mapping, Sequence

from core.config.settings import Settings
from core.config.tuning import Tuning, TuningStep, differing, tuned
from core.domain.bounds import MARGIN
from core.domain.decisions import LookAlikes
from core.domain.errors import BadInput
from core.domain.people import Pair
from core.ledger.ledger import Ledger
from core.store.hybrid import HybridVectorStore

logger = logging.getLogger("robi.tuning")

MAX_REASON = 300  # characters
PAIR_MARGIN = 2.0  # times the usual margin, when none is given for a pair


class Tuner:
    """Thread-safe. What `tune` and `undo` return is in the ledger and in effect."""

    def __init__(self, settings: Settings, ledger: Ledger, store: HybridVectorStore, now: Tuning) -> None:
        self._settings = settings
        self._ledger = ledger
        self._store = store
        self._turn = threading.Lock()
        self.now = now
        """How Robi searches and decides now."""

    @classmethod
    def open(cls, settings: Settings, ledger: Ledger, store: HybridVectorStore) -> Tuner:
        """Put into effect what was tuned last, over the settings.

        Raises:
            Unavailable: the ledger cannot be read.
        """
        made = cls(settings, ledger, store, _kept(settings, ledger))
        store.retune(made.now)
        made._tell_apart(ledger.pairs.all())
        return made

    def tune(self, changes: Mapping[str, object], reason: str) -> TuningStep:
        """Change how Robi searches and decides, from the next search on, also after a restart.

        Raises:
            BadInput: bad_parameter (a value, no reason, no change), bad_strategy.
            Unavailable: disk_full, ledger_unavailable; nothing is changed then.
        """
        with self._turn:
            return self._step(tuned(self.now, changes), reason)

    def undo(self, step_id: int) -> TuningStep:
        """Go back to what held before a step, which is a step itself.

        Raises:
            BadInput: bad_parameter when there is no such step, or nothing would change.
        """
        with self._turn:
            step, before = self._ledger.tunings.undoing(step_id)
            return self._step(tuned(Tuning.of(self._settings), before), _undone(step))

    def latest(self) -> tuple[TuningStep, ...]:
        """The latest changes, newest first."""
        return self._ledger.tunings.latest()

    def confirm_pair(self, one: str, other: str, margin: float | None = None) -> None:
        """Remember that two look-alikes are two people; a match of either then needs `margin` between them.

        Without one it is twice the usual margin.

        Raises:
            NotFound: unknown_person. BadInput: bad_parameter; nothing is changed then.
        """
        wanted = PAIR_MARGIN * self.now.margin if margin is None else margin
        MARGIN.check(wanted, "The margin", "Try 0.10.")
        with self._turn:  # whoever knows of fewer pairs must not speak last
            self._tell_apart(self._ledger.pairs.put(one, other, wanted))

    def forget_pair(self, one: str, other: str) -> None:
        """Look-alikes are told apart by the usual margin again; nothing happens when they were no pair."""
        with self._turn:
            self._tell_apart(self._ledger.pairs.remove(one, other))

    def _tell_apart(self, pairs: Sequence[Pair]) -> None:
        """Those of whom one is erased or merged later need no second look: nobody gets their number again."""
        self._store.tell_apart(LookAlikes({pair.persons: pair.margin for pair in pairs}))

    def _step(self, new: Tuning, reason: str) -> TuningStep:
        said = " ".join(reason.split())
        if not said or len(said) > MAX_REASON or not said.isprintable():
            raise BadInput(
                "bad_parameter",
                f"A reason of 1 to {MAX_REASON} characters is needed.",
                "Say why in a sentence.",
            )
        if new == self.now:
            raise BadInput("bad_parameter", "Nothing would change: this is in effect already.")
        changed = {
            name: [old, getattr(new, name)] for name, old in _items(self.now) if old != getattr(new, name)
        }
        step = self._ledger.tunings.add(differing(new, self._settings), said, {"changed": changed})
        self.now = new
        self._store.retune(new)
        logger.info("tuned: %s", ", ".join(f"{name} {old} -> {now}" for name, (old, now) in changed.items()))
        return step


def _kept(settings: Settings, ledger: Ledger) -> Tuning:
    """What was tuned last, over the settings; the settings alone when the two no longer go together."""
    usual = Tuning.of(settings)
    steps = ledger.tunings.latest(1)
    try:
        return tuned(usual, steps[0].values) if steps else usual
    except BadInput as problem:
        logger.warning("the tuned values do not go with the settings and are left out: %s", problem.message)
        return usual


def _items(tuning: Tuning) -> list[tuple[str, object]]:
    return [(name, getattr(tuning, name)) for name in Tuning.__dataclass_fields__]


def _undone(step: TuningStep) -> str:
    """Why, once a change is undone; a change that was an undoing itself is not wrapped again and again."""
    return f"Undone: {step.reason.removeprefix('Undone: ')}"[:MAX_REASON]
