"""The index on GPUs. Numpy stands in for the card, in a real child process; `tests/gpu` runs this on one."""

from __future__ import annotations

import gc
import os
import signal
import sys
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import Protocol

import numpy as np
import psutil
import pytest

from core.domain.faces import Embeddings
from core.store.tiers.faiss.candidate_index import Built, CandidateIndex, GpuOptions, GpuUnavailable
from core.store.tiers.faiss.gpu.card import MOST
from core.store.tiers.faiss.gpu.index import GpuFlat, flat
from core.store.tiers.faiss.gpu.process import GpuProcess
from core.store.tiers.faiss.index_snapshot import IndexSnapshot, Sealed
from core.store.tiers.faiss.vector_table import VectorTable
from tests.unit.store.kit import DIMENSION, another_look, eventually, faces

OPTIONS = GpuOptions(device=0, memory_fraction=0.9)

Open = Callable[[int, int], GpuProcess]


class Make(Protocol):
    def __call__(
        self, vectors: Embeddings, options: GpuOptions = OPTIONS, *, devices: tuple[int, ...] = ()
    ) -> GpuFlat: ...


@pytest.fixture
def open_card() -> Open:
    return partial(GpuProcess, module="tests.unit.store.gpu_double")


@pytest.fixture
def make(open_card: Open) -> Iterator[Make]:
    """Builds indexes and closes them."""
    made: list[GpuFlat] = []

    def build(
        vectors: Embeddings, options: GpuOptions = OPTIONS, *, devices: tuple[int, ...] = ()
    ) -> GpuFlat:
        made.append(flat(vectors, options, devices=devices, open_card=open_card))
        return made[-1]

    yield build
    for index in made:
        index.close()


def view_of(gallery: Embeddings, index: CandidateIndex | None) -> IndexSnapshot:
    """Template n is row n."""
    ids = np.arange(len(gallery))
    rows = VectorTable(ids, ids, gallery.copy(), len(gallery))
    return IndexSnapshot(rows, rows.used, Sealed(Built(index), rows.used if index else 0, rows.used))


def alive(pid: int) -> bool:
    return Path(f"/proc/{pid}").exists()


def test_known_faces_and_strangers_get_float32_answers(make: Make, random: np.random.Generator) -> None:
    gallery = faces(random, 3000, 1)[:, 0]
    ours, exact = view_of(gallery, make(gallery)), view_of(gallery, None)
    known = np.stack([another_look(random, gallery[n]) for n in range(0, 3000, 30)])
    for probes in (known, faces(random, 100, 1)[:, 0]):
        for mine, true in zip(ours.search(probes, 18), exact.search(probes, 18), strict=True):
            assert [hit.template_id for hit in mine] == [hit.template_id for hit in true]
            assert [hit.similarity for hit in mine] == pytest.approx([h.similarity for h in true], abs=1e-5)


def test_what_it_is_extended_by_is_found(make: Make, random: np.random.Generator) -> None:
    gallery = faces(random, 5000, 1)[:, 0]
    index: CandidateIndex = make(gallery[:700])
    for start in (700, 2000, 3600):
        index = index.extended(gallery[start : {700: 2000, 2000: 3600, 3600: 5000}[start]])
    probes = gallery[::37]
    assert index.search(probes, 1, None)[:, 0].tolist() == list(range(0, 5000, 37))


def test_an_empty_gallery_can_grow(make: Make, random: np.random.Generator) -> None:
    new = faces(random, 4000, 1)[:, 0]
    index = make(np.empty((0, DIMENSION), np.float32)).extended(new)
    assert index.search(new[::100], 1, None)[:, 0].tolist() == list(range(0, 4000, 100))


@pytest.mark.parametrize("dead", [100, MOST + 10])
def test_many_dropped_look_alikes_do_not_hide_the_living(
    make: Make, random: np.random.Generator, dead: int
) -> None:
    others = faces(random, 1000, 1)[:, 0]
    twins = np.stack([another_look(random, others[0]) for _ in range(dead)])
    gallery = np.concatenate([twins, others])
    view = view_of(gallery, make(gallery))
    view.rows.drop(np.arange(dead))
    hits = view.search(others[:1], 5)[0]
    assert len(hits) == 5
    assert hits[0].template_id == dead


def test_more_than_a_gpu_can_select_is_found_all_the_same(make: Make, random: np.random.Generator) -> None:
    gallery = faces(random, 2 * MOST, 1)[:, 0]
    probes = faces(random, 3, 1)[:, 0]
    places = make(gallery).search(probes, MOST + 500, None)
    for probe, mine in zip(probes, places, strict=True):
        exact = np.argsort(-(gallery @ probe))[: MOST + 500]
        assert len(np.intersect1d(mine, exact)) >= MOST + 490, "all but ties at the end"


@pytest.mark.parametrize("wanted", [10, MOST + 10])
def test_two_parts_answer_as_one(make: Make, random: np.random.Generator, wanted: int) -> None:
    """On one card, which can hold several; two cards differ from that only by their numbers."""
    gallery = faces(random, 6001, 1)[:, 0]
    more = faces(random, 30, 1)[:, 0]
    one, two = make(gallery).extended(more), make(gallery, devices=(0, 0)).extended(more)
    assert "2 x" in two.kind
    everything = np.concatenate([gallery, more])
    probes = np.concatenate([everything[::100], faces(random, 20, 1)[:, 0]])
    mine, theirs = two.search(probes, wanted, None), one.search(probes, wanted, None)
    exact = probes @ everything.T
    similar, same = np.take_along_axis(exact, mine, 1), np.take_along_axis(exact, theirs, 1)
    np.testing.assert_allclose(similar, same, atol=1e-3)
    assert mine[: len(everything[::100]), 0].tolist() == list(range(0, 6031, 100))


