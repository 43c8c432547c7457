"""What was measured outlives the process, a full disk, and clocks that are wrong."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from dataclasses import fields
from pathlib import Path

import numpy as np
import pytest

from core.domain.errors import BadInput, Unavailable
from core.domain.faces import PackInfo
from core.ledger.history import HOUR, KEPT, MINUTE
from core.ledger.ledger import Ledger
from core.metrics import Metrics
from core.metrics.gauges import LAG, GaugeKey
from core.metrics.measured import Measured, to_json
from core.metrics.ranges import RANGES, Ranges
from core.metrics.recorder import WAITING, Recorder, merged
from tests.unit.metrics.test_metrics import Clock, result

START = 1_600_000_200  # a multiple of a minute, not of an hour
LAG_OF_QDRANT = GaugeKey(LAG, "qdrant")


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "ledger.db"


@pytest.fixture
def ledger(path: Path) -> Iterator[Ledger]:
    opened = Ledger.open(path, PackInfo("open", "ab" * 32, 4, "test"))
    yield opened
    opened.close()


class Process:
    """One run of Robi as far as measuring goes."""

    def __init__(self, ledger: Ledger, clock: Clock) -> None:
        self.clock = clock
        self.metrics = clock.metrics()
        self.gauges: dict[GaugeKey, float] = {}
        self.recorder = Recorder(ledger.history, self.metrics, lambda: self.gauges, lambda: clock.wall)
        self.ranges = Ranges(self.metrics, self.recorder, lambda: clock.wall)

    def search(self, count: int, ms: float = 2.0) -> None:
        for _ in range(count):
            self.metrics.searches([result(ms)])

    def minute(self, searches: int, ms: float = 2.0) -> None:
        self.search(searches, ms)
        self.clock.pass_(60.0)
        self.recorder.write()


@pytest.fixture
def process(ledger: Ledger) -> Process:
    return Process(ledger, Clock(wall=START))


def kept(ledger: Ledger, length: int = MINUTE) -> dict[int, int]:
    """Searches by the start of the row."""
    rows = ledger.history.read(length, 0, 1 << 40)
    return {start: sum(sum(c[1::2]) for c in row["strategies"].values()) for start, row in rows}


def test_minutes_and_their_hours_are_kept_and_agree(process: Process, ledger: Ledger):
    for number in range(1, 4):
        process.minute(number)
    assert kept(ledger) == {START: 1, START + 60: 2, START + 120: 3}
    for length in KEPT:
        assert sum(kept(ledger, length).values()) == 6
    assert kept(ledger, HOUR) == {START - START % HOUR: 6}


def test_a_restart_keeps_what_was_measured_also_the_last_seconds(process: Process, ledger: Ledger):
    process.minute(5)
    process.search(3)
    process.clock.pass_(12.0)
    process.recorder.close()
    again = Process(ledger, process.clock)
    again.recorder.recall()
    for name in ("15min", "1h", "7d"):
        assert again.ranges.of(name).window.searches == 8, name
    again.search(2)
    again.clock.pass_(60.0)
    again.recorder.write()
    assert {START: 5, START + 60: 5}.items() <= kept(ledger).items()  # the restart's minute has both
    for name in ("15min", "1h", "7d"):
        assert again.ranges.of(name).window.searches == 10, name


def test_no_line_is_drawn_across_the_time_that_robi_was_off(process: Process, ledger: Ledger):
    process.minute(5)
    process.recorder.close()
    process.clock.pass_(300.0)
    again = Process(ledger, process.clock)
    again.recorder.recall()
    again.search(1)
    again.clock.pass_(10.0)
    series = again.ranges.of("15min").series
    off = [t for t, rate in zip(series.t, series.searches_per_s, strict=True) if rate is None]
    assert off[-1] == pytest.approx(START + 120.0, abs=1.0)  # after the row of the minute that had begun
    assert len(series.seconds) == len(series.t) == len(series.p95_ms)


def test_a_search_is_in_every_range_at_once_and_never_twice(process: Process):
    for step in range(40):
        process.search(1)
        process.clock.pass_(7.0)
        if step % 9 == 0:
            process.recorder.write()
        for name in ("15min", "1h", "6h", "24h", "7d", "30d"):
            assert process.ranges.of(name).window.searches == step + 1, (name, step)


def test_percentiles_of_an_hour_are_those_of_all_its_searches(process: Process):
    random = np.random.default_rng(4)
    all_ms = []
    for _ in range(20):
        ms = random.lognormal(1.0, 1.0, 100)
        for value in ms:
            process.metrics.searches([result(float(value))])
        all_ms += list(ms)
        process.clock.pass_(60.0)
        process.recorder.write()
    found = process.ranges.of("7d").window.latency.by_strategy["hybrid"]
    for name, share in (("p50", 50), ("p95", 95), ("p99", 99)):
        assert getattr(found, name) == pytest.approx(np.percentile(all_ms, share), rel=0.0251)


# ---------------------------------------------------------------- clocks


def test_a_clock_set_back_adds_to_the_minutes_that_are_there(process: Process, ledger: Ledger):
    process.minute(4)
    process.minute(4)
    process.clock.wall -= 120.0
    process.minute(1)
    process.minute(1)
    assert kept(ledger) == {START: 5, START + 60: 5}
    assert process.ranges.of("1h").window.searches == 10
    assert process.ranges.of("1h").window.observed_s == pytest.approx(240.0)


def test_a_clock_years_ahead_deletes_nothing_and_is_forgotten_when_it_is_right_again(
    process: Process, ledger: Ledger
):
    process.minute(4)
    process.clock.wall += 3 * 365 * 86_400
    process.minute(2)
    process.clock.wall -= 3 * 365 * 86_400
    process.minute(1)
    assert {START: 4, START + 120: 1}.items() <= kept(ledger).items()
    assert process.ranges.of("24h").window.searches == 5


def test_many_rows_of_a_wrong_clock_do_not_crowd_out_those_of_the_right_one(ledger: Ledger):
    row = to_json(Measured(observed=60.0))
    ahead = {10**10 + n * MINUTE - 10**10 % MINUTE: row for n in range(KEPT[MINUTE] + 50)}
    ledger.history.add(ahead, merged, START)
    ledger.history.add({START: row}, merged, START)
    rows = kept(ledger)
    assert START in rows
    assert len(rows) == KEPT[MINUTE] + 1


@pytest.mark.parametrize("length", KEPT)
def test_rows_are_kept_as_long_as_their_range_needs(ledger: Ledger, length: int):
    row, first = to_json(Measured(observed=60.0)), START - START % length
    starts = [first + n * length for n in range(KEPT[length] + 10)]
    ledger.history.add(dict.fromkeys(starts, row), merged, max(starts))
    assert sorted(kept(ledger, length)) == starts[10:]
    longest = max(r.seconds for r in RANGES.values() if r.length == length)
    assert KEPT[length] * length > longest


# ---------------------------------------------------------------- trouble


def test_a_ledger_that_cannot_be_written_only_delays_and_shows_all_the_same(
    process: Process, ledger: Ledger, monkeypatch: pytest.MonkeyPatch
):
    def full(*_args: object) -> None:
        raise Unavailable("disk_full", "The disk is full.")

    with monkeypatch.context() as broken:
        broken.setattr(ledger.history, "add", full)
        process.minute(3)
        process.minute(4)
        assert kept(ledger) == {}
        assert process.ranges.of("24h").window.searches == 7
    process.minute(5)
    assert kept(ledger) == {START: 3, START + 60: 4, START + 120: 5}


def test_what_waits_is_bounded(process: Process, ledger: Ledger, monkeypatch: pytest.MonkeyPatch):
    def down(*_args: object) -> None:
        raise Unavailable("ledger_unavailable", "The ledger cannot be used.")

    monkeypatch.setattr(ledger.history, "add", down)
    for _ in range(WAITING + 20):
        process.minute(1)
    _version, waiting = process.recorder.waiting()
    assert len(waiting) == WAITING + 1, "and the minute that is being measured"


def test_a_row_that_nobody_can_read_is_left_out_and_written_over(process: Process, ledger: Ledger):
    for bad in ({"observed": "x"}, [], None, {"observed": 1, "faces": 0, "strategies": {"hybrid": [1]}}):
        ledger.history.add({START: bad}, lambda _old, new: new, START)
        assert process.recorder.read(MINUTE, START, START) == []
    process.minute(2)
    assert kept(ledger) == {START: 2}


def test_a_closed_ledger_gives_empty_ranges_and_no_exception(process: Process, ledger: Ledger):
    process.search(1)
    ledger.close()
    assert process.ranges.of("30d").window.searches == 1
    process.clock.pass_(5.0)
    assert process.recorder.write() is False
    process.recorder.close()


def test_gauges_that_cannot_be_looked_at_end_nothing(ledger: Ledger, caplog: pytest.LogCaptureFixture):
    def look() -> dict[GaugeKey, float]:
        raise KeyError("gone")

    recorder = Recorder(ledger.history, Metrics(), look)
    recorder.look()
    assert "looking at the gauges failed" in caplog.text


def test_gauges_are_means_with_their_peaks(process: Process):
    for lag in (0.0, 6.0):
        process.gauges = {LAG_OF_QDRANT: lag}
        process.recorder.look()
    process.clock.pass_(60.0)
    process.recorder.write()
    series = process.ranges.of("1h").series
    assert [v for v in series.gauges[LAG_OF_QDRANT] if v is not None] == [3.0]
    assert [v for v in series.peaks[LAG_OF_QDRANT] if v is not None] == [6.0]


def test_every_range_has_a_point_per_step(process: Process):
    for chosen in RANGES.values():
        series = process.ranges.of(chosen.name).series
        assert len(series.t) <= chosen.seconds // chosen.step
        columns = [getattr(series, field.name) for field in fields(series)]
        assert all(len(column) == len(series.t) for column in columns if isinstance(column, list))


def test_an_unknown_range_is_refused(process: Process):
    with pytest.raises(BadInput, match="no such range"):
        process.ranges.of("1 year")


def test_what_is_written_between_two_looks_is_not_missed(ledger: Ledger, monkeypatch: pytest.MonkeyPatch):
    process = Process(ledger, Clock())
    process.metrics.searches([result()])
    process.clock.pass_(60.0)
    read = process.recorder.read

    def written_meanwhile(length: int, since: int, until: int) -> list[tuple[int, Measured]]:
        rows = read(length, since, until)
        monkeypatch.undo()
        assert process.recorder.write()
        return rows

    monkeypatch.setattr(process.recorder, "read", written_meanwhile)
    assert process.ranges.of("24h").window.searches == 1


def test_reading_and_writing_at_once_counts_everything_once(ledger: Ledger):
    metrics = Metrics()
    recorder = Recorder(ledger.history, metrics, dict)
    ranges, stop = Ranges(metrics, recorder), threading.Event()

    def write() -> None:
        while not stop.is_set():
            recorder.write(unfinished=False)
            time.sleep(0.01)

    writing = threading.Thread(target=write)
    writing.start()
    for number in range(1, 60):
        metrics.searches([result()])
        assert ranges.of("24h").window.searches == number
    stop.set()
    writing.join()
