"""The process that is besieged: the real ledger and store under a random mix of work, told line by line.

Run as `python -m tests.chaos.siege_driver DIRECTORY SEED`. Every line of its output is one JSON object that
says what is about to be asked, or what was acknowledged, so that the reader knows exactly what was promised
at the moment this process is killed. It first reports what it found in the ledger and the tiers; a line
`report` on its input has it report again; the end of its input ends it.
"""

from __future__ import annotations

import json
import os
import random
import sys
import threading
import time
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np

from core.config.tuning import Tuning, tuned
from core.domain.errors import RobiError
from core.domain.faces import Embedding
from core.domain.search import Strategy
from core.domain.templates import NewTemplate, StoredTemplate
from core.ledger.ledger import Ledger
from core.services.tuning import Tuner
from core.store.hybrid import HybridVectorStore
from tests.unit.store.kit import DIMENSION, PACK, another_look, eventually, settings, unit

WRITERS = 3
SEARCHERS = 2
PEOPLE_EACH = 25  # few, so that the same people come and go all the time
SETTLE_SECONDS = 40.0
UNDO_EVERY = 3  # changes of the tuning, whoever made them
CHOICES = {  # of what is tuned; a gallery this small is scanned by these indexes or by none
    "strategy": list(Strategy),
    "index_type": ["auto", "Flat", "SQfp16", "RaBitQ"],
    "threshold": [0.35, 0.4, 0.45],
    "search_ef": [64, 128],
}


