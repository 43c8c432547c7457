"""Full disks, torn logs, a server that is gone for long, a clock that is set: named, and nothing is lost."""

from __future__ import annotations

import json
import os
import random
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from core.config.settings import Settings
from core.domain.errors import RobiError
from core.domain.templates import NewTemplate
from core.faces.engine import FaceEngine
from core.ledger.ledger import Ledger
from tests.chaos.seed import SEED
from tests.chaos.world import World
from tests.qdrant_double import QdrantDouble

pytestmark = [pytest.mark.chaos, pytest.mark.timeout(300)]

ROOT = Path(__file__).resolve().parents[2]
Tell = Callable[[str], None]
MakeWorld = Callable[..., World]


@pytest.fixture
def dice(request: pytest.FixtureRequest) -> random.Random:
    return random.Random(f"{SEED}/{request.node.name}")


@pytest.fixture(autouse=True)
def impatience(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("core.store.sync.follower.FIRST_BACKOFF", 0.02)
    monkeypatch.setattr("core.store.sync.follower.MAX_BACKOFF", 0.2)
    monkeypatch.setattr("core.store.tiers.edge.engine.RESTART_WINDOW", 1.0)


@pytest.fixture
def make_world(engine: FaceEngine, tmp_path: Path) -> Iterator[MakeWorld]:
    made: list[World] = []

    def make(directory: Path = tmp_path, **values: object) -> World:
        values = {"qdrant_url": "", "use_gpu": "false", **values}
        made.append(World(Settings(_env_file=None, robi_data_dir=directory, **values), engine, seed=SEED))
        return made[-1]

    yield make
    for world in made:
        world.close()


def a_morning(world: World) -> None:
    for number in range(6):
        world.enroll(number, 2)
    world.rename(2, "Another name")
    world.erase(3)
    world.look_for(0, 3)


def assert_kept(world: World) -> None:
    world.settle()
    assert not world.broken, f"ROBI_CHAOS_SEED={SEED}\n" + "\n".join(world.broken)


def troubled(world: World) -> set[str]:
    """The components that health names, with what kind of trouble."""
    found = world.look_at_health()
    assert found is not None, world.broken
    return {c.name for c in found.components if c.status not in ("ok", "off")}


# ------------------------------------------------------------ a full disk


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    place = tmp_path / "disk"
    place.mkdir()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=256m", "none", str(place)], capture_output=True, check=False
    )
    if mounted.returncode:
        pytest.skip("a small disk cannot be mounted here: that takes root")
    yield place
    subprocess.run(["umount", "--lazy", str(place)], check=True)


def fill(disk: Path) -> None:
    with (disk / "filler").open("ab", buffering=0) as file:
        for size in (1 << 20, 1 << 12, 1):
            try:
                while file.write(bytes(size)) == size:
                    pass
            except OSError:
                continue


def test_a_full_disk(make_world: MakeWorld, small_disk: Path, tell: Tell) -> None:
    world = make_world(small_disk)
    world.open()
    a_morning(world)
    fill(small_disk)
    world.ballast = bytes(200_000)
    for number in range(8, 20):
        world.enroll(number, 2)
    assert world.refused, "there was room after all"
    refused = world.refused
    assert "ledger" in troubled(world)
    world.look_for(0, 1, 3)
    world.erase(1)
    assert "p1" not in world.people, "erasing is possible on a full disk"
    world.look_for(1)
    assert not world.broken, world.broken
    (small_disk / "filler").unlink()
    assert_kept(world)
    fill(small_disk)
    world.close()
    try:
        world.open()
        assert troubled(world)
        world.look_for(0, 1)
    except RobiError as problem:
        assert problem.code in ("disk_full", "ledger_unavailable")  # noqa: PT017  either way is named
    (small_disk / "filler").unlink()
    if not world.is_open:
        world.open()
    world.ballast = None
    world.enroll(20, 2)
    assert_kept(world)
    tell(f"full disk: {refused} writes refused, {world.acknowledged} acknowledged, nothing lost")


# ------------------------------------------------------------ torn logs

TEARS = 12


def test_the_torn_log_of_the_edge_engine(
    make_world: MakeWorld, tmp_path: Path, dice: random.Random, tell: Tell
) -> None:
    """The log as a crash of the machine leaves it: its end cut off, empty, or overwritten."""
    world = make_world()
    world.open()
    a_morning(world)
    edge, crashed = tmp_path / "qdrant", tmp_path / "crashed"
    outcomes: dict[str, int] = {}
    for number in range(TEARS):
        world.enroll(dice.randrange(6, 20))
        world.erase(dice.randrange(20))
        shutil.copytree(edge, crashed)  # as the files are while it runs: nothing was flushed or closed
        world.enroll(dice.randrange(6, 20))
        world.close()
        shutil.rmtree(edge)
        crashed.rename(edge)
        how = dice.choice(("cut", "emptied", "overwritten"))
        tear(dice.choice(list(edge.glob("*/gen-*/wal/open-*"))), how, dice)
        world.open()
        world.settle()
        assert not world.broken, f"tear {number}, {how}; ROBI_CHAOS_SEED={SEED}\n" + "\n".join(world.broken)
        outcomes[how] = outcomes.get(how, 0) + 1
    tell(f"torn log of the Edge engine: {outcomes}, each time equal to the ledger again")


def tear(log: Path, how: str, dice: random.Random) -> None:
    content = bytearray(log.read_bytes())
    end = len(content.rstrip(b"\0"))
    start = max(0, end - dice.randrange(1, 3000))
    if how == "cut":
        content = content[:start]
    elif how == "emptied":
        content[start:end] = bytes(end - start)
    else:
        content[start:end] = dice.randbytes(end - start)
    log.write_bytes(content)


