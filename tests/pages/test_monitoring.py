"""The monitoring page: the numbers of /stats, any range, trouble first, and the buttons that help."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import numpy as np
import pytest
from prometheus_client.parser import text_string_to_metric_families
from streamlit.testing.v1 import AppTest

from core.domain.search import SearchTimings
from core.metrics.gauges import TEMPERATURE, GaugeKey
from core.monitoring.stats import Gauges
from core.runtime.hardware import Cards, Gpu, GpuSampler, LostGpu, MachineSampler
from core.services.service import RobiService
from dashboard.monitoring import blocks, figures
from dashboard.shared.resources import Resources
from tests.ledger_faults import unreadable
from tests.pages.conftest import MAIN, Serve, words_of
from tests.qdrant_double import QdrantDouble
from tests.unit.metrics.test_metrics import result
from tests.unit.store.kit import eventually
from tests.unit.store.server_kit import peer_of


def metric(at: AppTest, label: str) -> str:
    return str(next(m.value for m in at.metric if m.label == label))


def probe() -> list[float]:
    return [float(x) for x in np.random.default_rng(1).standard_normal(128)]


def test_nothing_measured_is_said_for_the_range_and_draws_no_zeros(open_page: Callable[..., AppTest]):
    at = open_page("monitoring")
    said = words_of(at)
    assert "Nothing was searched in the last 15 minutes." in said
    assert "No such request in the last 6 hours." in said
    assert metric(at, "Search time, p95") == "–"
    assert metric(at, "Within target") == "–"
    assert metric(at, "Cache hit rate") == "–"


def test_every_tile_is_a_number_of_stats_and_of_metrics(
    open_page: Callable[..., AppTest], demo: RobiService, photos: dict[str, bytes], monkeypatch
):
    """The searches are too few for anything to be forgotten: all of Prometheus' counts are in the range."""
    for _ in range(5):
        demo.matching.search(probe())
    demo.recognition.verify(photos["hanks"])
    demo.metrics.searches([result(timings=SearchTimings(120.0, hot=1.0, cold=118.0))])
    demo.metrics.failed("busy", 1)
    machine = replace(demo.monitor.snapshot().machine, cpu_percent=41.0)  # none in the first second
    monkeypatch.setattr(MachineSampler, "sample", lambda _self: machine)
    moment = demo.monitor.report("15min")  # or rates would differ by what goes by until the page looks
    monkeypatch.setattr(demo.monitor, "report", lambda _range: moment)
    at = open_page("monitoring")
    tiles = {m.label: str(m.value) for m in at.metric}
    stats, samples = demo.monitor.stats("15min"), scraped(demo.monitor.prometheus())
    window, objectives = stats["window"], stats["objectives"]

    answered, failed = samples("robi_searches_total"), samples("robi_search_failures_total")
    assert window["searches"] == answered == 7
    assert "7 searches in the last 15 minutes." in words_of(at)
    rate = window["throughput"]["searches_per_s"]
    assert tiles.pop("Searches a second") == f"{rate:.2f}"
    assert rate == pytest.approx(answered / max(window["observed_s"], 1.0), rel=0.1)  # seconds are rounded

    speed = window["latency"]["by_strategy"][demo.tuning.now.strategy.value]
    assert speed["count"] == samples("robi_search_seconds_count", strategy=demo.tuning.now.strategy.value)
    assert tiles.pop("Search time, p95") == blocks.words.milliseconds(speed["p95"])

    inside, requests = (
        sum(f(one) for one in objectives)
        for f in (lambda one: one["requests"] - one["outside"], lambda one: one["requests"])
    )
    enrolled = samples("robi_stage_seconds_count", stage="enroll")
    assert requests == answered + enrolled
    assert inside == (
        samples("robi_search_seconds_bucket", objective="hot", le="0.03")
        + samples("robi_search_seconds_bucket", objective="cold", le="0.05")
        + samples("robi_stage_seconds_bucket", stage="enroll", le="1.0")
    )
    assert tiles.pop("Within target") == f"{inside / requests:.1%}"

    assert (
        tiles.pop("Without an answer")
        == f"{window['error_rate']:.1%}"
        == f"{failed / (answered + failed):.1%}"
    )

    hits = samples("robi_cache_hits_total") / samples("robi_cache_matches_total")
    assert tiles.pop("Cache hit rate") == f"{window['hit_rate']['hit_rate']:.1%}" == f"{hits:.1%}"

    assert tiles.pop("CPU") == f"{stats['cpu']['percent']:.0f}%"
    memory = stats["memory"]
    assert tiles.pop("Memory of Robi") == f"{(memory['rss_mb'] + memory['children_mb']) / 1024:.1f} GB"
    assert memory["rss_mb"] == pytest.approx(samples("process_resident_memory_bytes") / 2**20, rel=0.2)
    cameras = tiles.pop("Cameras in use")
    assert cameras == f"{stats['live_sessions']:.0f}" == f"{samples('robi_live_sessions'):.0f}"
    assert not tiles, "every tile is compared"


