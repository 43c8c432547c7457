"""Kept runs, two of them side by side, exports, and what using a setting means."""

from __future__ import annotations

import csv
import io
import json
import re
from dataclasses import asdict, replace
from html.parser import HTMLParser

import numpy as np
import pytest
from plotly.offline import get_plotlyjs

from core.benchmark import documents, export
from core.benchmark.applying import caveats_of, changes_of
from core.benchmark.difference import compare
from core.benchmark.labels import full
from core.benchmark.model import Estimate, ProbeKind, ProbeSource, RunRequest, Setting
from core.benchmark.report import to_html
from core.benchmark.stage_trace import trace
from core.domain.errors import BadInput, NotFound, Unavailable, Unusable
from core.domain.search import Strategy
from core.ledger.runs import KeptRun
from core.store.hybrid import HybridVectorStore
from tests.unit.benchmark.conftest import fill, finished, measured

HYBRID, COLD = Setting(Strategy.HYBRID), Setting(Strategy.QDRANT_ONLY)


def kept(run, **changes):
    document = json.loads(json.dumps(documents.document_of(run)))
    return KeptRun(run.id, run.at, run.name, document | changes)


def test_a_run_comes_back_from_json_as_it_was(make_run):
    run = make_run(
        rows=(measured(HYBRID), measured(COLD, 32, failures={"busy": 2}, recall_at_1=None, p95=None)),
        request=RunRequest((HYBRID, COLD), "a run", ProbeSource(ProbeKind.RECENT), threshold=0.5, k=7),
        notes=("One.", "Two."),
    )
    assert documents.run_of(kept(run)) == run
    summary = documents.summary_of(KeptRun(3, run.at, "x", json.loads(json.dumps(documents.summarised(run)))))
    assert (summary.id, summary.name, summary.settings, summary.probes) == (3, "x", 2, ProbeKind.RECENT)


def test_a_document_holds_nothing_of_the_probes(make_run):
    source = ProbeSource(ProbeKind.PHOTOS, embeddings=np.full((2, 128), 0.123456, np.float32))
    run = make_run(request=RunRequest((HYBRID,), probes=source, threshold=0.4))
    for text in (json.dumps(documents.document_of(run)), export.to_csv(run), to_html(run)):
        assert "embeddings" not in text
        assert "0.12345" not in text


@pytest.mark.parametrize("changes", [{"version": 2}, {"version": None}, {"rows": [{}]}, {"request": {}}])
def test_what_cannot_be_read_says_so(make_run, changes):
    with pytest.raises(Unusable) as problem:
        documents.run_of(kept(make_run(), **changes))
    assert problem.value.code == "run_unreadable"


def test_kept_runs_are_renamed_deleted_and_missed(service, benchmarks):
    fill(service, 3)
    run = finished(benchmarks, RunRequest((HYBRID,), count=5))
    assert run.name == f"{run.at:%Y-%m-%d %H:%M}"
    benchmarks.rename(run.id, "  the   first ")
    assert benchmarks.get(run.id) == replace(run, name="the first")
    assert [(one.id, one.name, one.count) for one in benchmarks.runs()] == [(run.id, "the first", 5)]
    for bad in ("", "x" * 101, "a\x00b"):
        with pytest.raises(BadInput):
            benchmarks.rename(run.id, bad)
    benchmarks.delete(run.id)
    assert benchmarks.runs() == ()
    with pytest.raises(NotFound):
        benchmarks.get(run.id)
    with pytest.raises(NotFound):
        benchmarks.compare(run.id, run.id)


# ---------------------------------------------------------------- comparing


