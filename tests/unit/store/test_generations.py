"""The Edge tier's next generation: built beside the present one, switched to at once, or never heard of."""

from __future__ import annotations

import os
import resource
import signal
import socket
import threading
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import pytest

from core.domain.faces import Embeddings
from core.domain.search import Hit
from core.domain.templates import Change
from core.runtime import disk
from core.runtime.wire import Wire
from core.store.contract import TierDown, Traces, differs
from core.store.sync.projection import Projection
from core.store.tiers.edge import builder as edge_builder
from core.store.tiers.edge import child as edge_child
from core.store.tiers.edge.builder import Build, due
from core.store.tiers.edge.generations import Generations
from core.store.tiers.edge.tier import QdrantEdgeTier
from core.store.tiers.edge.wire import hits_body, read_hits, read_search, search_body
from tests.unit.store.kit import DIMENSION, MemoryFeed, eventually, faces, unit

POINTS = 1500
OpenTier = Callable[..., QdrantEdgeTier]


@pytest.fixture
def gallery(feed: MemoryFeed, random: np.random.Generator) -> Embeddings:
    vectors = faces(random, POINTS // 5, 5)
    for number, templates in enumerate(vectors):
        feed.enroll(f"p{number}", templates)
    return vectors.reshape(-1, DIMENSION)


@pytest.fixture
def open_tier(feed: MemoryFeed, tmp_path: Path) -> Iterator[OpenTier]:
    """Opens and fills tiers on the test's feed and directory; a graph is built from 1000 points on."""
    opened: list[QdrantEdgeTier] = []

    def make(index_from: int = 1000) -> QdrantEdgeTier:
        tier = QdrantEdgeTier(tmp_path / "edge", DIMENSION, feed=feed, index_from=index_from)
        opened.append(tier)
        Projection(tier, feed, audit=differs).catch_up()
        return tier

    yield make
    for tier in opened:
        tier.close()


def directories(tmp_path: Path) -> list[str]:
    return sorted(path.name for path in (tmp_path / "edge").iterdir())


def finds(tier: QdrantEdgeTier, gallery: Embeddings, row: int = 7) -> bool:
    return tier.search(gallery[row : row + 1], 1)[0][0].template_id == row + 1


def test_the_graph_is_built_unasked_and_searches_go_on(
    open_tier: OpenTier, gallery: Embeddings, tmp_path: Path
) -> None:
    tier = open_tier()
    before = tier.pid
    assert "exact scan" in tier.info()["index"]
    tier.maintain()
    while tier.pid == before:
        assert finds(tier, gallery)
    assert eventually(lambda: tier.info()["building"] is None)
    assert tier.info()["index"].startswith("HNSW over")
    assert tier.count() == POINTS
    assert tier.seq == POINTS
    assert all(finds(tier, gallery, row) for row in range(0, POINTS, 50))
    assert eventually(lambda: directories(tmp_path) == ["gen-2"])
    assert tier.info()["restarts"] == 0


def test_a_leftover_below_the_new_generation_does_not_outlive_the_switch(
    open_tier: OpenTier, gallery: Embeddings, tmp_path: Path
) -> None:
    """Or it would count at the next start: such as files that a dying process wrote after they were swept."""
    tier = open_tier()
    (tmp_path / "edge" / "gen-2" / "segments").mkdir(parents=True)
    tier.renew()
    assert directories(tmp_path) == ["gen-3"]


def test_what_happens_during_a_build_is_in_the_new_generation(
    open_tier: OpenTier, feed: MemoryFeed, gallery: Embeddings, random: np.random.Generator
) -> None:
    tier = open_tier()
    projection = Projection(tier, feed)
    rebuild = threading.Thread(target=tier.renew)
    rebuild.start()
    number = 0
    while rebuild.is_alive():
        feed.enroll(f"new{number}", faces(random, 1, 1)[0])
        if number % 3 == 0:
            feed.erase(f"new{number}")
        projection.catch_up()
        assert tier.seq == feed.head()
        number += 1
    projection.catch_up()
    assert number > 3
    assert tier.info()["index"].startswith("HNSW over")
    assert sorted(tier.ids()) == sorted(feed.template_ids()[1])


def test_a_new_generation_is_not_taken_for_a_newly_opened_tier(
    open_tier: OpenTier, gallery: Embeddings
) -> None:
    tier = open_tier()
    generation = tier.generation
    tier.renew()
    assert tier.generation == generation
    os.kill(tier.pid or 0, signal.SIGKILL)
    assert finds(tier, gallery)
    assert tier.generation > generation, "a replaced engine has to be checked"


def test_strangers_are_compared_with_everybody_graph_or_not(
    tmp_path: Path, gallery: Embeddings, random: np.random.Generator, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A graph alone misses some of a stranger's nearest people; below SURE the answer is exact."""
    narrow = 10  # so narrow that it shows in a small gallery too
    shard = edge_child.Shard(tmp_path / "shard", DIMENSION)
    ids = list(range(1, POINTS + 1))
    shard.apply(ids, ids, gallery.tobytes(), [], POINTS)
    shard.optimize()
    assert shard.info()["indexed"] >= POINTS
    strangers = unit(random.standard_normal((100, DIMENSION)))
    similarities = strangers @ gallery.T
    assert similarities.max() < edge_child.SURE
    nearest = (np.argsort(-similarities)[:, :10] + 1).tolist()

    def found() -> list[list[int]]:
        return [[number for number, _ in hits] for hits in shard.search(strangers.tobytes(), 10, narrow)]

    assert found() == nearest
    monkeypatch.setattr(edge_child, "SURE", -1.0)
    assert found() != nearest, "the graph alone would do: this gallery tells nothing"
    shard.close()


@pytest.mark.parametrize(("large", "looked"), [(POINTS, 40), (POINTS - 1, 80)])
def test_a_large_graph_is_searched_twice_as_far_as_asked(
    tmp_path: Path, gallery: Embeddings, monkeypatch: pytest.MonkeyPatch, large: int, looked: int
) -> None:
    monkeypatch.setattr(edge_child, "LARGE", large)
    shard = edge_child.Shard(tmp_path / "shard", DIMENSION)
    ids = list(range(1, POINTS))
    shard.apply(ids, ids, gallery[:-1].tobytes(), [], POINTS)  # and the marker
    shard.info()
    asked: list[int | None] = []
    params = edge_child.edge.SearchParams

    def watched(**given: Any) -> Any:
        asked.append(given["hnsw_ef"])
        return params(**given)

    monkeypatch.setattr(edge_child.edge, "SearchParams", watched)
    shard.search(gallery[:1].tobytes(), 5, 40)
    assert asked[0] == looked
    shard.close()


def test_what_was_erased_leaves_the_disk(
    open_tier: OpenTier, feed: MemoryFeed, gallery: Embeddings, tmp_path: Path
) -> None:
    tier = open_tier()
    secret = gallery[0].tobytes()

    def on_disk() -> bool:
        return any(secret in path.read_bytes() for path in (tmp_path / "edge").rglob("*") if path.is_file())

    feed.erase("p0")
    Projection(tier, feed).catch_up()
    assert tier.info()["erased"] == 5
    assert eventually(on_disk), "the engine flushes when nobody asks it anything"
    tier.renew()
    assert tier.info()["erased"] == 0
    assert not on_disk()


def test_where_building_is_cheap_the_erased_leave_the_disk_by_themselves_and_it_says_by_when(
    open_tier: OpenTier, feed: MemoryFeed, gallery: Embeddings, tmp_path: Path
) -> None:
    tier = open_tier(index_from=20_000)
    assert tier.traces() == Traces(there=False)
    secret = gallery[0].tobytes()
    feed.erase("p0")
    Projection(tier, feed).catch_up()
    promised = tier.traces().gone_by
    assert promised is not None
    assert promised - datetime.now(UTC) < timedelta(minutes=2)
    tier.maintain()
    assert eventually(lambda: not tier.traces().there)
    files = [path for path in (tmp_path / "edge").rglob("*") if path.is_file()]
    assert not any(secret in path.read_bytes() for path in files)


def test_where_a_graph_must_be_built_the_erased_may_stay_for_a_day(
    open_tier: OpenTier, feed: MemoryFeed, gallery: Embeddings
) -> None:
    tier = open_tier(index_from=1000)
    tier.renew()
    feed.erase("p0")
    Projection(tier, feed).catch_up()
    tier.maintain()
    assert tier.info()["building"] is None
    promised = tier.traces().gone_by
    assert promised is not None
    assert timedelta(hours=23) < promised - datetime.now(UTC) < timedelta(hours=26)


def test_a_build_that_had_no_room_promises_nothing(
    open_tier: OpenTier, feed: MemoryFeed, gallery: Embeddings, monkeypatch: pytest.MonkeyPatch
) -> None:
    tier = open_tier(index_from=20_000)
    feed.erase("p0")
    Projection(tier, feed).catch_up()
    monkeypatch.setattr(disk, "free_bytes", lambda _: 0)
    tier.maintain()
    assert eventually(lambda: tier.traces() == Traces(there=True, gone_by=None))


def test_erasures_are_still_counted_after_a_restart(
    open_tier: OpenTier, feed: MemoryFeed, gallery: Embeddings
) -> None:
    tier = open_tier()
    feed.erase("p0")
    Projection(tier, feed).catch_up()
    tier.close()
    assert open_tier().info()["erased"] == 5


@pytest.mark.parametrize(
    ("points", "indexed", "dropped", "days", "expected"),
    [
        (19_999, 0, 0, 0, None),
        (20_000, 0, 0, 0, "not in the graph"),
        (100_000, 85_000, 0, 0, None),
        (105_000, 85_000, 0, 0, "not in the graph"),
        (1_050_000, 1_000_000, 0, 0, None),
        (1_125_000, 1_000_000, 0, 0, "not in the graph"),
        (10_000, 0, 1, 0.0, "building is cheap"),
        (25_000, 25_000, 5_001, 0.1, "erased points"),
        (25_000, 25_000, 4_900, 0.1, None),
        (25_000, 25_000, 1, 1.1, "a day ago"),
    ],
)
def test_when_a_new_generation_is_due(
    points: int, indexed: int, dropped: int, days: float, expected: str | None
) -> None:
    found = {"indexed": indexed, "dropped": dropped, "dropped_for": days * 86400 if dropped else 0.0}
    reason = due(points, found, 20_000)
    assert (reason is None) == (expected is None)
    assert (expected or "") in (reason or "")


STEPS = ("_fill", "_index", "_check", "_compare_vectors")


@pytest.mark.parametrize("victim", ["builder", "present"])
@pytest.mark.parametrize("step", STEPS)
@pytest.mark.slow
def test_a_child_killed_during_a_step_leaves_a_usable_state(
    open_tier: OpenTier,
    gallery: Embeddings,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    step: str,
    victim: str,
) -> None:
    tier = open_tier()
    real = getattr(Build, step)

    def struck(build: Build, *arguments: object) -> object:
        os.kill((tier.builder_pid if victim == "builder" else tier.pid) or 0, signal.SIGKILL)
        return real(build, *arguments)

    monkeypatch.setattr(Build, step, struck)
    try:
        tier.renew()
    except TierDown:
        assert victim == "builder"
    assert finds(tier, gallery)
    assert tier.count() == POINTS
    assert len(directories(tmp_path)) == 1
    monkeypatch.undo()
    tier.renew()
    assert finds(tier, gallery)
    assert tier.info()["index"].startswith("HNSW over")


def test_a_hung_optimization_is_given_up(
    open_tier: OpenTier, gallery: Embeddings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tier = open_tier()
    monkeypatch.setattr(edge_builder, "STALL_SECONDS", 0.5)
    monkeypatch.setattr(edge_builder, "LOOK_SECONDS", 0.1)
    real = Build._index

    def stopped(build: Build, *arguments: object) -> object:
        os.kill(tier.builder_pid or 0, signal.SIGSTOP)
        return real(build, *arguments)

    monkeypatch.setattr(Build, "_index", stopped)
    with pytest.raises(TierDown, match="stopped working"):
        tier.renew()
    assert tier.builder_pid is None
    assert directories(tmp_path) == ["gen-1"]
    assert finds(tier, gallery)


def test_a_generation_that_differs_from_the_ledger_does_not_get_to_answer(
    open_tier: OpenTier,
    feed: MemoryFeed,
    gallery: Embeddings,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    tier = open_tier()
    real = Build._fill

    def forgetful(build: Build, child: object) -> int:
        changes = feed.changes

        def fewer(after: int, limit: int) -> list[Change]:
            return [c for c in changes(after, limit) if c.template_id != 77]

        with monkeypatch.context() as patch:
            patch.setattr(feed, "changes", fewer)
            return real(build, child)  # type: ignore[arg-type]

    monkeypatch.setattr(Build, "_fill", forgetful)
    with pytest.raises(TierDown, match="lacks 1 "):
        tier.renew()
    assert directories(tmp_path) == ["gen-1"]
    assert finds(tier, gallery, 76)


def test_without_room_on_the_disk_it_is_put_off_and_said(
    open_tier: OpenTier, gallery: Embeddings, monkeypatch: pytest.MonkeyPatch
) -> None:
    tier = open_tier()
    monkeypatch.setattr(disk, "free_bytes", lambda _: 9 << 20)
    tier.maintain()
    assert eventually(lambda: "free disk space" in (tier.info()["put_off"] or ""))
    assert finds(tier, gallery)
    assert tier.note is None
    monkeypatch.undo()
    tier.renew()
    assert tier.info()["put_off"] is None


@pytest.mark.parametrize("step", ["_fill", "_index"])
def test_a_disk_that_fills_up_during_a_build_leaves_everything_as_it_was(
    open_tier: OpenTier, gallery: Embeddings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, step: str
) -> None:
    """The kernel refuses the builder's writes, by a limit on the size of its files."""
    tier = open_tier()
    real = getattr(Build, step)

    def refused(build: Build, *arguments: object) -> object:
        resource.prlimit(tier.builder_pid or 0, resource.RLIMIT_FSIZE, (4096, 4096))
        return real(build, *arguments)

    monkeypatch.setattr(Build, step, refused)
    with pytest.raises(TierDown, match="could not be built"):
        tier.renew()
    assert directories(tmp_path) == ["gen-1"]
    assert finds(tier, gallery)
    monkeypatch.undo()
    tier.renew()
    assert finds(tier, gallery)


def test_closing_ends_a_build_and_leaves_nothing_of_it(
    open_tier: OpenTier, gallery: Embeddings, tmp_path: Path
) -> None:
    tier = open_tier()
    tier.maintain()
    assert eventually(lambda: tier.builder_pid is not None)
    builder = tier.builder_pid or 0
    tier.close()
    assert directories(tmp_path) == ["gen-1"]
    assert not psutil.pid_exists(builder)


def test_the_lowest_generation_counts_and_everything_else_goes(tmp_path: Path) -> None:
    generations = Generations(tmp_path)
    assert generations.current().name == "gen-1"
    for name in ("gen-3", "gen-12", "old-gen-2", "segments"):
        (tmp_path / name).mkdir()
    (tmp_path / "edge_config.json").touch()
    assert generations.current().name == "gen-3"
    assert generations.next().name == "gen-13"
    generations.sweep(generations.current())
    assert [path.name for path in tmp_path.iterdir()] == ["gen-3"]
    generations.retire(tmp_path / "gen-3")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(("changes", "seconds"), [(10, 3600.0), (10**9, 0.0)])
def test_the_child_flushes_under_constant_requests_too(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, changes: int, seconds: float
) -> None:
    """After so many changes or so long, whichever comes first: the next start replays what is not flushed."""
    monkeypatch.setattr(edge_child, "FLUSH_CHANGES", changes)
    monkeypatch.setattr(edge_child, "FLUSH_SECONDS", seconds)
    shard = edge_child.Shard(tmp_path / "shard", 4)
    ours, theirs = socket.socketpair()
    wire = Wire(ours)
    server = threading.Thread(target=edge_child.serve, args=(Wire(theirs), shard))
    wire.tell("apply", [1, 2], [1, 1], np.eye(2, 4, dtype=np.float32).tobytes(), [], 1)
    for seq in range(2, 30):  # all of them waiting before it begins: it is never idle
        wire.tell("apply", [], [], b"", [9], seq)
    wire.tell("close")
    server.start()
    server.join()
    assert not shard.dirty or changes == 10
    assert not shard.overdue
    wire.close()
    theirs.close()


@pytest.mark.parametrize("limit", [1, 5])
def test_hits_survive_the_wire(limit: int) -> None:
    rows = [[(7, 0.5), (2**40, -0.25)][:limit], [], [(3, 1.0)]]
    read = read_hits(bytearray(hits_body(rows)))
    assert read == rows
    assert all(isinstance(hit, Hit) for row in read for hit in row)
    assert read_search(bytearray(search_body(b"probes", 9, 77))) == (b"probes", 9, 77)
