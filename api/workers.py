"""Bounded threads for what must not run on the event loop."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextvars import copy_context
from functools import partial
from typing import ParamSpec, TypeVar

from core.domain.errors import Busy

P = ParamSpec("P")
T = TypeVar("T")


class Workers:
    """A few threads and a few places to wait for them; whoever finds no place is told at once."""

    def __init__(self, name: str, *, threads: int, waiting: int) -> None:
        self._executor = ThreadPoolExecutor(threads, thread_name_prefix=name)
        self._places = threading.BoundedSemaphore(threads + waiting)

    async def run(self, call: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        """
        Raises:
            Busy: `busy`, besides whatever `call` raises.
        """
        if not self._places.acquire(blocking=False):
            raise Busy("busy", "Robi is busy: too many requests are waiting.", "Try again in a second.")
        context = copy_context()  # the request's id and trace go with it
        try:
            future = self._executor.submit(context.run, partial(call, *args, **kwargs))
        except BaseException:
            self._places.release()
            raise
        future.add_done_callback(lambda _: self._places.release())
        return await asyncio.wrap_future(future)

    def close(self) -> None:
        """Finish what runs, drop what waits."""
        self._executor.shutdown(wait=True, cancel_futures=True)