def test_each_setting_of_both_runs_is_compared_with_a_word(make_run):
    a = make_run(rows=(measured(HYBRID), measured(COLD)))
    b = make_run(
        rows=(
            measured(HYBRID, p95=Estimate(1.0, 0.9, 1.1), throughput_per_s=Estimate(500.0, 480.0, 520.0)),
            measured(HYBRID, 32),
        )
    )
    found = compare(a, b)
    (row,) = found.rows
    assert (row.setting, row.concurrency) == (HYBRID, 1)
    assert (row.p95.word, row.p50.word, row.recall_at_1.word) == (
        "faster",
        "no difference shown",
        "no difference shown",
    )
    assert row.p95.high == pytest.approx(-1 + np.hypot(0.1, 0.2))
    assert row.throughput_per_s.word == "fewer"
    assert found.only_a == ((COLD, 1),)
    assert found.only_b == ((HYBRID, 32),)
    assert found.notes == ()
    document = json.loads(export.comparison_to_json(found))
    assert document["rows"][0]["p95"] == asdict(row.p95)
    assert document["rows"][0]["setting"]["strategy"] == "hybrid"
    assert document["only_b"][0][1] == 32
    assert document["a"]["at"] == a.at.isoformat()


def test_what_else_differs_is_said(make_run):
    a = make_run()
    b = make_run(
        gallery_templates=90,
        machine=replace(a.machine, cores=4),
        request=replace(a.request, seed=5, probes=ProbeSource(ProbeKind.RECENT)),
        complete=False,
    )
    said = " ".join(compare(a, b).notes)
    for word in ("machines", "9 templates against 90", "seeds", "kinds", "time limit"):
        assert word in said


# ---------------------------------------------------------------- exports


def test_csv_and_json_hold_the_same_numbers(make_run):
    run = make_run(name="=1+1", rows=(measured(HYBRID), measured(COLD, 8, p99=None)))
    table = list(csv.DictReader(io.StringIO(export.to_csv(run))))
    document = json.loads(export.to_json(run))
    assert [row["concurrency"] for row in table] == ["1", "8"]
    for line, row in zip(table, document["rows"], strict=True):
        assert float(line["p95_ms"]) == row["p95"]["value"]
        assert float(line["p95_ms_low"]) == row["p95"]["low"]
        assert float(line["recall_at_1"]) == row["recall_at_1"]["value"]
        assert line["strategy"] == row["setting"]["strategy"]
        assert line["seed"] == str(document["request"]["seed"])
    assert table[1]["p99_ms"] == ""
    assert table[0]["run"] == "'=1+1", "a spreadsheet must not run it"


class Seen(HTMLParser):
    def __init__(self):
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []

    def handle_starttag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))


def test_the_report_needs_nothing_else_and_escapes_what_people_typed(make_run):
    run = make_run(
        name='<script>alert("x")</script>',
        rows=(
            measured(HYBRID),
            measured(COLD),
            measured(HYBRID, 8),
            measured(COLD, 8, p95=None, failures={"busy": 3}),
        ),
        request=RunRequest((HYBRID, COLD), concurrencies=(1, 8), threshold=0.4),
        notes=("a < b",),
    )
    before, script, after = to_html(run).partition(get_plotlyjs())
    assert script
    text = before + after
    seen = Seen()
    seen.feed(text)
    tags = {tag for tag, _ in seen.tags}
    assert not tags & {"link", "img", "iframe", "object"}
    assert not any({"src", "href", "onload", "onclick"} & attrs.keys() for _, attrs in seen.tags)
    assert not re.search(r"https?:|url\(|@import", text)
    assert "<script>alert" not in text
    assert "&lt;script&gt;" in text
    assert "a &lt; b" in text
    assert "prefers-color-scheme: dark" in text
    assert text.count("Plotly.newPlot(") == 7, "three figures for each concurrency, and throughput"
    assert "busy ×3" in text
    assert "nan" not in text.lower().replace("finance", "")


def test_a_report_of_next_to_nothing_stands(make_run):
    bare = measured(
        COLD, n=0, p50=None, p95=None, p99=None, throughput_per_s=None, recall_at_1=None, agreement=None
    )
    bare = replace(bare, latency=replace(bare.latency, ms=(), share=()), stages={}, sources={})
    assert "Qdrant only" in to_html(make_run(rows=(bare,), request=RunRequest((COLD,), threshold=0.4)))


