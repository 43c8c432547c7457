"""What Robi writes to its log: lines for people, or one JSON object a line for programs.

Nothing personal: messages hold no names, ids or biometric data, and libraries, whose words are not Robi's
(Pillow's debug lines quote what a photo says of its author), are heard from warnings on.
"""

from __future__ import annotations

import logging
import threading
import time
from collections import Counter
from collections.abc import Collection
from contextvars import ContextVar
from typing import TYPE_CHECKING

from core.telemetry import tracing

if TYPE_CHECKING:
    from core.config.settings import Settings

OWN = ("robi", "core", "api", "dashboard", "pages")
TEXT = "%(asctime)s %(levelname)s %(name)s: %(message)s"
SELDOM_S = 300.0  # between lines about an endpoint that takes no traces
SERVING = ("asyncio", "streamlit", "uvicorn", "websockets")  # say something about whatever a client sends

request_id: ContextVar[str | None] = ContextVar("request_id", default=None)
"""Of the request that is being worked for, in every thread that works for it alone."""


def configure(settings: Settings) -> None:
    """Send every record to standard error in the format of the settings. Call it once, before libraries
    that bring loggers of their own are imported."""
    handler = logging.StreamHandler()
    handler.addFilter(_is_heard)
    handler.addFilter(Seldom("opentelemetry", SELDOM_S))
    handler.addFilter(Unflooded(SERVING))
    in_json = settings.robi_log_format == "json"
    handler.setFormatter(json_formatter() if in_json else logging.Formatter(TEXT))
    logging.setLoggerClass(_Rooted)
    logging.captureWarnings(capture=True)
    threading.excepthook = _thread_ended
    logging.basicConfig(level=logging.WARNING, handlers=[handler])
    for name in OWN:
        logging.getLogger(name).setLevel(settings.robi_log_level)


def json_formatter() -> logging.Formatter:
    """timestamp (UTC), level, logger, message, request_id; with tracing trace_id; exception as one field; and
    what the record has of its own."""
    from pythonjsonlogger.json import JsonFormatter

    class Formatter(JsonFormatter):
        def format(self, record: logging.LogRecord) -> str:
            if not hasattr(record, "request_id"):
                record.request_id = request_id.get()
            if (trace_id := tracing.trace_id()) is not None:
                record.trace_id = trace_id
            return super().format(record)

    return Formatter(
        ["levelname", "name", "message", "request_id"],
        rename_fields={"levelname": "level", "name": "logger", "exc_info": "exception"},
        timestamp=True,
    )


def _is_heard(record: logging.LogRecord) -> bool:
    """Libraries set levels of their own, whatever the root's is."""
    return record.levelno >= logging.WARNING or record.name.partition(".")[0] in OWN


class Seldom(logging.Filter):
    """Lets one record of a library through in a while: what cannot be helped is said, not repeated."""

    def __init__(self, library: str, seconds: float) -> None:
        super().__init__(library)
        self._seconds = seconds
        self._again_at = 0.0

    def filter(self, record: logging.LogRecord) -> bool:
        if not super().filter(record):
            return True  # of somebody else
        if time.monotonic() < self._again_at:
            return False
        self._again_at = time.monotonic() + self._seconds
        return True


class Unflooded(logging.Filter):
    """Lets the same record of these libraries through a few times a minute: how often a client can make them
    say it is no measure of a log."""

    def __init__(self, libraries: Collection[str], times: int = 5, kinds: int = 100) -> None:
        super().__init__()
        self._libraries = libraries
        self._times = times
        self._kinds = kinds
        self._ends_at = 0.0
        self._counts: Counter[tuple[str, str, object]] = Counter()

    def filter(self, record: logging.LogRecord) -> bool:
        if record.name.partition(".")[0] not in self._libraries:
            return True
        if time.monotonic() >= self._ends_at:
            self._ends_at = time.monotonic() + 60.0
            self._counts.clear()
        what = str(record.msg).partition("\n")[0][:200]
        kind = (record.name, what, record.exc_info and record.exc_info[0])
        if kind not in self._counts and len(self._counts) >= self._kinds:
            return False
        self._counts[kind] += 1
        if self._counts[kind] == self._times:
            record.msg = f"{record.msg} (more of the same is left out for up to a minute)"
        return self._counts[kind] <= self._times


class _Rooted(logging.Logger):
    """A logger whose records go to the root's handler alone: Streamlit gives its loggers, and the server's,
    handlers that write in another form."""

    def handle(self, record: logging.LogRecord) -> None:
        if not self.disabled and self.filter(record):
            logging.getLogger().handle(record)


def _thread_ended(problem: threading.ExceptHookArgs) -> None:
    if problem.exc_type is SystemExit:  # a way to end, not a failure
        return
    exc_info = (problem.exc_type, problem.exc_value or problem.exc_type(), problem.exc_traceback)
    logging.getLogger("robi").error("a thread ended by an exception", exc_info=exc_info)