def test_the_torn_log_of_the_ledger(
    engine: FaceEngine, make_world: MakeWorld, tmp_path: Path, dice: random.Random, tell: Tell
) -> None:
    """A commit that was cut off in the middle of being written has not happened; all before it has.

    That is all that a crash can tear, since each commit is synced before it is acknowledged. Damage to what
    was synced is not promised to be survived: SQLite takes the log up to the first frame that is not whole.
    """
    before, after, whole = tmp_path / "before", tmp_path / "after", tmp_path / "whole"
    world = make_world(whole)
    whole.mkdir()
    world.open()
    a_morning(world)
    shutil.copytree(whole, before)
    ledger = Ledger.open(whole / "ledger.db", engine.pack)  # a writer of its own, killed in its next commit
    ledger.people.enroll("torn", "Torn", [NewTemplate(world.looks[20, n], 1.0, "api") for n in range(8)])
    shutil.copytree(whole, after)
    ledger.close()
    known, new = (before / "ledger.db-wal").read_bytes(), (after / "ledger.db-wal").read_bytes()
    assert new[: len(known)] == known
    assert len(new) > len(known)
    for _ in range(TEARS):
        torn = bytearray(new[: dice.randrange(len(known) + 1, len(new))])
        if dice.random() < 0.5:
            place = dice.randrange(len(known), len(torn))
            torn[place:] = dice.randbytes(len(torn) - place)
        (directory := tmp_path / "torn").mkdir()
        shutil.copy(before / "ledger.db", directory)
        (directory / "ledger.db-wal").write_bytes(torn)
        ledger = Ledger.open(directory / "ledger.db", engine.pack)
        found = {p.user_id: p.name for p in ledger.people.listing(limit=50).items}
        assert found == {user: known.name for user, known in world.people.items()}
        ledger.close()
        shutil.rmtree(directory)
    tell(f"torn log of the ledger: {TEARS} cut or overwritten tails, every acknowledged change there")


def test_a_ledger_that_lost_its_last_changes_is_followed(
    engine: FaceEngine, make_world: MakeWorld, tmp_path: Path
) -> None:
    """As after a disk that lied about syncing, or a restored backup: tiers that are ahead follow back, and
    do not mistake whoever is given the same number for the one who is gone."""
    whole, backup = tmp_path / "whole", tmp_path / "backup"
    whole.mkdir()
    world = make_world(whole)
    world.open()
    a_morning(world)
    world.close()
    shutil.copy(whole / "ledger.db", backup)
    remembered = dict(world.people)
    world.open()
    world.enroll(10, 2)
    world.close()
    shutil.copy(backup, whole / "ledger.db")
    world.people = remembered
    ledger = Ledger.open(whole / "ledger.db", engine.pack)
    vectors = [NewTemplate(world.looks[11, n], 1.0, "api") for n in range(2)]
    other = ledger.people.enroll("p11", "Name of p11", vectors)
    ledger.close()
    world.open()
    assert_kept_with(world, "p11", frozenset(other.template_ids))


def assert_kept_with(world: World, user: str, ids: frozenset[int]) -> None:
    from tests.chaos.world import Known

    world.people[user] = Known(f"Name of {user}", ids)
    assert_kept(world)


# ------------------------------------------------------------ a server that is away

OUTAGES = ("disk kept", "disk lost", "robi restarted meanwhile", "disk lost, robi restarted meanwhile")


@pytest.mark.parametrize("outage", OUTAGES)
def test_a_qdrant_server_is_away_for_long_and_comes_back(
    make_world: MakeWorld, outage: str, tell: Tell
) -> None:
    """Long: for many times the pauses between attempts, which are shortened here."""
    with QdrantDouble() as double:
        world = make_world(qdrant_url=double.url, qdrant_grpc_port=double.grpc_port, qdrant_timeout_seconds=5)
        world.open()
        a_morning(world)
        world.settle()
        double.stop()
        for number in range(6, 18):
            world.enroll(number, 2)
            world.erase(number - 3)
            world.look_for(number, number - 3)
            if "restarted" in outage and number == 12:
                world.close()
                world.open()
        assert troubled(world) == {"qdrant"}
        assert not world.refused
        if "lost" in outage:
            double.lose_data()
        double.start()
        assert_kept(world)
        world.close()
    tell(f"Qdrant server away ({outage}): {world.acknowledged} writes acknowledged, none refused, healed")


# ------------------------------------------------------------ a clock that is set


def test_a_clock_that_is_set_back_and_forward(tmp_path: Path, tell: Tell) -> None:
    compiler = shutil.which("cc")
    if compiler is None or sys.platform != "linux":
        pytest.skip("a clock that can be set needs Linux and a C compiler")
    library, shift = tmp_path / "clock.so", tmp_path / "shift"
    source = Path(__file__).with_name("clock.c")
    subprocess.run([compiler, "-shared", "-fPIC", "-o", str(library), str(source), "-ldl"], check=True)
    shift.write_bytes(bytes(8))
    (tmp_path / "data").mkdir()
    driver = subprocess.run(
        [sys.executable, "-m", "tests.chaos.clock_driver", str(tmp_path / "data"), SEED],
        cwd=ROOT,
        env={**os.environ, "LD_PRELOAD": str(library), "ROBI_CLOCK_SHIFT": str(shift)},
        capture_output=True,
        text=True,
        timeout=250,
        check=False,
    )
    assert driver.returncode == 0, driver.stderr[-3000:]
    told = json.loads(driver.stdout.splitlines()[-1])
    assert told["broken"] == []
    assert told["refused"] == 0
    assert len(set(told["years"])) >= 3, "the clock was not set"
    tell(f"clock set to the years {told['years']}: nothing refused, nothing lost, health well")