def test_one_card_is_used_while_it_is_enough_and_all_when_it_is_not(
    make: Make, random: np.random.Generator, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Only the stand-in can have several cards of any size."""
    monkeypatch.setattr("core.store.tiers.faiss.gpu.index.ONE_MORE", 0)
    monkeypatch.setenv("GPU_DOUBLE_CARDS", "3")
    monkeypatch.setenv("GPU_DOUBLE_BYTES", str(2 << 20))
    gallery = faces(random, 15_000, 1)[:, 0]
    small, large = make(gallery[:3000], devices=()), make(gallery)
    if "Numpy" not in small.kind:
        pytest.skip("this card is real, and large")
    assert small.kind == "Flat fp16 (Numpy)"
    assert large.kind == "Flat fp16 (3 x Numpy)"
    assert large.search(gallery[::99], 1, None)[:, 0].tolist() == list(range(0, 15_000, 99))


def test_memory_that_the_settings_do_not_allow_is_refused_with_figures(
    make: Make, random: np.random.Generator
) -> None:
    with pytest.raises(GpuUnavailable, match=r"500 templates need 0\.3 GiB .* leaves 0\.0\."):
        make(faces(random, 500, 1)[:, 0], GpuOptions(0, 0.0001))


def test_a_gpu_that_is_not_there_is_said_to_be_missing(make: Make, random: np.random.Generator) -> None:
    with pytest.raises(GpuUnavailable, match="There is no GPU 77"):
        make(faces(random, 5, 1)[:, 0], GpuOptions(77, 0.8))


def test_a_card_that_is_full_by_now_is_named(
    make: Make, random: np.random.Generator, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Only the stand-in can be so small."""
    monkeypatch.setattr("core.store.tiers.faiss.gpu.index.ONE_MORE", 0)
    monkeypatch.setenv("GPU_DOUBLE_BYTES", str(1 << 20))
    index = make(faces(random, 300, 1)[:, 0])
    if "Numpy" not in index.kind:
        pytest.skip("this card is real, and large")
    with pytest.raises(RuntimeError, match="memory of GPU 0 is full"):
        index.extended(faces(random, 5000, 1)[:, 0])
    with pytest.raises(RuntimeError, match="memory of GPU 0 is full"):
        index.search(faces(random, 1, 1)[0], 1, None)


@pytest.mark.parametrize("parts", [(0,), (0, 0)])
def test_a_lost_card_is_named_and_leaves_no_process(
    make: Make, random: np.random.Generator, parts: tuple[int, ...]
) -> None:
    gallery = faces(random, 300, 1)[:, 0]
    index = make(gallery, devices=parts)
    os.kill(index.pids[-1], signal.SIGKILL)
    with pytest.raises(RuntimeError, match="GPU 0 was lost"):
        index.search(gallery[:9], 3, None)
    with pytest.raises(RuntimeError, match="GPU 0 was lost"):
        index.extended(gallery)
    assert not any(alive(pid) for pid in index.pids)


def test_a_card_that_falls_silent_is_given_up(
    make: Make, random: np.random.Generator, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("core.store.tiers.faiss.gpu.process.REQUEST_SECONDS", 1)
    gallery = faces(random, 300, 1)[:, 0]
    index = make(gallery)
    os.kill(index.pids[0], signal.SIGSTOP)
    with pytest.raises(RuntimeError, match="does not answer"):
        index.search(gallery[:1], 1, None)


def test_a_process_that_cannot_be_started_is_named_and_leaves_nothing_open(
    open_card: Open, random: np.random.Generator, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = psutil.Process().num_fds()
    monkeypatch.setattr(sys, "executable", "/no/such/interpreter")
    with pytest.raises(GpuUnavailable, match="No process for GPU 0 can be started: No such file"):
        flat(faces(random, 5, 1)[:, 0], OPTIONS, open_card=open_card)
    assert psutil.Process().num_fds() == before


def test_a_replaced_index_leaves_no_process_behind(open_card: Open, random: np.random.Generator) -> None:
    index = flat(faces(random, 300, 1)[:, 0], OPTIONS, open_card=open_card)
    pid = index.pids[0]
    assert alive(pid)
    del index
    gc.collect()
    assert eventually(lambda: not alive(pid))


def test_thirty_two_threads_search_while_it_is_extended(make: Make, random: np.random.Generator) -> None:
    gallery = faces(random, 2000, 1)[:, 0]
    index = make(gallery)

    def ask(n: int) -> bool:
        return bool(index.search(gallery[n : n + 3], 2, None)[0, 0] == n)

    with ThreadPoolExecutor(32) as pool:
        answers = pool.map(ask, range(0, 1600, 4))
        for _ in range(20):
            index.extended(faces(random, 50, 1)[:, 0])
        assert all(answers)


def test_a_machine_without_a_gpu_is_told_in_no_time(
    random: np.random.Generator, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("core.store.tiers.faiss.gpu.driver.LIBRARY", "libno-such-driver.so.1")
    monkeypatch.setattr("core.store.tiers.faiss.gpu.index.GpuProcess", None)  # no process is started
    with pytest.raises(GpuUnavailable, match="No NVIDIA driver is installed"):
        flat(faces(random, 5, 1)[:, 0], OPTIONS)