def scraped(text: bytes) -> Callable[..., float]:
    """Sums up the samples of a name with some labels."""
    families = list(text_string_to_metric_families(text.decode()))
    samples = [sample for family in families for sample in family.samples]

    def total(name: str, **labels: str) -> float:
        return sum(s.value for s in samples if s.name == name and labels.items() <= s.labels.items())

    return total


@pytest.mark.parametrize("name", list(blocks.RANGES))
def test_every_range_opens_also_by_its_address(open_page: Callable[..., AppTest], name: str):
    at = open_page("monitoring", range=blocks.RANGES[name])
    assert at.selectbox(key="range").value == name
    assert f"Nothing was searched in the {blocks.RANGES[name].lower()}." in words_of(at)


def test_a_range_that_there_is_not_falls_back(open_page: Callable[..., AppTest]):
    at = open_page("monitoring", range="1year")
    assert at.selectbox(key="range").value == "15min"


def drawn(at: AppTest) -> int:
    return len(at.get("echarts_chart"))


def test_a_row_of_figures_that_is_not_chosen_is_neither_made_nor_sent(
    open_page: Callable[..., AppTest], demo: RobiService, monkeypatch: pytest.MonkeyPatch
):
    made: list[str] = []
    rows = {name: watched(name, row, made) for name, row in figures.ROWS.items()}
    monkeypatch.setattr(figures, "ROWS", rows)
    at = open_page("monitoring")
    assert (drawn(at), made) == (2, [])
    at = open_page("monitoring", figures="Stages")
    assert (drawn(at), set(made)) == (4, {"Stages"})
    titles = [header.value for header in at.header]
    assert titles[:4] == ["Load", "Search time, p95", "Stages of a search, p95", "Faces and enrollment, p95"]


def watched(name: str, row: Callable[..., Any], made: list[str]) -> Callable[..., Any]:
    def make(*given: Any) -> Any:
        made.append(name)
        return row(*given)

    return make


@pytest.mark.parametrize("name", [name for name in figures.ROWS if name != "GPUs"])
def test_every_row_of_figures_opens_by_its_address(open_page: Callable[..., AppTest], name: str):
    assert drawn(open_page("monitoring", figures=name)) == 4


def test_the_page_reads_the_figures_once(
    open_page: Callable[..., AppTest], demo: RobiService, monkeypatch: pytest.MonkeyPatch
):
    read: list[str] = []
    report = demo.monitor.report
    monkeypatch.setattr(demo.monitor, "report", lambda range_: read.append(range_) or report(range_))
    at = open_page("monitoring")
    read.clear()
    at.run()
    assert read == ["15min"]


def test_targets_say_what_burned_them(open_page: Callable[..., AppTest], demo: RobiService):
    for ms in (10.0, 80.0, 90.0, 95.0):
        demo.metrics.searches([result(timings=SearchTimings(ms, hot=1.0, cold=ms - 2.0, join=1.0))])
    said = words_of(open_page("monitoring"))
    assert "<b>Searches that asked Qdrant</b> under 50 ms" in said
    assert "1 of 4 in the last 15 minutes.<br>3 outside: most by Qdrant 100%." in said
    assert "<b>25.0%</b>" in said


def test_the_slowest_requests_are_listed_stage_by_stage_without_names(
    open_page: Callable[..., AppTest], demo: RobiService, photos: dict[str, bytes]
):
    demo.recognition.verify(photos["astronaut"])
    demo.metrics.searches([result(timings=SearchTimings(812.0, hot=2.0, cold=800.0, join=6.0))])
    at = open_page("monitoring")
    said = words_of(at)
    assert "<b>812 ms</b> Search, Hybrid" in said
    assert "Qdrant 800 ms · join" not in said
    assert re.search(r"Qdrant 800 ms · names 6\.0 ms · (waiting|cache)", said)
    assert "Verification" in said
    for name in ("Eileen", "Collins", "eileen"):
        assert name not in "\n".join(str(html.value) for html in at.html)
    at.segmented_control(key="monitoring_slow_kind").set_value("enrollment").run()
    assert "812 ms" not in words_of(at)


def test_a_rebuild_says_that_it_was_done(open_page: Callable[..., AppTest], demo: RobiService):
    at = open_page("monitoring")
    at.button("rebuild").click().run()
    assert "rebuilt from the ledger" in at.success[0].value
    assert demo.monitor.health().status == "ok"


def test_reconnecting_to_a_silent_qdrant_says_what_came_of_it(
    make_service: Callable[..., RobiService], serve: Serve
):
    service = make_service(qdrant_url="http://127.0.0.1:1", qdrant_grpc_port=1)
    serve(service)
    at = AppTest.from_file(str(MAIN), default_timeout=30).run()
    at.switch_page("../pages/monitoring.py").run()
    assert not at.exception
    assert [button.label for button in at.button].index("Reconnect now") == 0  # the trouble comes first
    at.button("reconnect").click().run()
    said = [error.proto.title for error in at.error]
    assert "Qdrant was tried and still does not answer." in said, "and it stays at the next refresh"
    assert not at.success
    at.run()
    assert [error.proto.title for error in at.error] == said


