"""Results of other threads on the event loop, many with one wake-up."""

from __future__ import annotations

import asyncio
from collections import deque
from concurrent.futures import Future
from typing import Any, TypeVar

T = TypeVar("T")


class Completions:
    """`asyncio.wrap_future` wakes the loop for each result, through a socket: a thread with sixty answers to
    give loses the interpreter sixty times. Here all that is done by the time the loop wakes comes along."""

    def __init__(self) -> None:
        self._done: deque[tuple[asyncio.Future[Any], Future[Any]]] = deque()
        self._waking = False

    async def of(self, future: Future[T]) -> T:
        """The future's result, or what it raises. Cancelling the wait cancels the future."""
        loop = asyncio.get_running_loop()
        waiter: asyncio.Future[T] = loop.create_future()

        def done(finished: Future[T]) -> None:
            self._done.append((waiter, finished))
            if not self._waking:
                self._waking = True
                loop.call_soon_threadsafe(self._deliver)

        future.add_done_callback(done)
        try:
            return await waiter
        except asyncio.CancelledError:
            future.cancel()
            raise

    def _deliver(self) -> None:
        self._waking = False  # before looking: whoever comes later wakes the loop again
        while self._done:
            waiter, future = self._done.popleft()
            if waiter.done():
                continue
            if problem := future.exception():
                waiter.set_exception(problem)
            else:
                waiter.set_result(future.result())
