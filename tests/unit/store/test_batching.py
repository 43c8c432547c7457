from __future__ import annotations

import threading
from concurrent.futures import wait

import numpy as np
import pytest

from core.errors import Busy, Unavailable
from core.store.batching import Answer, Batcher
from core.types import Embeddings, Hit

PROBE = np.ones((1, 4), np.float32)


def echo(probes: Embeddings, limit: int) -> Answer:
    """Each probe's first number as the template id, `limit` times."""
    return [[Hit(int(row[0]), 1.0)] * limit for row in probes]


class Gate:
    """A search that waits until it is let through, so that requests pile up behind it."""

    def __init__(self) -> None:
        self.entered = threading.Event()
        self.open = threading.Event()

    def __call__(self, probes: Embeddings, limit: int) -> Answer:
        self.entered.set()
        assert self.open.wait(20)
        return echo(probes, limit)


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
    assert (batcher.batches, batcher.rows) == (2, 17)


def test_each_request_gets_its_own_limit_and_rows() -> None:
    gate = Gate()
    batcher = Batcher("test", gate)
    batcher.submit(PROBE, 1)
    assert gate.entered.wait(20)
    few, many = batcher.submit(PROBE * 2, 2), batcher.submit(np.repeat(PROBE * 3, 3, axis=0), 5)
    gate.open.set()
    assert [len(hits) for hits in few.result(20)] == [2]
    assert [len(hits) for hits in many.result(20)] == [5, 5, 5]
    batcher.close()


def test_a_batch_is_never_larger_than_allowed_and_nothing_is_lost() -> None:
    sizes: list[int] = []

    def note(probes: Embeddings, limit: int) -> Answer:
        sizes.append(len(probes))
        return echo(probes, limit)

    batcher = Batcher("test", note, max_rows=8)
    futures = [batcher.submit(np.repeat(PROBE * n, 3, axis=0), 1) for n in range(50)]
    batcher.close()
    assert [future.result(20)[2][0].template_id for future in futures] == list(range(50))
    assert max(sizes) <= 8
    assert sum(sizes) == 150


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
    def fail_on_zero(probes: Embeddings, limit: int) -> Answer:
        if probes[0, 0] == 0:
            raise ValueError("unexpected")
        return echo(probes, limit)

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


def test_an_idle_batcher_lets_the_caller_search_and_a_busy_one_does_not() -> None:
    threads: list[str] = []
    gate = Gate()

    def note(probes: Embeddings, limit: int) -> Answer:
        threads.append(threading.current_thread().name)
        return gate(probes, limit)

    gate.open.set()
    batcher = Batcher("test", note)
    assert batcher.submit(PROBE, 1, inline=True).done()
    gate.open.clear()
    gate.entered.clear()
    first = batcher.submit(PROBE, 1)
    assert gate.entered.wait(20)
    second = batcher.submit(PROBE, 1, inline=True)
    assert not second.done()
    gate.open.set()
    wait([first, second], 20)
    batcher.close()
    assert threads == [threading.current_thread().name, "test-search", "test-search"]
