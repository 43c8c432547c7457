"""What is in Robi's log, and what never is."""

from __future__ import annotations

import json
import logging
import re
import subprocess
import sys
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from io import StringIO

import pytest

from core.domain.errors import RobiError
from core.services.service import RobiService
from core.telemetry import logs


@pytest.fixture
def written() -> Iterator[StringIO]:
    """All that Robi's loggers and those of libraries write as JSON, at their most talkative."""
    out = StringIO()
    handler = logging.StreamHandler(out)
    handler.setFormatter(logs.json_formatter())
    root = logging.getLogger()
    before = root.level
    root.addHandler(handler)
    root.setLevel(logging.WARNING)
    own = [logging.getLogger(name) for name in logs.OWN]
    levels = [logger.level for logger in own]
    for logger in own:
        logger.setLevel(logging.DEBUG)
    yield out
    for logger, level in zip(own, levels, strict=True):
        logger.setLevel(level)
    root.setLevel(before)
    root.removeHandler(handler)


def lines(out: StringIO) -> list[dict]:
    return [json.loads(line) for line in out.getvalue().splitlines()]


def test_a_line_has_the_same_fields_whoever_writes_it(written):
    logging.getLogger("robi.store").info("holds %d templates", 3)
    token = logs.request_id.set("req-00000001")
    logging.getLogger("robi.api.access").info("done", extra={"route": "/users", "status": 200, "ms": 1.5})
    logs.request_id.reset(token)
    first, second = lines(written)
    at = datetime.fromisoformat(first.pop("timestamp"))
    assert at.utcoffset() == timedelta(0)
    assert abs(datetime.now(UTC) - at) < timedelta(minutes=5)
    assert first == {
        "level": "INFO",
        "logger": "robi.store",
        "message": "holds 3 templates",
        "request_id": None,
    }
    assert second["request_id"] == "req-00000001"
    assert {"route": "/users", "status": 200, "ms": 1.5}.items() <= second.items()
    assert "trace_id" not in second


def test_an_exception_is_one_field_of_one_line(written):
    try:
        int("two\nlines")
    except ValueError:
        logging.getLogger("robi").exception("it failed")
    (line,) = lines(written)
    assert line["message"] == "it failed"
    assert line["exception"].startswith("Traceback")
    assert "\nValueError: " in line["exception"]
    assert "exc_info" not in line


def test_enrolling_verifying_failing_and_erasing_leave_nothing_personal(
    written, service: RobiService, photos
):
    service.enrollment.enroll("zq-secret-id", "Zq Secretname", [("zq-photo.png", photos["hanks"])])
    embedding = service.ledger.people.templates("zq-secret-id")[0].vector
    for strategy in ("hybrid", "faiss_first", "qdrant_only"):
        service.recognition.verify(photos["hanks"], strategy=strategy)
        service.matching.search(embedding, strategy=strategy)
    service.recognition.verify(photos["hanks"], user_id="zq-secret-id")
    with pytest.raises(RobiError):
        service.enrollment.enroll("zq-other-id", "Zq Othername", [("zq-photo.png", photos["hanks"])])
    with pytest.raises(RobiError):
        service.enrollment.enroll("zq-secret-id", "Zq Secretname", [("zq-photo.png", b"GIF89a")])
    service.store.upkeep.check_drift()
    service.erasures.erase("zq-secret-id")
    text = written.getvalue()
    assert len(lines(written)) > 5
    assert "zq" not in text.lower()
    assert "secret" not in text.lower()
    numbers = {f"{abs(float(value)):.4f}" for value in embedding if abs(value) > 1e-3}
    assert not numbers & {found[:6] for found in re.findall(r"0\.\d{4,}", text)}


STARTED = """
import logging, sys, threading, warnings
from core.telemetry import logs
from core.config.settings import Settings
logs.configure(Settings(_env_file=None, robi_log_format=sys.argv[1], robi_log_level="DEBUG"))
from streamlit.logger import get_logger
get_logger("streamlit.runtime").warning("from streamlit")
get_logger("uvicorn.error").info("Zq Secretname connected")
logging.getLogger("PIL.TiffImagePlugin").debug("tag: Artist value: Zq Secretname")
logging.getLogger("robi.store").debug("from robi")
warnings.warn("from a library", stacklevel=1)
for target in (lambda: 1 / 0, sys.exit):
    ending = threading.Thread(target=target)
    ending.start()
    ending.join()
"""


@pytest.mark.parametrize("form", ["json", "text"])
def test_every_line_of_a_process_has_the_chosen_form(form: str):
    done = subprocess.run([sys.executable, "-c", STARTED, form], capture_output=True, text=True, check=True)
    assert "Secretname" not in done.stderr
    if form == "text":
        assert re.search(r"^\d{4}-\d\d-\d\d .* DEBUG robi.store: from robi$", done.stderr, re.MULTILINE)
        return
    found = [json.loads(line) for line in done.stderr.splitlines()]
    messages = [line["message"] for line in found]
    assert messages[:2] == ["from streamlit", "from robi"]
    assert "from a library" in messages[2]
    assert "ZeroDivisionError" in found[3]["exception"]
    assert len(found) == 4


def test_a_library_that_repeats_itself_is_heard_once_in_a_while():
    seldom = logs.Seldom("noisy", 60.0)
    record = logging.LogRecord("noisy.part", logging.WARNING, "", 0, "again", (), None)
    other = logging.LogRecord("robi", logging.WARNING, "", 0, "again", (), None)
    assert [seldom.filter(record) for _ in range(3)] == [True, False, False]
    assert [seldom.filter(other) for _ in range(3)] == [True, True, True]


def test_what_a_client_makes_a_library_say_does_not_flood_the_log():
    unflooded = logs.Unflooded(("asyncio",), times=3, kinds=4)

    def heard(name: str, message: str) -> int:
        records = [logging.LogRecord(name, logging.ERROR, "", 0, message, (), None) for _ in range(1000)]
        return sum(map(unflooded.filter, records))

    assert heard("asyncio", "accept() failed\nsocket: 7") == 3
    assert heard("asyncio", "accept() failed\nsocket: 8") == 0
    assert heard("asyncio", "something else") == 3
    assert heard("robi.api", "of Robi itself") == 1000
    assert sum(heard("asyncio", f"from port {port}") for port in range(50)) == 2 * 3
