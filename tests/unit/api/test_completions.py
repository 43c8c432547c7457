"""Results of another thread reach whoever awaits them, each its own, and none is lost."""

from __future__ import annotations

import asyncio
import threading
from concurrent.futures import Future

import pytest

from api.completions import Completions
from core.domain.errors import Busy


def test_each_waiter_gets_its_own_result_or_error() -> None:
    async def main() -> list[object]:
        completions = Completions()
        futures: list[Future[int]] = [Future() for _ in range(500)]

        def finish() -> None:
            for number, future in enumerate(futures):
                if number % 100 == 7:
                    future.set_exception(Busy("busy", "Too much."))
                else:
                    future.set_result(number)

        waiting = [asyncio.ensure_future(completions.of(future)) for future in futures]
        await asyncio.sleep(0)
        threading.Thread(target=finish).start()
        return await asyncio.wait_for(asyncio.gather(*waiting, return_exceptions=True), 20)

    found = asyncio.run(main())
    assert [r for n, r in enumerate(found) if n % 100 != 7] == [n for n in range(500) if n % 100 != 7]
    assert all(isinstance(r, Busy) for n, r in enumerate(found) if n % 100 == 7)


def test_a_result_that_was_there_before_is_given() -> None:
    done: Future[int] = Future()
    done.set_result(3)
    assert asyncio.run(Completions().of(done)) == 3


def test_giving_up_cancels_what_has_not_begun() -> None:
    async def main() -> Future[int]:
        never: Future[int] = Future()
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(Completions().of(never), 0.01)
        return never

    assert asyncio.run(main()).cancelled()
