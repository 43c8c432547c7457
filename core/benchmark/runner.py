"""One comparison from the first probe to the last.

The settings take turns, so that a busy moment of the machine meets them all.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from functools import partial

import numpy as np

from core.benchmark import measurement, oracle, probes
from core.benchmark.load_generator import Crowd, LoadBlock
from core.benchmark.machine import this_machine
from core.benchmark.measurement import Tally
from core.benchmark.model import Measurement, ProbeSource, Run, RunRequest, Setting
from core.benchmark.oracle import Truth
from core.benchmark.request import check
from core.benchmark.throttle import ALONE_SHARE, BUILD_SHARE, CROWD_SHARE, Late, Pace
from core.config.settings import IndexType
from core.domain.errors import BadInput, Unavailable
from core.domain.faces import Embeddings
from core.domain.search import SearchResult, Strategy
from core.services.service import RobiService
from core.store.trial import Trial, TrialOptions

BLOCK = 20  # searches of one setting before the next one's turn
PER_CLIENT = 4  # searches at least, where there are many clients
WARM_UP = 8  # searches of each setting before the first that counts
AT_ONCE_ALONE = 5  # searches between two rests, for a single client
ORACLE_SHARE, OPENING_SHARE = 0.1, 0.1  # of the progress bar

TIERS = {"faiss": "the cache", "qdrant": "Qdrant"}

Hot = tuple[float, IndexType] | None
"""Which hot tier a setting needs: coverage and kind of index; none for `qdrant_only`."""

Tell = Callable[[float, str], None]
"""How far it is, 0 to 1, and what is being done."""


@dataclass(frozen=True, slots=True, eq=False)
class _Prepared:
    request: RunRequest
    probes: Embeddings
    truths: tuple[Truth, ...]
    trials: Mapping[Hot, Trial]


class Runner:
    """One run; use it once."""

    def __init__(self, service: RobiService, request: RunRequest, pace: Pace, tell: Tell) -> None:
        self._service = service
        self._store = service.store
        self._pace = pace
        self._tell = tell
        threshold = self._store.rule(request.threshold).threshold
        settings = tuple(dict.fromkeys(request.settings))
        concurrencies = tuple(sorted(set(request.concurrencies)))
        self._request = replace(request, settings=settings, concurrencies=concurrencies, threshold=threshold)
        self._rng = np.random.default_rng((request.seed, 1))
        self._done = 0  # searches, for the progress

    def run(self) -> Run:
        """
        Raises:
            Cancelled: somebody ended it.
            BadInput: `bad_parameter`; also when the time limit came before anything was complete.
            Unusable: `empty_gallery`.
            Unavailable: `not_enough_memory`, or `search_unavailable` when every search failed.
        """
        at, request = datetime.now(UTC), self._request
        check(request)
        counts, head = self._service.people.counts(), self._service.ledger.feed.head()
        with ExitStack() as trials:
            try:
                prepared = self._prepare(trials)
            except Late:
                raise _too_short() from None
            rows, tallies, complete = self._measure(prepared)
            changed = self._service.ledger.feed.head() != head
            # Said before the caches are closed: closed ones are empty.
            notes = self._notes(prepared, tallies, complete=complete, changed=changed)
        if not rows:
            raise _too_short()
        return Run(
            id=0,
            name=request.name or f"{at:%Y-%m-%d %H:%M}",
            at=at,
            duration_s=round(time.monotonic() - self._pace.started, 3),
            complete=complete,
            request=replace(request, probes=_without_content(request.probes)),
            machine=this_machine(),
            gallery_people=counts.people,
            gallery_templates=counts.templates,
            dimension=self._service.engine.pack.dimension,
            pack=self._service.engine.pack.id,
            rows=tuple(rows),
            pareto=measurement.front_of(rows),
            notes=notes,
        )

    # ------------------------------------------------------------ getting ready

    def _prepare(self, trials: ExitStack) -> _Prepared:
        request = self._request
        self._tell(0.0, "Choosing probes.")
        drawn = probes.draw(self._service, request.probes, request.count, request.seed)
        truths = self._truths(drawn)
        wanted = list(dict.fromkeys(map(_hot, request.settings)))
        opened: dict[Hot, Trial] = {}
        for number, hot in enumerate(wanted):
            self._tell(ORACLE_SHARE + OPENING_SHARE * number / len(wanted), _building(hot))
            self._pace.check()
            opened[hot] = trials.enter_context(self._open(hot))
        return _Prepared(request, drawn, truths, opened)

    def _truths(self, drawn: Embeddings) -> tuple[Truth, ...]:
        total = max(1, self._service.people.counts().templates)
        compared, rest = 0, self._pace.resting(ALONE_SHARE)

        def each(templates: int) -> None:
            nonlocal compared
            compared += templates
            self._tell(ORACLE_SHARE * min(1.0, compared / total), "Comparing every template exactly.")
            rest()

        return oracle.exact(self._service.ledger, drawn, self._store.rule(self._request.threshold), each)

    def _open(self, hot: Hot) -> Trial:
        if hot is None:
            return self._store.trial(None)
        coverage, index_type = hot
        return self._store.trial(TrialOptions(coverage, index_type, pause=self._pace.resting(BUILD_SHARE)))

    # ------------------------------------------------------------ measuring

    def _measure(self, prepared: _Prepared) -> tuple[list[Measurement], list[Tally], bool]:
        """The rows, by concurrency and then as the settings were named, and whether that is all of them."""
        rows: list[Measurement] = []
        tallies: list[Tally] = []
        for concurrency in self._request.concurrencies:
            level = [Tally(setting, concurrency, self._request.k) for setting in self._request.settings]
            complete = self._level(prepared, level)
            if failures := measurement.all_failed(level):
                raise Unavailable(
                    "search_unavailable",
                    f"Every search of the run failed ({', '.join(failures)}).",
                    "See Monitoring for what is wrong, then run it again.",
                )
            if level[0].counts:
                rows += [one.measured(prepared.trials[_hot(one.setting)]) for one in level]
                tallies += level
            if not complete:
                return rows, tallies, False
        return rows, tallies, True

    def _level(self, prepared: _Prepared, level: Sequence[Tally]) -> bool:
        """All blocks of one concurrency; False when the time limit cut it short, after whole rounds."""
        clients = level[0].concurrency
        size = BLOCK if clients == 1 else PER_CLIENT * clients
        numbers = np.resize(np.arange(len(prepared.probes)), self._request.count)
        with Crowd(clients) as crowd:
            try:
                for one in level:
                    self._turn(prepared, one, crowd, range(min(WARM_UP, len(prepared.probes))))
                for start in range(0, len(numbers), size):
                    self._round(prepared, level, crowd, numbers[start : start + size].tolist())
            except Late:
                return False
        return True

    def _round(
        self, prepared: _Prepared, level: Sequence[Tally], crowd: Crowd, numbers: Sequence[int]
    ) -> None:
        """Each setting's turn with the same probes, in a random order; counts only as a whole."""
        blocks = []
        for place in self._rng.permutation(len(level)):
            one = level[place]
            self._tell_measuring(one.concurrency)
            blocks.append((one, self._turn(prepared, one, crowd, numbers)))
            self._done += len(numbers)
        for one, block in blocks:
            one.add(block, prepared.truths)

    def _turn(self, prepared: _Prepared, one: Tally, crowd: Crowd, numbers: Sequence[int]) -> LoadBlock:
        trial = prepared.trials[_hot(one.setting)]
        trial.look_into(one.setting.index_type, one.setting.nprobe)
        search = partial(self._search, trial, prepared.probes, one.setting)
        alone = one.concurrency == 1
        size, share = (AT_ONCE_ALONE, ALONE_SHARE) if alone else (len(numbers), CROWD_SHARE)
        parts = []
        for start in range(0, len(numbers), size):
            parts.append(crowd.work(search, numbers[start : start + size]))
            self._pace.rest(parts[-1].seconds, share)
        answers = tuple(answer for part in parts for answer in part.answers)
        return LoadBlock(answers, sum(part.seconds for part in parts))

    def _search(self, trial: Trial, drawn: Embeddings, setting: Setting, number: int) -> SearchResult:
        return trial.search(
            drawn[number],
            strategy=setting.strategy,
            search_ef=setting.search_ef,
            k=self._request.k,
            threshold=self._request.threshold,
        )

    def _tell_measuring(self, clients: int) -> None:
        request = self._request
        total = len(request.settings) * len(request.concurrencies) * request.count
        before = ORACLE_SHARE + OPENING_SHARE
        who = "one client" if clients == 1 else f"{clients} clients at once"
        self._tell(before + (1 - before) * self._done / total, f"Searching, {who}.")

    def _notes(
        self, prepared: _Prepared, tallies: Sequence[Tally], *, complete: bool, changed: bool
    ) -> tuple[str, ...]:
        """What a reader should know."""
        missing = sorted({TIERS.get(tier, tier) for one in tallies for tier in one.degraded})
        said = {
            "The time limit ended this run: only whole rounds before it count.": not complete,
            "Live searches were answered meanwhile, and the run gave way to them.": self._pace.gave_way,
            "People were enrolled or erased meanwhile: a few answers may rightly differ.": changed,
            f"Not in step for some searches: {', '.join(missing)}.": bool(missing),
            f"There were {len(prepared.probes)} different probes; each was searched for several times.": len(
                prepared.probes
            )
            < self._request.count,
        }
        of_trials = [
            f"A cache of {hot[0]:.0%} has no room for all templates of one person: it was empty."
            for hot, trial in prepared.trials.items()
            if hot is not None and not trial.templates
        ]
        of_trials += [trial.note for trial in prepared.trials.values() if trial.note]
        return (*(sentence for sentence, holds in said.items() if holds), *dict.fromkeys(of_trials))


def _hot(setting: Setting) -> Hot:
    if setting.strategy is Strategy.QDRANT_ONLY:
        return None
    return setting.coverage, setting.index_type


def _building(hot: Hot) -> str:
    if hot is None:
        return "Preparing Qdrant."
    return f"Building a cache of {hot[0]:.0%} of the templates ({hot[1]})."


def _without_content(source: ProbeSource) -> ProbeSource:
    return replace(source, embeddings=None)


def _too_short() -> BadInput:
    return BadInput(
        "bad_parameter",
        "The time limit came before anything was compared.",
        "Allow more time, or choose fewer settings.",
    )
