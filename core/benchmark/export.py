"""Runs to take away, as a table or a document."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Iterator
from dataclasses import asdict
from datetime import datetime

from core.benchmark.documents import document_of
from core.benchmark.model import Comparison, Measurement, Run, Traced, TracedSearch
from core.domain.json_values import JsonObject

STAGES = ("hot", "cold", "merge", "join")
SOURCES = ("faiss", "qdrant", "both")
ESTIMATES = (
    "p50",
    "p95",
    "p99",
    "throughput_per_s",
    "recall_at_1",
    "recall_at_5",
    "agreement",
    "wrong_cache_top1",
)
FORMULA = ("=", "+", "-", "@", "\t", "\r")  # how a cell begins that a spreadsheet would run


def to_json(run: Run) -> str:
    """All that is kept of a run."""
    return json.dumps(document_of(run), indent=1, ensure_ascii=False, allow_nan=False)


def comparison_to_json(found: Comparison) -> str:
    """Two runs side by side, with every difference and its interval."""
    return json.dumps(
        asdict(found), indent=1, ensure_ascii=False, allow_nan=False, default=datetime.isoformat
    )


def traced_to_json(traced: Traced) -> str:
    """One photo by each strategy: times and similarities, nobody's name or ID."""
    by = {strategy.value: _traced(search) for strategy, search in traced.searches.items()}
    return json.dumps({"searches": by}, indent=1, allow_nan=False)


def to_csv(run: Run) -> str:
    """One line for each setting and concurrency, with what the whole run has in common on every line."""
    lines = [dict(_cells(run, row)) for row in run.rows]
    out = io.StringIO()
    writer = csv.DictWriter(out, fieldnames=list(lines[0]) if lines else ["run"], lineterminator="\n")
    writer.writeheader()
    writer.writerows(lines)
    return out.getvalue()


def _traced(search: TracedSearch) -> JsonObject:
    found = search.result
    return {
        "total_ms": search.total_ms,
        "spans": [asdict(span) for span in search.spans],
        "error": search.error.code if search.error else None,
        "decision": found.decision.value if found else None,
        "threshold": found.threshold if found else None,
        "candidates": [
            {"similarity": one.similarity, "source": one.source.value}
            for one in (found.candidates if found else ())
        ],
    }


def _cells(run: Run, row: Measurement) -> Iterator[tuple[str, object]]:
    yield "run", f"'{run.name}" if run.name.startswith(FORMULA) else run.name
    yield "at", run.at.isoformat()
    yield "complete", run.complete
    yield "templates", run.gallery_templates
    yield "people", run.gallery_people
    yield "dimension", run.dimension
    yield "pack", run.pack
    yield "cores", run.machine.cores
    yield "machine", run.machine.platform
    yield "seed", run.request.seed
    yield "k", run.request.k
    yield "threshold", run.request.threshold
    setting = row.setting
    yield "strategy", setting.strategy.value
    yield "coverage", setting.coverage
    yield "index_type", setting.index_type
    yield "nprobe", setting.nprobe
    yield "search_ef", setting.search_ef
    yield "index", row.hot_kind
    yield "index_templates", row.hot_templates
    yield "memory_bytes", row.memory_bytes
    yield "concurrency", row.concurrency
    yield "searches", row.n
    yield "failures", sum(row.failures.values())
    for name in ESTIMATES:
        estimate = getattr(row, name)
        unit = f"{name}_ms" if name in ("p50", "p95", "p99") else name
        yield unit, None if estimate is None else round(estimate.value, 6)
        yield f"{unit}_low", None if estimate is None or estimate.low is None else round(estimate.low, 6)
        yield f"{unit}_high", None if estimate is None or estimate.high is None else round(estimate.high, 6)
    for name in STAGES:
        yield f"{name}_mean_ms", round(row.stages[name], 6) if name in row.stages else None
    for name in SOURCES:
        yield f"source_{name}", round(row.sources.get(name, 0.0), 6)
