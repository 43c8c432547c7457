from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor, wait

import numpy as np
import pytest

from core.domain.errors import Busy, Unavailable
from core.domain.search import Hit
from core.store.search.batching import Batcher, Load, ProbeBatch

PROBE = np.ones((1, 4), np.float32)


def echo(batch: ProbeBatch[int]) -> list[list[Hit]]:
    """Each probe's first number as the template id, as often as planned."""
    return [[Hit(int(row[0]), 1.0)] * batch.plan for row in batch.probes]


class Gate:
    """A search that waits until it is let through, so that requests pile up behind it."""

    def __init__(self) -> None:
        self.entered = threading.Event()
        self.open = threading.Event()

    def __call__(self, batch: ProbeBatch[int]) -> list[list[Hit]]:
        self.entered.set()
        assert self.open.wait(20)
        return echo(batch)


def test_what_queues_up_is_answered_in_one_batch() -> None:
    gate = Gate()
    batcher = Batcher("test", gate)
    first = batcher.submit(PROBE, 1)
    assert gate.entered.wait(20)
    futures = [batcher.submit(PROBE * n, 1) for n in range(16)]
    gate.open.set()
    wait([first, *futures], 20)
    batcher.close()
    assert [future.result()[0][0].template_id for future in futures] == list(range(16))
    assert batcher.load() == Load(queued=0, batches=2, rows=17)


def test_requests_of_different_plans_share_the_batch_but_not_the_run() -> None:
    gate, plans = Gate(), []

    def note(batch: ProbeBatch[int]) -> list[list[Hit]]:
        plans.append((batch.plan, len(batch.probes), len(batch.since)))
        return gate(batch)

    batcher = Batcher("test", note)
    batcher.submit(PROBE, 1)
    assert gate.entered.wait(20)
    few, many = batcher.submit(PROBE * 2, 2), batcher.submit(np.repeat(PROBE * 3, 3, axis=0), 5)
    again = batcher.submit(PROBE * 4, 2)
    gate.open.set()
    assert [len(hits) for hits in few.result(20)] == [2]
    assert [len(hits) for hits in many.result(20)] == [5, 5, 5]
    assert again.result(20)[0][0].template_id == 4
    batcher.close()
    assert plans == [(1, 1, 1), (2, 2, 2), (5, 3, 3)]


def test_one_plan_that_fails_leaves_the_others_of_its_batch_alone() -> None:
    gate = Gate()

    def refuse_two(batch: ProbeBatch[int]) -> list[list[Hit]]:
        if batch.plan == 2:
            raise Busy("busy", "Too much.")
        return gate(batch)

    batcher = Batcher("test", refuse_two)
    batcher.submit(PROBE, 1)
    assert gate.entered.wait(20)
    refused, answered = batcher.submit(PROBE, 2), batcher.submit(PROBE, 3)
    gate.open.set()
    with pytest.raises(Busy):
        refused.result(20)
    assert len(answered.result(20)[0]) == 3
    batcher.close()


def test_a_batch_is_closed_when_it_is_full_and_nothing_is_lost() -> None:
    sizes: list[int] = []

    def note(batch: ProbeBatch[int]) -> list[list[Hit]]:
        sizes.append(len(batch.probes))
        return echo(batch)

    batcher = Batcher("test", note, max_rows=8)
    futures = [batcher.submit(np.repeat(PROBE * n, 3, axis=0), 1) for n in range(50)]
    batcher.close()
    assert [future.result(20)[2][0].template_id for future in futures] == list(range(50))
    assert max(sizes) <= 9
    assert sum(sizes) == 150


def test_whoever_gave_up_waiting_costs_no_work() -> None:
    gate = Gate()
    batcher = Batcher("test", gate)
    first = batcher.submit(PROBE, 1)
    assert gate.entered.wait(20)
    gone, stays = batcher.submit(PROBE, 1), batcher.submit(PROBE * 7, 1)
    assert gone.cancel()
    gate.open.set()
    assert stays.result(20)[0][0].template_id == 7
    assert first.result(20)
    batcher.close()


def test_several_workers_run_as_many_batches_at_a_time() -> None:
    both = threading.Barrier(2)

    def meet(batch: ProbeBatch[int]) -> list[list[Hit]]:
        both.wait(20)
        return echo(batch)

    batcher = Batcher("test", meet, workers=2, max_rows=1)
    futures = [batcher.submit(PROBE * n, 1) for n in range(4)]
    assert [future.result(20)[0][0].template_id for future in futures] == list(range(4))
    batcher.close()


def test_a_full_queue_is_busy_and_recovers() -> None:
    gate = Gate()
    batcher = Batcher("test", gate, max_queued=4)
    batcher.submit(PROBE, 1)
    assert gate.entered.wait(20)
    waiting = [batcher.submit(PROBE, 1) for _ in range(4)]
    with pytest.raises(Busy):
        batcher.submit(PROBE, 1)
    gate.open.set()
    wait(waiting, 20)
    assert batcher.submit(PROBE, 1).result(20)
    batcher.close()


def test_a_failure_reaches_its_callers_and_the_worker_lives_on() -> None:
    def fail_on_zero(batch: ProbeBatch[int]) -> list[list[Hit]]:
        if batch.probes[0, 0] == 0:
            raise ValueError("unexpected")
        return echo(batch)

    batcher = Batcher("test", fail_on_zero)
    with pytest.raises(Unavailable):
        batcher.submit(PROBE * 0, 1).result(20)
    assert batcher.submit(PROBE, 1).result(20)
    batcher.close()


def test_closing_answers_what_is_queued_and_refuses_the_rest() -> None:
    batcher = Batcher("test", echo)
    future = batcher.submit(PROBE, 1)
    batcher.close()
    batcher.close()
    assert future.result(0)
    with pytest.raises(Unavailable):
        batcher.submit(PROBE, 1)


def test_an_idle_batcher_lets_the_caller_work_and_a_busy_one_does_not() -> None:
    threads: list[str] = []
    gate = Gate()

    def note(batch: ProbeBatch[int]) -> list[list[Hit]]:
        threads.append(threading.current_thread().name)
        return gate(batch)

    gate.open.set()
    batcher = Batcher("test", note)
    assert batcher.answer(PROBE * 3, 1)[0][0].template_id == 3
    gate.open.clear()
    gate.entered.clear()
    first = batcher.submit(PROBE, 1)
    assert gate.entered.wait(20)
    with ThreadPoolExecutor(1) as pool:
        second = pool.submit(batcher.answer, PROBE * 4, 1)
        gate.open.set()
        assert second.result(20)[0][0].template_id == 4
    wait([first], 20)
    batcher.close()
    assert threads == [threading.current_thread().name, "test-0", "test-0"]
    assert batcher.load().rows == 3
