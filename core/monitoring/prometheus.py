"""How Robi stands at the moment of a Prometheus scrape. What cannot be read then has no sample.

A figure that is kept between scrapes would outlive what it is about: a card that is gone has no temperature.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Literal, NamedTuple

from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from core import __version__
from core.domain.system import ServerState
from core.metrics.gauges import COMPARISONS, LIVE_SESSIONS
from core.monitoring.snapshot import SystemSnapshot
from core.runtime.hardware import Cards

_MB = 1 << 20
STATUSES = ("green", "yellow", "grey", "red")  # of a Qdrant collection


class MetricSample(NamedTuple):
    """One value of a metric; `labels` in the order of its family."""

    name: str
    value: float
    labels: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Family:
    """A metric: names follow the Prometheus conventions (base units, `_total` for counters)."""

    help: str
    labels: tuple[str, ...] = ()
    kind: Literal["gauge", "counter"] = "gauge"


FAMILIES = {
    "robi_build_info": Family("Always 1.", ("version", "pack", "provider")),
    "robi_people": Family("People enrolled."),
    "robi_templates": Family("Templates enrolled."),
    "robi_ledger_writable": Family(
        "1 if the ledger can be read and written, 0 if it or a full disk refuses."
    ),
    "robi_disk_free_bytes": Family("Room on the disk of the data directory."),
    "robi_tier_up": Family("1 if searches can ask the tier.", ("tier",)),
    "robi_tier_in_step": Family("1 if the tier had applied every change when last looked at.", ("tier",)),
    "robi_tier_templates": Family("Templates in the tier.", ("tier",)),
    "robi_tier_lag_changes": Family("Changes not applied yet.", ("tier",)),
    "robi_tier_coverage_ratio": Family("Share of the gallery's templates in the tier.", ("tier",)),
    "robi_tier_warming": Family("1 while the tier is being loaded.", ("tier",)),
    "robi_tier_drift_templates": Family(
        "Templates by which the tier differed from the ledger at the last comparison; they were put right.",
        ("tier", "kind"),
    ),
    "robi_tier_compared_timestamp_seconds": Family("When that comparison was, Unix time.", ("tier",)),
    "robi_qdrant_node_up": Family("1 if the node of the Qdrant server answers.", ("node",)),
    "robi_qdrant_replicas": Family("Copies of parts of the collection.", ("node", "state")),
    "robi_qdrant_transfers": Family("Parts on their way from one node to another."),
    "robi_qdrant_unindexed_vectors": Family("Vectors that Qdrant's graph does not have yet."),
    "robi_qdrant_status": Family("1 for the colour that the collection has.", ("status",)),
    "robi_hot_bytes": Family("Memory of the hot tier."),
    "robi_hot_capacity_templates": Family("Most templates that the hot tier holds; 0 when it is off."),
    "robi_queue_depth": Family("Probes that wait.", ("queue",)),
    "robi_queue_batches_total": Family("Batches searched for.", ("queue",), "counter"),
    "robi_queue_probes_total": Family("Probes in those batches.", ("queue",), "counter"),
    "robi_live_sessions": Family("Cameras in use."),
    "robi_comparisons_running": Family("1 while search settings are being compared."),
    "robi_cache_queries_total": Family("Searches that asked the hot tier.", (), "counter"),
    "robi_cache_matches_total": Family("Of these, the ones with an accepted match.", (), "counter"),
    "robi_cache_hits_total": Family("Of these matches, the ones found in the hot tier.", (), "counter"),
    "robi_cache_alone_total": Family("Searches that faiss_first left to the hot tier.", (), "counter"),
    "robi_cache_wrong_top1_total": Family(
        "Searches whose best person was another one than the hot tier's.", (), "counter"
    ),
    "robi_gpu_expected": Family("1 if the part is to run on a GPU.", ("part",)),
    "robi_gpu_active": Family("1 if it does.", ("part",)),
    "robi_gpu_up": Family("1 if the card answers, 0 if it did before.", ("gpu",)),
    "robi_gpu_utilization_ratio": Family("Share of the time that the card worked.", ("gpu",)),
    "robi_gpu_memory_used_bytes": Family("Memory in use on the card.", ("gpu",)),
    "robi_gpu_memory_bytes": Family("Memory of the card.", ("gpu",)),
    "robi_gpu_temperature_celsius": Family("Temperature of the card.", ("gpu",)),
    "robi_gpu_power_watts": Family("Power that the card draws.", ("gpu",)),
}


def text(counted: CollectorRegistry, found: Iterable[MetricSample]) -> bytes:
    """The text exposition. Scrapes at the same time do not see each other's samples."""
    standing = CollectorRegistry()
    standing.register(_Once(found))
    return generate_latest(counted) + generate_latest(standing)


class _Once(Collector):
    """The samples of one scrape."""

    def __init__(self, samples: Iterable[MetricSample]) -> None:
        self._samples = tuple(samples)

    def collect(self) -> Iterator[Metric]:
        yield from families(self._samples)


def samples(seen: SystemSnapshot) -> Iterator[MetricSample]:
    """Everything that could be read."""
    yield from of_cards(seen.cards)
    for name in (LIVE_SESSIONS, COMPARISONS):
        yield MetricSample(f"robi_{name}", seen.watched.get(name, 0))
    if seen.server is not None:
        yield from of_server(seen.server)
    for part in (_build, _ledger, _tiers, _drifts, _hot, _queues, _accelerated):
        yield from part(seen)


