"""Section 5: what the product says about itself, against what was done to it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from typing import Any

from prometheus_client.parser import text_string_to_metric_families

from core.domain.search import Strategy
from core.metrics import WINDOW_S
from tests.hybrid.beginning import everything, uneven
from tests.hybrid.people import EACH
from tests.hybrid.report import Section, none, same
from tests.hybrid.run import Run

REMEMBERED = 4096  # latest searches of a strategy that /stats counts, of the last minutes

Samples = Mapping[tuple[str, ...], float]
"""Prometheus samples by name and label values, sorted."""


def statistics(run: Run) -> Section:
    """Counted by the suite, and by the product in each place where it shows numbers."""
    service, account = run.service, run.account
    stats, cold = service.monitor.stats(), service.store.cold_info()
    samples = _samples(service.monitor.prometheus())
    shown, health = stats["hit_rate"], service.monitor.health()
    people = {"people": len(account.names), "templates": account.templates()}
    return Section(
        "Statistics",
        (
            same("The product is healthy after all that", "ok", health.status),
            none("The ledger holds exactly who should be there, by their last names", _wrong_people(run)),
            none("Both tiers hold every template, and nothing else", uneven(run)),
            same("/stats counts people and templates", people, stats["gallery"]),
            none("/stats counts the searches of each strategy", list(_miscounted(run, stats))),
            same("/stats counts the queries that asked the cache", account.hot["queries"], shown["queries"]),
            same("/stats gives the cache hit rate", _hit_rate(run), shown["hit_rate"]),
            same("/stats counts no error", {}, stats["errors"]),
            same("No search failed", 0.0, stats["error_rate"]),
            none("The store's own metrics are the numbers of /stats", _differing(run, stats)),
            same("Qdrant's performance counts every point", account.templates(), cold["points"]),
            same("Qdrant's performance shows no lag", 0, cold["seq_lag"]),
            none("The events tell of every enrollment, renaming and erasure", _untold(run)),
            none("Prometheus gets the same numbers", list(_contradicted(run, samples))),
        ),
        _figures(run, stats, cold),
        _table(run, stats, samples),
    )


def _samples(text: bytes) -> Samples:
    return {
        (sample.name, *sorted(sample.labels.values())): sample.value
        for family in text_string_to_metric_families(text.decode())
        for sample in family.samples
    }


def _wrong_people(run: Run) -> list[str]:
    """Who is missing, should be gone, or has another name or number of templates."""
    kept = Counter((template.user_id, template.name) for template in everything(run))
    wanted = dict.fromkeys(run.account.names.items(), EACH)
    return [user_id for (user_id, _), _ in kept.items() ^ wanted.items()]


def _miscounted(run: Run, stats: Mapping[str, Any]) -> Iterator[str]:
    """Strategies that /stats counts otherwise; it may have forgotten old searches, but invent none."""
    for strategy in Strategy:
        done, shown = run.account.count(strategy), stats["latency"]["by_strategy"][strategy]["count"]
        forgotten = done > REMEMBERED or stats["uptime_s"] > WINDOW_S
        if shown > done or (shown < done and not forgotten):
            yield f"{strategy} {shown} instead of {done}"


def _hit_rate(run: Run) -> float | None:
    hot = run.account.hot
    return round(hot["winner_hot"] / hot["accepted"], 4) if hot["accepted"] else None


def _differing(run: Run, stats: Mapping[str, Any]) -> list[str]:
    """Parts of the store's own dict that /stats shows otherwise; latencies of a moment apart may differ."""
    own = run.service.store.get_performance_metrics()
    steady = ("gallery", "follower_lag", "hit_rate", "errors", "error_rate", "queues")
    parts = [name for name in steady if own[name] != stats[name]]
    counted = [{s: row["count"] for s, row in d["latency"]["by_strategy"].items()} for d in (own, stats)]
    return parts + ([] if counted[0] == counted[1] else ["latency"])


def _untold(run: Run) -> list[str]:
    since = datetime.fromtimestamp(0, UTC)
    told = {kind: run.service.ledger.events.count(kind, since) for kind in ("enrolled", "renamed", "erased")}
    return [
        f"{told[kind]} {kind} instead of {run.account.done[kind]}"
        for kind in told
        if told[kind] != run.account.done[kind]
    ]


def _contradicted(run: Run, samples: Samples) -> Iterator[str]:
    for name, value in _expected(run).items():
        if samples.get(name, 0.0) != value:
            yield f"{' '.join(name)} {samples.get(name)} instead of {value}"
    for strategy in Strategy:
        if (counted := _searched(samples, strategy)) != run.account.count(strategy):
            yield f"robi_search_seconds_count {strategy} {counted} instead of {run.account.count(strategy)}"
    yield from (" ".join(name) for name, value in samples.items() if name[0] == "robi_errors_total" and value)


def _searched(samples: Samples, strategy: Strategy) -> float:
    """Timed searches of a strategy, whichever objective they count for."""
    timed = (
        value
        for name, value in samples.items()
        if name[0] == "robi_search_seconds_count" and strategy in name
    )
    return sum(timed)


def _expected(run: Run) -> Samples:
    """Every number that the suite knows as well as the product."""
    account = run.account
    held = {tier.name: tier.templates for tier in run.service.store.states()}
    return {
        ("robi_people",): len(account.names),
        ("robi_templates",): account.templates(),
        ("robi_stage_seconds_count", "enroll"): account.done["enrolled"],
        **{("robi_searches_total", *sorted(labels)): number for labels, number in account.searches.items()},
        **{("robi_tier_templates", tier): number for tier, number in held.items()},
        **{("robi_tier_up", tier): 1 for tier in held},
        **{("robi_tier_lag_changes", tier): 0 for tier in held},
    }


def _figures(run: Run, stats: Mapping[str, Any], cold: Mapping[str, Any]) -> Mapping[str, Any]:
    return {
        "done": dict(run.account.done),
        "searches": {strategy: run.account.count(strategy) for strategy in Strategy},
        "gallery": stats["gallery"],
        "tiers": stats["tiers"],
        "hit_rate": stats["hit_rate"],
        "latency": stats["latency"],
        "throughput": stats["throughput"],
        "qdrant": dict(cold),
        "memory": stats["memory"],
    }


def _table(run: Run, stats: Mapping[str, Any], samples: Samples) -> tuple[tuple[str, ...], ...]:
    """The main numbers three times: as done, as on /stats, as in the Prometheus text."""
    rows: list[tuple[object, ...]] = [
        ("people", len(run.account.names), stats["gallery"]["people"], samples["robi_people",]),
        ("templates", run.account.templates(), stats["gallery"]["templates"], samples["robi_templates",]),
    ]
    for strategy in Strategy:
        shown = stats["latency"]["by_strategy"][strategy]["count"]
        counted = _searched(samples, strategy)
        rows.append((f"searches, {strategy}", run.account.count(strategy), shown, counted))
    return (
        ("number", "done", "/stats, latest", "/metrics"),
        *((str(name), *(f"{value:g}" for value in values)) for name, *values in rows),
    )
