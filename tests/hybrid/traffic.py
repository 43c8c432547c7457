"""Section 4: searches from many threads while people are enrolled, renamed and erased."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field

import numpy as np

from core.domain.errors import NotFound, RobiError
from core.domain.search import Strategy
from core.metrics import percentiles
from tests.hybrid.people import EACH
from tests.hybrid.report import Section, none
from tests.hybrid.run import Run

SEARCHERS = 16
STRATEGIES = tuple(Strategy)


@dataclass(slots=True)
class Seen:
    """What went wrong, and how long searches took. Lists are only appended to, which is atomic."""

    errors: list[str] = field(default_factory=list)
    ghosts: list[str] = field(default_factory=list)
    missed: list[str] = field(default_factory=list)
    misnamed: list[str] = field(default_factory=list)
    unsearchable: list[str] = field(default_factory=list)
    left: list[str] = field(default_factory=list)
    search_ms: list[float] = field(default_factory=list)
    enroll_ms: list[float] = field(default_factory=list)
    erase_ms: list[float] = field(default_factory=list)


class Traffic:
    """Searchers and writers on one product, each on a thread of its own."""

    def __init__(self, run: Run) -> None:
        self.run = run
        self.seen = Seen()
        self.probes = {**run.people.probe_of(), **run.newcomers.probe_of()}
        count = min(len(run.newcomers), len(run.people) // 3)
        picked = [run.people.user_ids[i] for i in run.rng.permutation(len(run.people))]
        self.leaving, self.renamed = picked[:count], picked[count : 2 * count]
        self.cached = EACH * (len(run.people) + len(run.newcomers)) <= run.room
        others = picked[2 * count :][: 4 * count]
        self.wanted = [*self.leaving, *self.renamed, *run.newcomers.user_ids, *others]

    def drive(self) -> float:
        """All at once, until the writers are through and enough was searched; the seconds it took."""
        seeds = self.run.rng.spawn(SEARCHERS)
        started = time.perf_counter()
        with ThreadPoolExecutor(SEARCHERS + 3) as pool:
            writers = [pool.submit(job) for job in (self._enroll, self._rename, self._erase)]
            searchers = [pool.submit(self._search, dice, writers) for dice in seeds]
        self.seen.errors += [repr(job.exception()) for job in [*writers, *searchers] if job.exception()]
        return time.perf_counter() - started

    def look(self, user_id: str, strategy: Strategy) -> None:
        """Search for somebody; judge the answer by what was acknowledged before and begun after it."""
        account = self.run.account
        gone, name = account.gone(), account.names.get(user_id)
        started = time.perf_counter()
        result = self.run.search(self.probes[user_id], strategy)
        self.seen.search_ms.append(1e3 * (time.perf_counter() - started))
        self.seen.ghosts += [c.user_id for c in result.candidates if c.user_id in gone]
        risky = strategy is Strategy.FAISS_FIRST and not self.cached
        if name is None or user_id in account.leaving or risky:
            return
        if result.best is None or result.best.user_id != user_id:
            self.seen.missed.append(f"{user_id} by {strategy}")
        elif result.best.name not in (name, account.pending.get(user_id)):
            self.seen.misnamed.append(f"{user_id} by {strategy}")

    def _search(self, dice: np.random.Generator, writers: Sequence[Future[None]]) -> None:
        share = self.run.queries // SEARCHERS
        searched = 0
        while searched < share or not all(job.done() for job in writers):
            user_id = self.wanted[dice.integers(len(self.wanted))]
            strategy = STRATEGIES[dice.integers(len(STRATEGIES))]
            self._noting_errors(lambda u=user_id, s=strategy: self.look(u, s))
            searched += 1

    def _enroll(self) -> None:
        for number, (user_id, templates) in enumerate(self.run.newcomers, 1):
            self._noting_errors(lambda u=user_id, t=templates: self._enroll_one(u, t))
            self.run.progress("writing", number, len(self.run.newcomers))

    def _enroll_one(self, user_id: str, templates: np.ndarray) -> None:
        started = time.perf_counter()
        result = self.run.enroll(user_id, templates)
        self.seen.enroll_ms.append(1e3 * (time.perf_counter() - started))
        if not result.searchable:
            self.seen.unsearchable.append(user_id)

    def _rename(self) -> None:
        for user_id in self.renamed:
            self._noting_errors(lambda u=user_id: self.run.rename(u, f"Renamed {u}"))

    def _erase(self) -> None:
        for user_id in self.leaving:
            self._noting_errors(lambda u=user_id: self._erase_one(u))

    def _erase_one(self, user_id: str) -> None:
        started = time.perf_counter()
        receipt = self.run.erase(user_id)
        self.seen.erase_ms.append(1e3 * (time.perf_counter() - started))
        if receipt.templates_erased != EACH or any(receipt.left.values()) or None in receipt.left.values():
            self.seen.left.append(f"{user_id} {dict(receipt.left)}")

    def _noting_errors(self, call: Callable[[], None]) -> None:
        try:
            call()
        except RobiError as problem:
            self.seen.errors.append(f"{threading.current_thread().name} {problem.code}")


def concurrency(run: Run) -> Section:
    """The rush, and once more everybody concerned when it is over."""
    traffic = Traffic(run)
    seconds = traffic.drive()
    seen, ms = traffic.seen, list(traffic.seen.search_ms)  # those of the rush
    for user_id in [*traffic.leaving, *traffic.renamed, *run.newcomers.user_ids]:
        for strategy in Strategy:
            traffic.look(user_id, strategy)
    exception = "" if traffic.cached else " but faiss_first, which may accept who is in the cache"
    figures = {
        "searchers": SEARCHERS,
        "searches": len(ms),
        "searches_per_s": round(len(ms) / seconds, 1),
        "enrolled": len(run.newcomers),
        "renamed": len(traffic.renamed),
        "erased": len(traffic.leaving),
        "seconds": round(seconds, 2),
        **{f"{name}_ms": value for name, value in percentiles(ms or [0.0]).items()},
        "enroll_p50_ms": percentiles(seen.enroll_ms or [0.0])["p50"],
        "erase_p50_ms": percentiles(seen.erase_ms or [0.0])["p50"],
    }
    return Section(
        "Concurrent operations",
        (
            none("No operation fails", seen.errors),
            none("No erased person is ever returned", [*seen.ghosts, *_still_known(run)]),
            none(f"Everyone enrolled is found, by every strategy{exception}", seen.missed),
            none("Everyone has the name that was given last", seen.misnamed),
            none("Newcomers are searchable when their enrollment returns", seen.unsearchable),
            none("An erasure leaves nothing in the ledger or in a tier", seen.left),
        ),
        figures,
        (tuple(figures), tuple(map(str, figures.values()))),
    )


def _still_known(run: Run) -> list[str]:
    """Who was erased and can still be looked up."""
    known: list[str] = []
    for user_id in run.account.gone():
        try:
            run.service.people.person(user_id)
        except NotFound:
            continue
        known.append(user_id)
    return known