def test_the_nodes_of_a_server_are_listed_with_their_copies(
    make_service: Callable[..., RobiService], serve: Serve
):
    with QdrantDouble() as double:
        serve(
            make_service(
                qdrant_url=double.url,
                qdrant_grpc_port=double.grpc_port,
                qdrant_shard_number=2,
                qdrant_replication_factor=2,
                qdrant_write_consistency_factor=2,
            )
        )
        at = AppTest.from_file(str(MAIN), default_timeout=30).run()
        at.switch_page("../pages/monitoring.py").run()
        assert not at.exception
        nodes = next(str(html.value) for html in at.html if double.url in str(html.value))
        cells = re.findall(r"<t[hd][^>]*>([^<]*)</t[hd]>", nodes)
        assert cells == ["Node", "Answers", "Copies", double.url, "yes", "2 active"]
        assert any("stops every write" in caption.value for caption in at.caption)


def test_copies_on_a_node_that_does_not_answer_are_out_of_reach(
    make_service: Callable[..., RobiService], serve: Serve
):
    with QdrantDouble() as one, peer_of(one) as other:
        service = make_service(
            qdrant_url=f"{one.url},{other.url}",
            qdrant_grpc_port=one.grpc_port,
            qdrant_replication_factor=2,
            qdrant_timeout_seconds=10,
        )
        serve(service)
        assert eventually(lambda: copies_told() == ["2 active", "2 active"])
        other.stop()
        assert eventually(lambda: copies_told() == ["2 active", "2 out of reach"])


def copies_told() -> list[str]:
    at = AppTest.from_file(str(MAIN), default_timeout=30).run()
    at.switch_page("../pages/monitoring.py").run()
    assert not at.exception
    tables = (str(html.value) for html in at.html)
    return re.findall(r">(\d [a-z ]+)</td>", next((table for table in tables if ">Copies</th>" in table), ""))


def test_a_cache_that_is_off_has_no_size_and_cannot_be_rebuilt(
    make_service: Callable[..., RobiService], serve: Serve
):
    service = make_service(faiss_enabled=False)
    serve(service)
    at = AppTest.from_file(str(MAIN), default_timeout=30).run()
    at.switch_page("../pages/monitoring.py").run()
    assert not at.exception
    assert "Rebuild the cache" not in [button.label for button in at.button]
    tiers = next(str(html.value) for html in at.html if "Cache (FAISS)</th>" in str(html.value))
    cells = re.findall(r"<t[hd][^>]*>([^<]*)</t[hd]>", tiers)
    assert cells[5:10] == ["Cache (FAISS)", "off", "–", "–", "–"]
    at.button("compare").click().run()
    assert at.success[0].value.replace("\\", "") == "Qdrant holds just what the ledger says: 0 templates."


def test_a_broken_ledger_leaves_the_page_its_figures(
    open_page: Callable[..., AppTest], demo: RobiService, monkeypatch: pytest.MonkeyPatch
):
    demo.matching.search(probe())
    at = open_page("monitoring")
    with unreadable(demo.settings.robi_data_dir / "ledger.db"):
        at.run()
        assert not at.exception
        said = words_of(at)
        assert "Ledger not answering" in said
        assert "known when the ledger can be read again" in said
        assert metric(at, "Search time, p95") != "–"
        components = {part.name: part for part in demo.monitor.health().components}
        assert components.keys() == {"faces", "faiss", "qdrant", "ledger"}
        assert "only the ledger knows" in components["qdrant"].detail
        since = components["ledger"].since
        assert {p.name: p.since for p in demo.monitor.health().components}["ledger"] == since
    after = {part.name: part for part in demo.monitor.health().components}["ledger"]
    assert after.status == "ok"
    assert after.last_error is not None
    at.run()
    assert "Last error" in words_of(at)


def cards(*, lost: bool) -> Cards:
    gpu = Gpu(1, "NVIDIA L4", 41, 3072, 24576, 63, 71.5, None)
    gone = LostGpu(0, "NVIDIA A10", datetime.now(UTC))
    return Cards((gpu,), (gone,) if lost else (), None)


def test_gpus_are_shown_with_their_figures_and_a_lost_one_by_name(
    open_page: Callable[..., AppTest], shared: Resources, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(GpuSampler, "sample", lambda _self: cards(lost=True))
    at = open_page("monitoring")
    said = words_of(at)
    assert "41% busy, 3.0 of 24.0 GB in use, 63 °C, 72 W" in said
    assert "GPU 0 (NVIDIA A10) does not answer any more." in said
    assert any("GPU lost" in link.proto.label for link in at.get("page_link"))
    kept = Gauges().of(shared.service.monitor.snapshot())
    assert kept[GaugeKey(TEMPERATURE, "1")] == 63.0


def test_cpu_mode_is_said_with_cores_memory_and_provider(open_page: Callable[..., AppTest]):
    said = words_of(open_page("monitoring"))
    assert "**CPU mode**" in said
    assert re.search(r"Face models run on CPUExecutionProvider; \d+ cores?, [\d.]+ of [\d.]+ GB", said)
