"""A small Robi with a memory of its own: what was acknowledged, what was refused, whether that is kept."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import replace
from typing import TypeVar

import numpy as np

from core.config.settings import Settings
from core.config.tuning import Tuning, differing, tuned
from core.domain.errors import Busy, NotFound, RobiError, Unavailable
from core.domain.people import CommittedEnrollment
from core.domain.search import Strategy
from core.domain.system import Health, TierState
from core.domain.templates import NewTemplate
from core.faces.engine import FaceEngine
from core.ledger.ledger import Ledger
from core.services.service import RobiService
from core.store.hybrid import HybridVectorStore
from tests.chaos.audit import audit
from tests.chaos.opening import opened
from tests.chaos.truth import Known, Truth, happened, merged
from tests.unit.store.kit import faces

LONGEST_CALL = 30.0  # a bound for whatever is asked, however the edges fail; far above any expectation
OPENINGS = 5  # tried, while the edges fail
PEOPLE = 24
LOOKS = 8  # of each

T = TypeVar("T")


class World:
    """Every call's outcome is judged at once; what is not as promised is a sentence in `broken`.

    A refused change has changed nothing. Where the answer of the ledger can be lost after it has committed
    (`answers_lost`), a refused change is there in full or not at all.
    """

    def __init__(
        self, settings: Settings, engine: FaceEngine, *, seed: str = "", answers_lost: bool = False
    ) -> None:
        self.settings = settings
        self.engine = engine
        self.truth = Truth(settings.robi_data_dir / "ledger.db")
        self.answers_lost = answers_lost
        self.looks = faces(np.random.default_rng([*seed.encode()]), PEOPLE, LOOKS)
        self.ballast: bytes | None = None  # a thumbnail, to use up space with
        self.used = [0] * PEOPLE  # looks of each person that were enrolled
        self.people: dict[str, Known] = {}
        self.now: dict[int, int] = {}  # who somebody turned out to be
        self.gone: set[int] = set()
        self.undecided: set[str] = set()  # refused, and happened all the same: found once the tiers follow
        self.broken: list[str] = []
        self.refused = 0
        self.named = False  # whether health ever said that something was wrong
        self.acknowledged = 0
        self._service: RobiService | None = None

    @property
    def is_open(self) -> bool:
        return self._service is not None

    @property
    def service(self) -> RobiService:
        assert self._service is not None
        return self._service

    @property
    def store(self) -> HybridVectorStore:
        return self.service.store

    @property
    def ledger(self) -> Ledger:
        return self.service.ledger

    def remember(self, other: World) -> None:
        """What was acknowledged in another world, whose ledger this one begins with."""
        self.people, self.used = dict(other.people), list(other.used)

    # ------------------------------------------------------------ opening and closing

    def open(self) -> None:
        """Several tries, as an operator or a supervisor would; each ends in a service or a named error."""
        for number in range(OPENINGS):
            try:
                self._service = self.bounded("opening", lambda: opened(self.settings, self.engine))
                self._compare_tuning(self._tuned())
            except (RobiError, MemoryError):
                self.refused += 1
                if number == OPENINGS - 1:
                    raise
            else:
                return

    def close(self) -> None:
        if self._service is None:
            return
        service, self._service = self._service, None
        self.bounded("closing", lambda: self._close(service))

    def _close(self, service: RobiService) -> None:
        with suppress(RobiError):
            service.close()
        service.store.close()
        service.ledger.close()

    # ------------------------------------------------------------ what is asked

    def enroll(self, number: int, templates: int = 1, name: str = "") -> None:
        """Enroll person `number`, or add templates to them."""
        user, first = _user(number), self.used[number]
        vectors = self.looks[number, first : first + templates]
        new = [NewTemplate(vector, 1.0, "api", self.ballast) for vector in vectors]
        before = self.people.get(user)
        name = name or f"Name of {user}"

        def change() -> CommittedEnrollment:
            return (
                self.ledger.people.add_templates(user, new)
                if before
                else self.ledger.people.enroll(user, name, new)
            )

        made = self._change("enroll", user, change, len(new), name)
        if made is not None:
            ids = frozenset(made.template_ids) | (before.ids if before else frozenset())
            self.people[user] = Known(before.name if before else name, ids)
            self._sync(made)

    def rename(self, number: int, name: str) -> None:
        user = _user(number)
        if (
            self._change("rename", user, lambda: self.ledger.people.update(user, name=name), 0, name)
            is not None
        ):
            self.people[user] = replace(self.people[user], name=name)

    def erase(self, number: int) -> None:
        user = _user(number)
        if self._change("erase", user, lambda: self.service.erasures.erase(user), 0, "") is not None:
            self.gone |= self.people.pop(user).ids

    def erase_unknown(self) -> None:
        with suppress(NotFound, Unavailable):
            self.bounded("erase unknown", lambda: self.ledger.people.erase("nobody"))

    def merge(self, number: int, into: int) -> None:
        """Person `number` turns out to be person `into`."""
        user, kept = _user(number), _user(into)
        if not {user, kept} <= self.people.keys():
            return
        before = self.people[user], self.people[kept]
        answered = self._answered("merge", lambda: self.service.people.merge(user, kept))
        found = self.truth.person(user), self.truth.person(kept)
        done = merged(before, found)
        self._judge("merge", answered, done, unchanged=found == before)
        if done and found[1] is not None:
            self.gone |= self.people.pop(user).ids
            self.people[kept], self.now[number] = found[1], into
            self.undecided |= set() if answered else {kept}

    def tell_apart(self, one: int, other: int, margin: float) -> None:
        both = _user(one), _user(other)
        if not self.people.keys() >= {*both}:
            return
        before = self.truth.margins()
        answered = self._answered("pair", lambda: self.service.tuning.confirm_pair(*both, margin))
        found = self.truth.margins()
        done = found == before | {frozenset(both): margin}
        self._judge("pair", answered, done, unchanged=found == before)
        if answered and margin not in self.store.rule().look_alikes.margins.values():
            self.broken.append("a pair is kept, and not decided by")

    def tune(self, **changes: object) -> None:
        expected = tuned(self.service.tuning.now, changes)
        self._retune("tune", expected, lambda: self.service.tuning.tune(changes, "A trial."))

    def undo(self) -> None:
        """Take the newest change of the tuning back."""
        steps = self.truth.tunings()
        expected = self._tuned(before=1)
        if steps and expected != self.service.tuning.now:
            self._retune("undo", expected, lambda: self.service.tuning.undo(steps[-1][0]))

    def rebuild(self, tier: str) -> None:
        with suppress(RobiError, MemoryError):
            self.bounded(f"rebuild {tier}", lambda: self.store.upkeep.rebuild(tier))

    def look_for(self, *numbers: int) -> None:
        for number in numbers:
            for strategy in Strategy:
                self.search(number, strategy)

    def search(self, number: int, strategy: Strategy) -> None:
        user = _user(number)
        if user not in self.people:
            user = _user(self.now.get(number, number))
        probe = self.looks[number, 0]
        try:
            result = self.bounded("search", lambda: self.store.search(probe, k=20, strategy=strategy))
        except (Unavailable, Busy):
            self.refused += 1
            return
        seen = {candidate.user_id: candidate.template_id for candidate in result.candidates}
        if ghosts := self.gone & set(seen.values()):
            self.broken.append(f"{strategy} returned the erased {sorted(ghosts)}")
        expected = user in self.people and user not in self.undecided
        if expected and user not in seen and not result.degraded:
            self.broken.append(f"{strategy} did not find {user}, and called nothing degraded")

    def look_at_health(self) -> Health | None:
        """None when not even that can be told; whatever is told, it has to be in Robi's words."""
        try:
            found = self.bounded("health", lambda: self.service.monitor.health())
        except RobiError as problem:
            self.broken.append(f"health itself fails: {problem}")
            return None
        told = any(c.status not in ("ok", "off") for c in found.components)
        self.named |= told or any(s.error for s in self.states())
        return found

    # ------------------------------------------------------------ what there has to be

    def settle(self) -> None:
        """Wait until all is well by its own account; then look for oneself."""
        self.broken += audit(self)
        self._compare_tuning(self.service.tuning.now)

    def _compare_tuning(self, expected: Tuning) -> None:
        """What is in effect everywhere: all steps that were kept, for as long as no answer was lost."""
        rule, tuning = self.store.rule(), self.service.tuning.now
        if tuning != expected or rule.threshold != tuning.threshold:
            self.broken.append(f"tuned to {tuning}, deciding by {rule.threshold}, kept is {expected}")

    def _tuned(self, *, before: int = 0) -> Tuning:
        """As the file has it, so many steps ago."""
        steps = [{}, *(values for _, values in self.truth.tunings())]
        return tuned(Tuning.of(self.settings), steps[max(0, len(steps) - 1 - before)])

    # ------------------------------------------------------------ judging

    def bounded(self, what: str, call: Callable[[], T]) -> T:
        started = time.monotonic()
        try:
            return call()
        finally:
            if (seconds := time.monotonic() - started) > LONGEST_CALL:
                self.broken.append(f"{what} took {seconds:.0f} s")

    def _answered(self, what: str, change: Callable[[], object]) -> bool:
        try:
            self.bounded(what, change)
        except Unavailable:
            self.refused += 1
            return False
        self.acknowledged += 1
        return True

    def _judge(self, what: str, answered: bool, done: bool, *, unchanged: bool) -> None:
        """All of it, or nothing."""
        if not (done if answered else unchanged or (self.answers_lost and done)):
            said = "acknowledged" if answered else "refused"
            self.broken.append(f"{what} was {said}; all of it {done}, nothing of it {unchanged}")

    def _retune(self, what: str, expected: Tuning, change: Callable[[], object]) -> None:
        steps, present = self.truth.tunings(), self.service.tuning.now
        answered = self._answered(what, change)
        found = self.truth.tunings()
        new = [values for _, values in found[len(steps) :]]
        done = found[: len(steps)] == steps and new == [differing(expected, self.settings)]
        self._judge(what, answered, done, unchanged=found == steps)
        self._compare_tuning(expected if answered else present)

    def _guarded(self, call: Callable[[], T]) -> T | None:
        try:
            return call()
        except Unavailable:
            self.refused += 1
            return None

    def _change(self, what: str, user: str, change: Callable[[], T], templates: int, name: str) -> T | None:
        before = self.people.get(user)
        if before is None and what != "enroll":
            return None
        if what == "enroll":
            self.used[_number(user)] += templates
        try:
            answer = self.bounded(what, change)
        except Unavailable as problem:
            self.refused += 1
            self._judge_refused(what, user, templates, name, problem)
            return None
        self.acknowledged += 1
        return answer

    def _judge_refused(self, what: str, user: str, templates: int, name: str, problem: Unavailable) -> None:
        if not self.settings.robi_data_dir.exists():
            return
        before, found = self.people.get(user), self.truth.person(user)
        if found == before:
            return
        if self.answers_lost and happened(what, before, found, templates, name):
            self.undecided.add(user)
            if found is None:
                assert before is not None
                self.gone |= before.ids
                del self.people[user]
            else:
                self.people[user] = found
            return
        self.broken.append(f"{what} of {user} was refused ({problem}) and left {found} of {before}")

    def ids(self, user: str) -> frozenset[int]:
        return frozenset(t.template_id for t in self.ledger.people.templates(user))

    def _sync(self, made: CommittedEnrollment) -> None:
        """A tier that a writer is told has not got it names that, for as long as it lasts."""
        behind = self.bounded("sync", lambda: self._guarded(lambda: self.store.sync(made.seq))) or ()
        for state in self.states():
            if state.name in behind and state.ok and state.seq < made.seq and not state.lag:
                self.broken.append(f"{state.name} is behind and says nothing")

    def states(self) -> Sequence[TierState]:
        return self._guarded(self.store.states) or ()


def _user(number: int) -> str:
    return f"p{number}"


def _number(user: str) -> int:
    return int(user[1:])
