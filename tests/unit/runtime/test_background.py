"""One piece of work at a time: how far it is, how it ends, and that nothing of it stays."""

from __future__ import annotations

import gc
import threading
from collections.abc import Iterator

import pytest

from core.domain.errors import BadInput, Busy, RobiError, Unavailable
from core.runtime import background as module
from core.runtime.background import Background, Cancelled


class Made:
    """What some work makes."""


@pytest.fixture
def background() -> Iterator[Background]:
    made = Background("trial")
    yield made
    made.close()


def test_what_came_out_is_in_the_future_and_lives_no_longer(background: Background) -> None:
    ending = background.start(Made)
    assert isinstance(ending.result(10), Made)
    assert background.progress() is None
    assert background.problem() is None
    del ending
    gc.collect()
    assert not [one for one in gc.get_objects() if isinstance(one, Made)]


def test_one_at_a_time_says_how_far_it_is_and_ends_when_it_is_cancelled(background: Background) -> None:
    told = threading.Event()

    def work() -> None:
        background.tell(0.5, "Counting")
        told.set()
        assert background.wait(30)
        raise Cancelled()

    ending = background.start(work)
    assert told.wait(10)
    now = background.progress()
    assert (now.share, now.doing) == (0.5, "Counting")
    assert now.eta_s is not None
    with pytest.raises(Busy):
        background.start(Made)
    background.cancel()
    assert isinstance(ending.exception(10), Cancelled)
    assert background.problem().code == "cancelled"
    assert isinstance(background.start(Made).result(10), Made), "an old wish to stop does not stop the next"
    assert background.problem() is None


def test_who_waits_for_the_end_of_what_was_cancelled_is_told_so(background: Background) -> None:
    go_on = threading.Event()
    ending = background.start(lambda: go_on.wait(30))
    background.cancel()
    assert background.progress().doing == "Ending"
    assert background.progress().eta_s is None
    go_on.set()
    assert ending.result(10), "what was finished all the same is the work's own affair"


@pytest.mark.parametrize(
    ("raised", "code"),
    [
        (BadInput("bad_parameter", "No."), "bad_parameter"),
        (MemoryError(), "not_enough_memory"),
        (ZeroDivisionError(), "internal_error"),
    ],
)
def test_every_failure_is_a_sentence_that_holds_nothing_of_the_work(
    background: Background, monkeypatch: pytest.MonkeyPatch, raised: Exception, code: str
) -> None:
    def work() -> None:
        held = Made()
        raise raised from KeyError(held)

    monkeypatch.setattr(module.logger, "disabled", True)  # the test runner keeps what is logged
    problem = background.start(work).exception(10)
    assert isinstance(problem, RobiError)
    assert problem.code == code
    assert background.problem() is problem
    raised.__traceback__ = raised.__cause__ = None
    gc.collect()
    assert not [one for one in gc.get_objects() if isinstance(one, Made)]


def test_closing_ends_what_runs_and_nothing_starts_after(background: Background) -> None:
    ending = background.start(lambda: background.wait(30))
    background.close()
    assert ending.done()
    background.close()
    with pytest.raises(Unavailable):
        background.start(Made)


def test_without_a_thread_to_spare_it_says_so_and_can_be_started_later(
    background: Background, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refused(_: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    with monkeypatch.context() as patched:
        patched.setattr(threading.Thread, "start", refused)
        with pytest.raises(Unavailable) as problem:
            background.start(Made)
    assert problem.value.code == "not_enough_memory"
    assert background.progress() is None
    assert isinstance(background.start(Made).result(10), Made)
