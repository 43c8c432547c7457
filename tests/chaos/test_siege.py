"""kill -9 of the process, of its Edge child and of both, at random moments: every promise is kept.

ROBI_CHAOS_KILLS says how often (40; a full run is 200), ROBI_CHAOS_SEED repeats a run: the same operations in
each thread and the same kills at the same moments, as far as the scheduler allows.
"""

from __future__ import annotations

import json
import random
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil
import pytest

from tests.chaos.seed import KILLS, SEED
from tests.chaos.siege_oracle import Line, Oracle

pytestmark = pytest.mark.chaos

ROOT = Path(__file__).resolve().parents[2]
PATIENCE = 90.0  # for a start, a report or an end; far beyond what any takes
TARGETS = {
    "main": ("main",),
    "edge": ("edge",),
    "both": ("edge", "main"),
    "both, main first": ("main", "edge"),
}


@dataclass(frozen=True, slots=True)
class Kill:
    targets: tuple[str, ...]
    early: bool  # counted from the start of the process: while it opens, checks and catches up
    pause: float
    newest: bool  # of the children only the one started last: the builder of a generation, if there is one

    @property
    def kind(self) -> str:
        return "both" if len(self.targets) == 2 else self.targets[0]


def plan(seed: str, kills: int) -> Iterator[Kill]:
    dice = random.Random(seed)
    for _ in range(kills):
        early = dice.random() < 0.2
        pause = dice.uniform(0.0, 1.5) if early else dice.uniform(0.0, 0.6)
        kind = dice.choices(list(TARGETS), (2, 2, 1, 1))[0]
        yield Kill(TARGETS[kind], early, pause, dice.random() < 0.5)


class Life:
    """One run of the driver, from its start to its end or its murder."""

    def __init__(self, directory: Path, seed: str, oracle: Oracle) -> None:
        self.oracle = oracle
        self.reported = threading.Event()
        self.failure: Exception | None = None  # of the oracle
        with (directory / "driver.log").open("ab") as log:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "tests.chaos.siege_driver", str(directory), seed],
                cwd=ROOT,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=log,
            )
        self.reader = threading.Thread(target=self._read)
        self.reader.start()

    def _read(self) -> None:
        assert self.process.stdout is not None
        try:
            for line in self.process.stdout:
                if not line.endswith(b"\n"):
                    return  # killed in the middle of a word: it was not said
                told: dict[str, Any] = json.loads(line)
                self.oracle.read(told)
                if "state" in told:
                    self.reported.set()
        except Exception as problem:  # noqa: BLE001  raised again by whoever waits
            self.failure = problem
            self.process.kill()

    def listen(self, seconds: float) -> None:
        """Let it go on for so long; an oracle that fails, or that has heard of a broken promise, ends it."""
        end = time.monotonic() + seconds
        while (left := end - time.monotonic()) > 0 and self._listening():
            time.sleep(min(left, 0.02))

    def _listening(self) -> bool:
        if self.failure is not None:
            raise AssertionError("the oracle cannot judge what it was told") from self.failure
        assert not self.oracle.broken, "a promise was broken"
        return True

    def wait(self) -> None:
        """Until it has reported, and nothing less."""
        end = time.monotonic() + PATIENCE
        while self._listening() and not self.reported.wait(0.05):
            if self.process.poll() is not None:
                self.reader.join()
                self._listening()
                raise AssertionError(f"the process ended by itself with {self.process.returncode}")
            assert time.monotonic() < end, "the process neither reports nor ends"

    def report(self) -> None:
        assert self.process.stdin is not None
        self.reported.clear()
        self.process.stdin.write(b"report\n")
        self.process.stdin.flush()
        self.wait()

    def strike(self, target: str, children: list[psutil.Process]) -> bool:
        """Whether there was somebody to kill."""
        if target == "main":
            self.process.kill()
            return True
        for child in children:
            with suppress(psutil.NoSuchProcess):
                child.kill()
        return bool(children)

    def children(self) -> list[psutil.Process]:
        with suppress(psutil.NoSuchProcess):
            return psutil.Process(self.process.pid).children()
        return []

    def end(self) -> int:
        """Let it end by itself, or collect what is left of it."""
        assert self.process.stdin is not None
        with suppress(BrokenPipeError):
            self.process.stdin.close()
        try:
            return self.process.wait(PATIENCE)
        finally:
            self.process.kill()
            self.process.wait()
            self.reader.join()
            assert self.process.stdout is not None
            self.process.stdout.close()