def families(found: Iterable[MetricSample]) -> Iterator[Metric]:
    """The samples as Prometheus knows them; families without samples are named all the same."""
    made: dict[str, Metric] = {}
    for name, family in FAMILIES.items():
        kind = CounterMetricFamily if family.kind == "counter" else GaugeMetricFamily
        made[name] = kind(name.removesuffix("_total"), family.help, labels=family.labels)
    for sample in found:
        made[sample.name].add_metric(sample.labels, sample.value)  # type: ignore[attr-defined]  # both have it
    yield from made.values()


def _build(seen: SystemSnapshot) -> Iterator[MetricSample]:
    yield MetricSample("robi_build_info", 1, (__version__, seen.faces.pack.id, seen.faces.provider))


def _ledger(seen: SystemSnapshot) -> Iterator[MetricSample]:
    ledger = seen.ledger
    if ledger.counts is not None:
        yield MetricSample("robi_people", ledger.counts.people)
        yield MetricSample("robi_templates", ledger.counts.templates)
    yield MetricSample("robi_disk_free_bytes", ledger.free_bytes)
    writable = ledger.counts is not None and not ledger.disk_is_full and ledger.refusal is None
    yield MetricSample("robi_ledger_writable", writable)


def _tiers(seen: SystemSnapshot) -> Iterator[MetricSample]:
    for tier in seen.tiers:
        label = (tier.name,)
        yield MetricSample("robi_tier_up", tier.answers, label)
        yield MetricSample("robi_tier_templates", tier.templates, label)
        yield MetricSample("robi_tier_warming", tier.progress is not None, label)
        if seen.lag_is_known:
            yield MetricSample("robi_tier_in_step", tier.ok and not tier.lag, label)
            yield MetricSample("robi_tier_lag_changes", tier.lag, label)
            yield MetricSample("robi_tier_coverage_ratio", tier.coverage, label)


def _drifts(seen: SystemSnapshot) -> Iterator[MetricSample]:
    for name, drift in seen.drifts.items():
        if drift is not None:
            yield MetricSample("robi_tier_drift_templates", drift.missing, (name, "missing"))
            yield MetricSample("robi_tier_drift_templates", drift.extra, (name, "extra"))
            yield MetricSample("robi_tier_compared_timestamp_seconds", drift.at.timestamp(), (name,))


def _hot(seen: SystemSnapshot) -> Iterator[MetricSample]:
    hot, served = seen.hot, seen.cache
    yield MetricSample("robi_hot_bytes", hot.memory_bytes if hot else 0)
    yield MetricSample("robi_hot_capacity_templates", hot.capacity if hot else 0)
    yield MetricSample("robi_cache_queries_total", served["queries"])
    yield MetricSample("robi_cache_matches_total", served["accepted"])
    yield MetricSample("robi_cache_hits_total", served["winner_hot"])
    yield MetricSample("robi_cache_alone_total", served["skipped_cold"])
    yield MetricSample("robi_cache_wrong_top1_total", served["wrong_top1"])


def _queues(seen: SystemSnapshot) -> Iterator[MetricSample]:
    for name, load in seen.loads.items():
        yield MetricSample("robi_queue_depth", load.queued, (name,))
        yield MetricSample("robi_queue_batches_total", load.batches, (name,))
        yield MetricSample("robi_queue_probes_total", load.rows, (name,))


def _accelerated(seen: SystemSnapshot) -> Iterator[MetricSample]:
    """Of face models and FAISS: whether a GPU is to be used, and is. A card lost on the way is expected."""
    faces, hot = seen.faces, seen.hot
    yield MetricSample("robi_gpu_expected", faces.on_gpu or faces.degraded is not None, ("faces",))
    yield MetricSample("robi_gpu_active", faces.on_gpu and not seen.cards.lost, ("faces",))
    yield MetricSample("robi_gpu_expected", hot is not None and hot.wants_gpu, ("faiss",))
    yield MetricSample("robi_gpu_active", hot is not None and hot.on_gpu, ("faiss",))


def of_server(server: ServerState) -> Iterator[MetricSample]:
    for node in server.nodes:
        yield MetricSample("robi_qdrant_node_up", node.answers, (node.url,))
    if server.status is None or not any(node.answers for node in server.nodes):
        return  # how it was before says nothing now
    for (where, state), copies in Counter((one.node, one.state) for one in server.replicas).items():
        yield MetricSample("robi_qdrant_replicas", copies, (where, state))
    yield MetricSample("robi_qdrant_transfers", len(server.transfers))
    yield MetricSample("robi_qdrant_unindexed_vectors", server.unindexed or 0)
    for colour in STATUSES:
        yield MetricSample("robi_qdrant_status", colour == server.status, (colour,))


def of_cards(cards: Cards) -> Iterator[MetricSample]:
    for lost in cards.lost:
        yield MetricSample("robi_gpu_up", 0, (str(lost.index),))
    for card in cards.gpus:
        figures = {
            "robi_gpu_utilization_ratio": _scaled(card.utilisation_percent, 0.01),
            "robi_gpu_memory_used_bytes": _scaled(card.memory_used_mb, _MB),
            "robi_gpu_memory_bytes": _scaled(card.memory_total_mb, _MB),
            "robi_gpu_temperature_celsius": card.temperature_c,
            "robi_gpu_power_watts": card.power_w,
        }
        yield MetricSample("robi_gpu_up", 1, (str(card.index),))
        for name, value in figures.items():
            if value is not None:
                yield MetricSample(name, value, (str(card.index),))


def _scaled(value: float | None, factor: float) -> float | None:
    return None if value is None else value * factor