class Driver:
    """Writers own their people, so that what happened to one person has an order."""

    def __init__(self, directory: Path, seed: str) -> None:
        self.seed = seed
        self.ledger = Ledger.open(directory / "ledger.db", PACK)
        self.store = HybridVectorStore.open(settings(), self.ledger.feed, PACK, directory)
        self.tuner = Tuner.open(settings(), self.ledger, self.store)
        self.faces: dict[str, tuple[int, Embedding]] = {}  # somebody's newest template, to search for
        self.first: dict[str, Embedding] = {}  # what they were enrolled with
        self.calm = threading.Semaphore(WRITERS)  # whoever holds all of it has the ledger at rest
        self.resting = threading.Event()
        self.over = threading.Event()
        self.voice = threading.Lock()
        self.threads: list[threading.Thread] = []

    def tell(self, **line: Any) -> None:
        """All of the line or, when killed, a part without its end; never mixed with another."""
        with self.voice:
            os.write(1, json.dumps(line).encode() + b"\n")

    def start(self) -> None:
        self.threads += [
            threading.Thread(target=self.work, args=(self.write, f"w{n}")) for n in range(WRITERS)
        ]
        self.threads += [
            threading.Thread(target=self.work, args=(self.look, f"s{n}")) for n in range(SEARCHERS)
        ]
        for step in (self.tend, self.tune):
            self.threads.append(threading.Thread(target=self.work, args=(step, step.__name__)))
        for thread in self.threads:
            thread.start()

    def work(self, step: Any, name: str) -> None:
        dice = random.Random(f"{self.seed}/{name}")
        try:
            while not self.over.is_set():
                step(name, dice)
        except Exception as problem:  # noqa: BLE001  whatever it is, the besieger must hear of it
            self.tell(wrong=f"{name} failed: {type(problem).__name__}: {problem}")

    def close(self) -> None:
        self.over.set()
        for thread in self.threads:
            thread.join()
        self.store.close()
        self.ledger.close()

    # ------------------------------------------------------------ what is asked

    def write(self, name: str, dice: random.Random) -> None:
        if self.resting.is_set():
            time.sleep(0.005)  # a semaphore is not fair: without this the one who wants all of it starves
            return
        user = f"{name}-{dice.randrange(PEOPLE_EACH)}"
        action = dice.choices((self.enroll, self.rename, self.erase, self.merge), (4, 4, 5, 2))[0]
        with self.calm:
            (action if user in self.faces else self.enroll)(user, dice)

    def enroll(self, user: str, dice: random.Random) -> None:
        random, known = np.random.default_rng(dice.getrandbits(64)), user in self.faces
        if not known:
            self.first[user] = unit(random.standard_normal(DIMENSION))
        # What is added counts for those only whom it resembles.
        vector = another_look(random, self.first[user]) if known else self.first[user]
        name = f"Name {dice.getrandbits(32):08x}"
        self.tell(ask="enroll", user=user, name=name)
        new = [NewTemplate(vector, 1.0, "api")]
        enrollment = (
            self.ledger.people.add_templates(user, new)
            if known
            else self.ledger.people.enroll(user, name, new)
        )
        self.store.sync(enrollment.seq)
        ids = list(enrollment.template_ids)
        self.tell(done="enroll", user=user, name=enrollment.person.name, ids=ids)
        self.faces[user] = ids[-1], vector

    def rename(self, user: str, dice: random.Random) -> None:
        name = f"Name {dice.getrandbits(32):08x}"
        self.tell(ask="rename", user=user, name=name)
        self.ledger.people.update(user, name=name)
        self.tell(done="rename", user=user, name=name)

    def erase(self, user: str, dice: random.Random) -> None:
        del self.faces[user]
        self.tell(ask="erase", user=user)
        erasure = self.ledger.people.erase(user)
        self.store.sync(erasure.seq)
        self.tell(done="erase", user=user, ids=list(erasure.template_ids))

    def merge(self, user: str, dice: random.Random) -> None:
        mine = user.partition("-")[0]
        others = [other for other in list(self.faces) if other.startswith(f"{mine}-") and other != user]
        if not others:
            return
        into = dice.choice(sorted(others))
        vector = self.faces.pop(user)[1]
        self.tell(ask="merge", user=user, into=into)
        merger = self.ledger.people.merge(user, into)
        self.store.sync(merger.seq)
        ids, gone = list(merger.template_ids), list(merger.gone)
        self.tell(done="merge", user=user, into=into, name=merger.person.name, ids=ids, gone=gone)
        self.faces[into] = ids[-1], vector  # which is to be found under the other name from now on

    def look(self, name: str, dice: random.Random) -> None:
        known = list(self.faces.items())
        if not known:
            return
        user, (template, vector) = dice.choice(known)
        probe = another_look(np.random.default_rng(dice.getrandbits(64)), vector)
        strategy, k = dice.choice(list(Strategy)), dice.choice((1, 5, 20))
        self.tell(ask="search", by=name, user=user, template=template)
        try:
            result = self.store.search(probe, k=k, strategy=strategy)
        except RobiError as problem:
            self.tell(wrong=f"{strategy} refused a search: {problem.code}")
            return
        seen = [candidate.template_id for candidate in result.candidates]
        lists = {"tiers": result.tiers, "degraded": result.degraded}
        self.tell(done="search", by=name, strategy=strategy, template=template, seen=seen, **lists)

    def tend(self, _name: str, dice: random.Random) -> None:
        """What an operator asks for, while everything goes on.

        A rebuild of the cold tier is a new generation: kills strike its builder and the switch, too.
        """
        time.sleep(dice.uniform(0.0, 0.5))
        action = dice.choices((self.rebuild, self.check), (3, 1))[0]
        tier = dice.choices(("qdrant", "faiss"), (3, 1))[0]
        try:
            action(tier)
        except RobiError:
            return  # its child was killed: the present generation goes on, and there is another try

    def rebuild(self, tier: str) -> None:
        self.store.upkeep.rebuild(tier)
        self.tell(done="rebuild")

    def check(self, tier: str) -> None:
        drift = self.store.tiers[tier].projection.check()
        self.tell(done="check") if drift.ok else self.tell(wrong=f"{drift}")

    def tune(self, _name: str, dice: random.Random) -> None:
        """Change something while all goes on, or take the last change back."""
        time.sleep(dice.uniform(0.0, 0.2))
        if self.resting.is_set():
            return
        with self.calm:
            steps = self.ledger.tunings.latest(1)
            newest = steps[0].id if steps else 0
            if newest % UNDO_EVERY == UNDO_EVERY - 1:
                expected = tuned(Tuning.of(settings()), self.ledger.tunings.undoing(newest)[1])
                self.retune("undo", expected, lambda: self.tuner.undo(newest))
            else:
                name = dice.choice(sorted(CHOICES))
                present = self.tuner.now
                change = {name: dice.choice([c for c in CHOICES[name] if c != getattr(present, name)])}
                self.retune("tune", tuned(present, change), lambda: self.tuner.tune(change, "Siege."))

    def retune(self, what: str, expected: Tuning, change: Callable[[], object]) -> None:
        self.tell(ask=what, tuning=asdict(expected))
        change()
        self.tell(done=what, tuning=asdict(self.tuner.now))
        if self.store.rule().threshold != expected.threshold:
            self.tell(wrong=f"{what}: the store decides by {self.store.rule()}, not by {expected}")

    # ------------------------------------------------------------ what there is

    def report(self) -> None:
        """What the ledger and the tiers hold, with the ledger at rest and the tiers caught up."""
        self.resting.set()
        for _ in range(WRITERS):
            self.calm.acquire()
        started = time.monotonic()
        settled = eventually(self.settled, SETTLE_SECONDS)
        templates = self.everybody()
        ids = [t.template_id for each in templates.values() for t in each]
        self.tell(
            state={user: [each[0].name, [t.template_id for t in each]] for user, each in templates.items()},
            tuning=asdict(self.tuner.now),
            settled=settled,
            seconds=time.monotonic() - started,
            tiers={s.name: [s.templates, s.lag, s.error] for s in self.store.states()},
            held=dict(self.store.upkeep.left(ids)),
            missed=self.missed([t for each in templates.values() for t in each]),
        )
        self.faces = {user: (each[-1].template_id, each[-1].vector) for user, each in templates.items()}
        self.first = {user: each[0].vector for user, each in templates.items()}
        self.calm.release(WRITERS)
        self.resting.clear()

    def settled(self) -> bool:
        behind = self.store.sync(self.ledger.feed.head())
        return not behind and all(s.ok and not s.lag for s in self.store.states())

    def everybody(self) -> dict[str, tuple[StoredTemplate, ...]]:
        people = self.ledger.people.listing(limit=WRITERS * PEOPLE_EACH + 1).items
        return {person.user_id: self.ledger.people.templates(person.user_id) for person in people}

    def missed(self, templates: list[StoredTemplate]) -> list[str]:
        """Searches for a template that did not find that very template, by any strategy."""
        missed: list[str] = []
        for strategy in Strategy if templates else ():
            results = self.store.search_batch([t.vector for t in templates], strategy=strategy)
            found = [result.best.template_id if result.best else None for result in results]
            wanted = [t.template_id for t in templates]
            missed += [f"{strategy}: {w}, found {f}" for w, f in zip(wanted, found, strict=True) if w != f]
        return missed


def main(directory: Path, seed: str) -> None:
    driver = Driver(directory, seed)
    driver.report()
    driver.start()
    for line in sys.stdin:
        if line.strip() == "report":
            driver.report()
    driver.close()


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2])