class Siege:
    def __init__(self, directory: Path, seed: str) -> None:
        self.directory = directory
        self.seed = seed
        self.oracle = Oracle()
        self.kills: Counter[str] = Counter()
        self.lives = 0
        self.life = self._start()

    def _start(self) -> Life:
        self.lives += 1
        return Life(self.directory, f"{self.seed}/{self.lives}", self.oracle)

    def endure(self, kill: Kill) -> None:
        if not kill.early:
            self.life.wait()
        self.life.listen(kill.pause)
        children = sorted(self.life.children(), key=lambda child: child.pid)
        children = children[-1:] if kill.newest else children
        struck = [self.life.strike(target, children) for target in kill.targets]
        self.kills[kill.kind if all(struck) else "nobody" if not any(struck) else "main"] += 1
        if "main" in kill.targets:
            self.life.end()
            self.life = self._start()
        else:
            self.life.wait()
            self.life.report()

    def finish(self) -> None:
        """The last look: everything caught up, an orderly end, and the same again after one more start."""
        self.life.wait()
        self.life.report()
        assert self.life.end() == 0, "the process did not end in order"
        self.life = self._start()
        self.life.wait()

    def summary(self) -> str:
        oracle = self.oracle
        return (
            f"seed {self.seed}: kills {dict(self.kills)} over {self.lives} lives; "
            f"acknowledged {dict(oracle.acknowledged)}; undecided at a kill {oracle.undecided}; "
            f"{oracle.reports} reports, slowest catch-up {oracle.slowest:.1f} s; "
            f"lost {len(oracle.lost)}, revived {len(oracle.revived)}, otherwise wrong {len(oracle.wrong)}"
        )


@pytest.mark.timeout(180 + 15 * KILLS)
def test_every_promise_survives_kill_minus_nine_at_random_moments(
    tmp_path: Path, tell: Callable[[str], None]
) -> None:
    siege = Siege(tmp_path, SEED)
    try:
        for number, kill in enumerate(plan(SEED, KILLS), 1):
            siege.endure(kill)
            assert not siege.oracle.broken, f"broken by kill {number}: {kill}"
        siege.finish()
        assert not siege.oracle.broken, "broken at the end"
    except AssertionError as problem:
        pytest.fail(f"{problem}\n{siege.summary()}\n" + "\n".join(siege.oracle.broken[:20]) + _tail(tmp_path))
    finally:
        siege.life.end()
    tell(siege.summary())
    moves = {"enroll", "erase", "rename", "merge", "search", "rebuild", "check", "tune", "undo"}
    assert KILLS < 20 or siege.oracle.acknowledged.keys() >= moves, siege.summary()


def _tail(directory: Path) -> str:
    return "\n…\n" + (directory / "driver.log").read_text()[-3000:]


ENROLLED = (
    {"ask": "enroll", "user": "a", "name": "A"},
    {"done": "enroll", "user": "a", "name": "A", "ids": [1]},
)
ERASED = ({"ask": "erase", "user": "a"}, {"done": "erase", "user": "a", "ids": [1]})
RENAMED = ({"ask": "rename", "user": "a", "name": "B"}, {"done": "rename", "user": "a", "name": "B"})
TWO = (
    *ENROLLED,
    {"ask": "enroll", "user": "b", "name": "B"},
    {"done": "enroll", "user": "b", "name": "B", "ids": [2]},
)
MERGED = (
    {"ask": "merge", "user": "a", "into": "b"},
    {"done": "merge", "user": "a", "into": "b", "name": "B", "ids": [3], "gone": [1]},
)
TUNED = ({"ask": "tune", "tuning": {"threshold": 0.5}}, {"done": "tune", "tuning": {"threshold": 0.5}})
SEARCH = {"ask": "search", "by": "s", "user": "a", "template": 1}
FOUND = {"done": "search", "by": "s", "strategy": "hybrid", "template": 1, "tiers": ["faiss"], "degraded": []}
SEARCH_MERGED = {**SEARCH, "user": "b", "template": 3}
FOUND_MERGED = {**FOUND, "template": 3}


