"""The circuit breaker, on a clock of the test's own."""

from __future__ import annotations

import threading

from core.store.tiers.server.circuit import Circuit


class Clock:
    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


def circuit(clock: Clock) -> Circuit:
    return Circuit(threshold=3, wait=1.0, clock=clock)


def open_it(breaker: Circuit) -> None:
    while breaker.state == "closed":
        assert breaker.admit()
        breaker.failed()


def test_it_opens_after_failures_in_a_row_only() -> None:
    breaker = circuit(Clock())
    for outcome in (breaker.failed, breaker.failed, breaker.succeeded, breaker.failed, breaker.failed):
        assert breaker.admit()
        outcome()
    assert breaker.state == "closed"
    assert breaker.admit()
    breaker.failed()
    assert breaker.state == "open"
    assert breaker.info()["failures"] == 3
    assert not breaker.admit()


def test_one_probe_after_the_wait_decides() -> None:
    clock = Clock()
    breaker = circuit(clock)
    open_it(breaker)
    clock.now += 0.99
    assert not breaker.admit()
    clock.now += 0.02
    assert [breaker.admit() for _ in range(3)] == [True, False, False]
    assert breaker.state == "half-open"
    breaker.succeeded()
    assert breaker.state == "closed"
    assert breaker.info()["failures"] == 0


def test_the_wait_is_the_same_after_each_try_that_fails() -> None:
    clock = Clock()
    breaker = circuit(clock)
    open_it(breaker)
    for _ in range(10):
        clock.now += 0.99
        assert not breaker.admit()
        clock.now += 0.02
        assert breaker.admit()
        breaker.failed()


def test_one_call_that_hung_is_enough() -> None:
    breaker = circuit(Clock())
    assert breaker.admit()
    breaker.failed(hung=True)
    assert breaker.state == "open"
    assert not breaker.admit()


def test_calls_that_were_under_way_when_it_opened_do_not_prolong_the_wait() -> None:
    clock = Clock()
    breaker = circuit(clock)
    open_it(breaker)
    clock.now += 0.9
    breaker.failed()
    clock.now += 0.2
    assert breaker.admit()


def test_of_many_threads_one_is_the_probe() -> None:
    clock = Clock()
    breaker = circuit(clock)
    open_it(breaker)
    clock.now += 1.1
    admitted: list[bool] = []
    threads = [threading.Thread(target=lambda: admitted.append(breaker.admit())) for _ in range(16)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert admitted.count(True) == 1
