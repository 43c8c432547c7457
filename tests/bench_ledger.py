"""Enrolling, erasing and the join of a search on SQLite and on a PostgreSQL of its own, in one run.

`python -m tests.bench_ledger [--people 20000]`. Both sync every commit to the disk.
"""

from __future__ import annotations

import argparse
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from datetime import UTC, datetime
from pathlib import Path

import numpy as np

from core.domain.faces import PackInfo
from core.domain.templates import NewTemplate
from core.ledger.ledger import Ledger
from core.ledger.opening import Place
from core.ledger.sql import people as register
from core.ledger.sql import templates
from tests.postgres_server import PostgresServer, installed

DIMENSION = 512
CANDIDATES = 20  # templates that a search joins
PACK = PackInfo("open", "ab" * 32, DIMENSION, "")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--people", type=int, default=20_000)
    people = parser.parse_args().people
    with tempfile.TemporaryDirectory() as folder:
        show("SQLite", Path(folder) / "ledger.db", people)
    with server() as running:
        show("PostgreSQL", running.database(), people)


@contextmanager
def server() -> Iterator[PostgresServer]:
    programs = installed()
    if programs is None:
        raise SystemExit("PostgreSQL is not installed (Debian: apt-get install postgresql)")
    running = PostgresServer(programs, fsync="on")
    try:
        yield running
    finally:
        running.remove()


def show(name: str, place: Place, people: int) -> None:
    random = np.random.default_rng(7)
    with closing(Ledger.open(place, PACK)) as ledger:
        with ledger.database.write() as connection:  # at once: what is measured comes after
            at = datetime.now(UTC)
            for number in range(people):
                row = register.add(connection, f"p{number}", f"Person {number}", {}, at)
                templates.add(connection, row, new(random, 1), at)
        ids = np.arange(1, people + 1)
        chosen = [random.choice(ids, CANDIDATES, replace=False).tolist() for _ in range(400)]
        report(f"{name}: enroll two photos", enrolling(ledger, random))
        report(f"{name}: erase", [timed(lambda n=n: ledger.people.erase(f"new-{n}")) for n in range(200)])
        report(f"{name}: join, read", [reading(ledger, wanted) for wanted in chosen])
        for wanted in chosen:
            ledger.feed.resolve(wanted)
        report(f"{name}: join, remembered", [timed(lambda w=w: ledger.feed.resolve(w)) for w in chosen])
        began = time.perf_counter()
        hot = ledger.feed.hot_set(people)
        print(f"{name}: hot set of {hot.count:,} templates {1e3 * (time.perf_counter() - began):.0f} ms")


def new(random: np.random.Generator, count: int) -> list[NewTemplate]:
    rows = random.standard_normal((count, DIMENSION)).astype(np.float32)
    return [NewTemplate(row / np.linalg.norm(row), 0.9, "api") for row in rows]


def enrolling(ledger: Ledger, random: np.random.Generator) -> list[float]:
    return [
        timed(lambda n=n, two=two: ledger.people.enroll(f"new-{n}", "New", two))
        for n, two in ((n, new(random, 2)) for n in range(200))
    ]


def reading(ledger: Ledger, wanted: list[int]) -> float:
    """As after a commit: what is remembered is void."""

    def read() -> None:
        with ledger.database.read() as connection:
            templates.by_id(connection, wanted)

    return timed(read)


def timed(work: Callable[[], object]) -> float:
    began = time.perf_counter()
    work()
    return 1e3 * (time.perf_counter() - began)


def report(what: str, milliseconds: list[float]) -> None:
    p50, p95 = statistics.median(milliseconds), statistics.quantiles(milliseconds, n=20)[-1]
    print(f"{what:<34} p50 {p50:7.3f} ms   p95 {p95:7.3f} ms", flush=True)


if __name__ == "__main__":
    main()