def found(state: dict[str, Any], *, held: int | None = None, threshold: float = 0.5) -> dict[str, Any]:
    templates = sum(len(ids) for _, ids in state.values())
    tiers, left = {"faiss": [templates, 0, None]}, {"faiss": templates if held is None else held}
    well = {"settled": True, "seconds": 0.0, "missed": [], "tuning": {"threshold": threshold}}
    return {"state": state, "tiers": tiers, "held": left, **well}


def test_an_oracle_that_fails_is_heard_at_once(tmp_path: Path) -> None:
    class Deaf(Oracle):
        def read(self, line: Line) -> None:
            raise KeyError("seen")

    life = Life(tmp_path, "deaf", Deaf())
    try:
        with pytest.raises(AssertionError, match="cannot judge"):
            life.wait()
    finally:
        life.end()


@pytest.mark.parametrize(
    ("journal", "verdict"),
    [
        pytest.param((*ENROLLED, found({"a": ["A", [1]]})), "", id="kept"),
        pytest.param((*ENROLLED, found({})), "lost", id="enrollment lost"),
        pytest.param((*ENROLLED, ERASED[0], found({})), "", id="undecided erasure happened"),
        pytest.param((*ENROLLED, ERASED[0], found({"a": ["A", [1]]})), "", id="undecided erasure did not"),
        pytest.param((ENROLLED[0], found({"a": ["A", [1]]})), "", id="undecided enrollment happened"),
        pytest.param((*ENROLLED, *ERASED, found({"a": ["A", [1]]})), "revived", id="erasure undone"),
        pytest.param((*ENROLLED, *RENAMED, found({"a": ["A", [1]]})), "wrong", id="rename undone"),
        pytest.param((*ENROLLED, RENAMED[0], found({"a": ["B", [1]]})), "", id="undecided rename happened"),
        pytest.param((*ENROLLED, found({"a": ["A", [1]]}, held=0)), "wrong", id="tier differs"),
        pytest.param((*ENROLLED, *ERASED, SEARCH, {**FOUND, "seen": [1]}), "revived", id="ghost"),
        pytest.param((*ENROLLED, SEARCH, *ERASED, {**FOUND, "seen": [1]}), "", id="erased meanwhile"),
        pytest.param((*ENROLLED, SEARCH, {**FOUND, "seen": []}), "lost", id="not found"),
        pytest.param((*TWO, *MERGED, found({"b": ["B", [2, 3]]})), "", id="merged"),
        pytest.param((*TWO, MERGED[0], found({"b": ["B", [2, 3]]})), "", id="undecided merger happened"),
        pytest.param((*TWO, MERGED[0], found({"a": ["A", [1]], "b": ["B", [2]]})), "", id="or did not"),
        pytest.param(
            (*TWO, *MERGED, found({"a": ["A", [1]], "b": ["B", [2]]})), "lost revived", id="merger undone"
        ),
        pytest.param((*TWO, MERGED[0], found({"b": ["B", [2]]})), "lost", id="merger lost a template"),
        pytest.param((*TWO, MERGED[0], found({"a": ["A", [1]], "b": ["B", [2, 3]]})), "wrong", id="twice"),
        pytest.param((*TWO, *MERGED, SEARCH, {**FOUND, "seen": [1]}), "revived", id="old template"),
        pytest.param((*TWO, MERGED[0], SEARCH, MERGED[1], {**FOUND, "seen": []}), "", id="merged meanwhile"),
        pytest.param((*TWO, *MERGED, SEARCH_MERGED, {**FOUND_MERGED, "seen": [2]}), "", id="found as other"),
        pytest.param((*TWO, *MERGED, SEARCH_MERGED, {**FOUND_MERGED, "seen": []}), "lost", id="not as other"),
        pytest.param((found({}, threshold=0.4), *TUNED, found({})), "", id="tuned"),
        pytest.param((found({}, threshold=0.4), TUNED[0], found({})), "", id="undecided tuning happened"),
        pytest.param((*TUNED, found({}, threshold=0.4)), "lost", id="tuning undone"),
    ],
)
def test_the_oracle_tells_a_broken_promise(journal: tuple[dict[str, Any], ...], verdict: str) -> None:
    oracle = Oracle()
    for line in journal:
        oracle.read(line)
    kinds = {"lost": oracle.lost, "revived": oracle.revived, "wrong": oracle.wrong}
    assert [kind for kind, stories in kinds.items() if stories] == verdict.split()