# ---------------------------------------------------------------- using, tracing


def test_using_a_setting_is_what_tuning_takes(service, make_run):
    fill(service, 3)
    setting = Setting(Strategy.FAISS_FIRST, 0.1, "IVF", 9, 77)
    step = service.tuning.tune(changes_of(setting), "measured")
    tuning = service.tuning.now
    assert (tuning.strategy, tuning.index_type, tuning.nprobe, tuning.search_ef) == (
        Strategy.FAISS_FIRST,
        "IVF",
        9,
        77,
    )
    service.tuning.undo(step.id)
    assert service.tuning.now.strategy is Strategy.HYBRID
    assert changes_of(COLD).keys() == {"strategy", "search_ef"}
    said = caveats_of(setting, make_run(gallery_templates=50))
    assert any("FAISS_CACHE_SIZE" in sentence and "5" in sentence for sentence in said)
    assert not any("FAISS_CACHE_SIZE" in sentence for sentence in caveats_of(HYBRID, make_run()))
    assert full(setting) == "Cache first · 10% cached · IVF · nprobe 9 · ef 77"
    assert full(COLD) == "Qdrant only · ef 128"
    assert full(setting) in to_html(
        make_run(rows=(measured(setting),), request=RunRequest((setting,), threshold=0.4))
    )


def test_one_face_through_every_strategy_with_a_timeline(service):
    gallery = fill(service, 6)
    traced = trace(service, gallery[2, 0], detect_ms=5.0, embed_ms=6.0)
    assert set(traced.searches) == set(Strategy)
    for strategy, one in traced.searches.items():
        assert one.result.best.user_id == "p2"
        names = [span.stage for span in one.spans]
        assert names[:2] == ["detect", "embed"]
        assert ("hot" in names) == (strategy is not Strategy.QDRANT_ONLY)
        assert ("cold" in names) == (strategy is Strategy.QDRANT_ONLY), "the cache has everybody"
        assert {"merge", "join"} <= set(names)
        starts = [span.start_ms for span in one.spans]
        assert starts == sorted(starts)
        assert (starts[1], starts[2]) == (5.0, 11.0)
        last = max(span.start_ms + span.duration_ms for span in one.spans)
        assert last <= one.total_ms + 0.01
    document = json.loads(export.traced_to_json(traced))["searches"]
    for strategy, one in traced.searches.items():
        told = document[strategy.value]
        assert [span["duration_ms"] for span in told["spans"]] == [span.duration_ms for span in one.spans]
        assert told["candidates"][0]["similarity"] == one.result.best.similarity
    assert "p2" not in json.dumps(document)
    assert "Person" not in json.dumps(document)
    assert service.metrics.snapshot().hit_rate.queries == 0


def test_a_strategy_that_cannot_answer_leaves_the_others_theirs(service, monkeypatch):
    gallery = fill(service, 3)
    traced_by = HybridVectorStore.trace

    def away(self, probe, *, strategy, **asked):
        if strategy is Strategy.QDRANT_ONLY:
            raise Unavailable("search_unavailable", "No vector tier can answer.")
        return traced_by(self, probe, strategy=strategy, **asked)

    monkeypatch.setattr(HybridVectorStore, "trace", away)
    traced = trace(service, gallery[0, 0])
    assert traced.searches[Strategy.QDRANT_ONLY].error.code == "search_unavailable"
    assert traced.searches[Strategy.QDRANT_ONLY].spans == ()
    document = json.loads(export.traced_to_json(traced))["searches"]
    assert document["qdrant_only"]["error"] == "search_unavailable"
    assert traced.searches[Strategy.HYBRID].result.best.user_id == "p0"
    with pytest.raises(BadInput):
        trace(service, np.zeros(128, np.float32))
