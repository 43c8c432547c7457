"""What a child process is asked, and what becomes of one that does not answer."""

from __future__ import annotations

import logging
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import psutil
import pytest

from core.runtime.child_process import ChildGone, ChildProcess

LOG = logging.getLogger("robi.test")


@pytest.fixture
def child() -> Iterator[ChildProcess]:
    started = ChildProcess("tests.unit.runtime.echo", log=LOG, called="echo")
    yield started
    started.kill()


def alive(child: ChildProcess) -> bool:
    return Path(f"/proc/{child.pid}").exists()


def test_messages_of_any_size_come_back(child: ChildProcess) -> None:
    rows = np.arange(2_000_000, dtype=np.float32)
    child.post("echo", 7, {"a": None}, rows[:3], seconds=10.0)
    status, (number, mapping, few) = child.take(10.0)
    assert (status, number, mapping, few.tolist()) == ("ok", 7, {"a": None}, [0.0, 1.0, 2.0])
    child.post("echo", rows, seconds=10.0)
    assert np.array_equal(child.take(10.0)[1][0], rows)


def test_one_that_is_silent_is_given_up_after_its_deadline(child: ChildProcess) -> None:
    child.post("silent", seconds=10.0)
    with pytest.raises(ChildGone, match=r"no answer within 0\.2 s") as gone:
        child.take(0.2)
    assert gone.value.silent
    assert not alive(child)


def test_one_that_has_ended_is_gone_for_whoever_asks(child: ChildProcess) -> None:
    child.post("end", seconds=10.0)
    assert child.answers_within(10.0), "there is its end to be read"
    with pytest.raises(ChildGone, match="it ended") as gone:
        child.take(10.0)
    assert not gone.value.silent
    with pytest.raises(ChildGone):
        child.post("echo", seconds=10.0)


def test_it_ends_when_it_is_hung_up_on(child: ChildProcess) -> None:
    child.end(10.0)
    assert not alive(child)
    child.end(10.0)


def test_what_it_complains_of_is_in_the_log(child: ChildProcess, caplog: pytest.LogCaptureFixture) -> None:
    child.post("complain", "no", "memory", seconds=10.0)
    child.end(10.0)
    assert "echo: no memory" in caplog.messages


def test_one_that_cannot_be_started_leaves_nothing_open(monkeypatch: pytest.MonkeyPatch) -> None:
    before = psutil.Process().num_fds()
    monkeypatch.setattr(sys, "executable", "/no/such/interpreter")
    with pytest.raises(OSError, match="No such file"):
        ChildProcess("tests.unit.runtime.echo", log=LOG, called="echo")
    assert psutil.Process().num_fds() == before
