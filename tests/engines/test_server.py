"""One real Qdrant server that goes away and comes back: nobody waits for it, and it is soon in step again."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.chaos.seed import SEED
from tests.engines.conftest import Tell
from tests.engines.servers import Server, one_server
from tests.engines.siege import Siege

pytestmark = [pytest.mark.engines, pytest.mark.timeout(180)]

BACK_SECONDS = 2.0  # from the server's first answer
DEADLINE = 3.0  # of one call; the first search of a server that hangs costs it


@pytest.fixture
def server_and_siege(tmp_path: Path) -> Iterator[tuple[Server, Siege]]:
    with one_server(tmp_path / "qdrant") as (server, to):
        besieged = Siege(tmp_path, int(SEED), **to)
        try:
            besieged.in_step()
            for _ in range(50):
                besieged.write()
            yield server, besieged
        finally:
            besieged.close()


@pytest.mark.parametrize("absence", [2.0, 20.0])
@pytest.mark.parametrize("fault", ["killed", "hung", "emptied"])
def test_an_absence(server_and_siege: tuple[Server, Siege], tell: Tell, fault: str, absence: float) -> None:
    server, siege = server_and_siege
    with siege.going_on():
        time.sleep(1.0)
        {"killed": server.kill, "hung": server.hang, "emptied": server.empty}[fault]()
        time.sleep(absence)
        server.bring_back()
        server.ready()
        answering = time.monotonic()
        while not siege.state().ok:
            assert time.monotonic() - answering < 10 * BACK_SECONDS, siege.state()
            time.sleep(0.01)
        back = time.monotonic() - answering
        time.sleep(1.0)
    siege.in_step()
    siege.audit()
    tell(f"one server, {fault} for {absence:.0f} s: {siege.figures}; in step {back:.2f} s after it answered")
    assert not siege.figures.lost
    assert not siege.figures.risen
    assert siege.figures.slowest < DEADLINE + 1.0
    assert back < BACK_SECONDS + 0.5, "with half a second for a busy machine"
