"""A snapshot and what was measured, as `/stats` and the recorder tell of them."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from core.domain.json_values import JsonObject, json_object, json_ready
from core.domain.system import TierState
from core.metrics import gauges
from core.metrics.gauges import GaugeKey
from core.metrics.ranges import RangeFigures
from core.metrics.slow import SlowRequest
from core.monitoring.snapshot import SystemSnapshot
from core.runtime.hardware import Cards, Gpu
from core.store.performance import StoreFigures, hot_memory, store_json
from core.store.search.batching import Load


@dataclass(frozen=True, slots=True, eq=False)
class Report:
    """How everything stands, and what was measured in a range: what the monitoring page draws."""

    seen: SystemSnapshot
    measured: RangeFigures
    slow: tuple[SlowRequest, ...]  # the slowest first


def stats_json(report: Report, store: StoreFigures) -> JsonObject:
    """The answer of `/stats`; `store` is of the same snapshot."""
    seen, measured = report.seen, report.measured
    return {
        **store_json(store),
        **json_object(measured),
        "objectives": json_ready(measured.window.objectives),
        "slow": json_ready(report.slow),
        **_machine(seen, hot_memory(store)),
        **_gpus(seen),
        **seen.watched,
        "faces": {
            "pack": seen.faces.pack.id,
            "provider": seen.faces.provider,
            "dimension": seen.faces.pack.dimension,
            "licence": seen.faces.pack.licence,
        },
    }


def _machine(seen: SystemSnapshot, hot: dict[str, int]) -> JsonObject:
    machine = seen.machine
    return {
        "memory": {
            "rss_mb": machine.rss_mb,
            "children_mb": machine.children_mb,
            "available_mb": machine.available_mb,
            "total_mb": machine.total_mb,
            **hot,
        },
        "cpu": {
            "percent": machine.cpu_percent,
            "process_percent": machine.process_percent,
            "cores": machine.cores,
        },
    }


def _gpus(seen: SystemSnapshot) -> JsonObject:
    return {
        "gpu": _gpu(seen),
        "gpus": json_ready(seen.cards.gpus),
        "lost_gpus": [{**json_object(lost), "sentence": lost.sentence} for lost in seen.cards.lost],
    }


def _gpu(seen: SystemSnapshot) -> JsonObject:
    """The card in use, or why there is none: never zeros that look like an idle one."""
    if seen.gpu is not None:
        return {"available": True, "lost": False, "reason": None, **json_object(seen.gpu)}
    return {
        "available": False,
        "lost": seen.lost_gpu is not None,
        "name": None,
        "reason": seen.why_no_gpu,
    }


class Gauges:
    """The figures of snapshots as the recorder keeps them: those of what is there."""

    def __init__(self) -> None:
        self._loads: dict[str, Load] = {}

    def of(self, seen: SystemSnapshot) -> dict[GaugeKey, float]:
        machine = seen.machine
        load = {gauges.CPU: machine.cpu_percent, gauges.PROCESS: machine.process_percent}
        return {
            **{GaugeKey(name): percent for name, percent in load.items() if percent is not None},
            GaugeKey(gauges.RSS): machine.rss_mb,
            GaugeKey(gauges.CHILDREN): machine.children_mb,
            **{GaugeKey(name): figure for name, figure in seen.watched.items()},
            **dict(_of_gpus(seen.cards)),
            **dict(self._of_queues(seen)),
            **dict(_of_tiers(seen.tiers, seen.lag_is_known)),
        }

    def _of_queues(self, seen: SystemSnapshot) -> Iterator[tuple[GaugeKey, float]]:
        for name, load in seen.loads.items():
            before = self._loads.get(name, Load(0, 0, 0))
            self._loads[name] = load
            yield GaugeKey(gauges.QUEUED, name), load.queued
            if load.batches > before.batches:
                mean = (load.rows - before.rows) / (load.batches - before.batches)
                yield GaugeKey(gauges.BATCH, name), mean


def _of_tiers(tiers: tuple[TierState, ...], lag_is_known: bool) -> Iterator[tuple[GaugeKey, float]]:
    for tier in tiers:
        if tier.kind == "off":
            continue
        yield GaugeKey(gauges.TEMPLATES, tier.name), tier.templates
        if lag_is_known:
            yield GaugeKey(gauges.LAG, tier.name), tier.lag
            yield GaugeKey(gauges.COVERAGE, tier.name), tier.coverage


def _of_gpus(cards: Cards) -> Iterator[tuple[GaugeKey, float]]:
    for card in cards.gpus:
        for what, value in _figures(card):
            if value is not None:
                yield GaugeKey(what, str(card.index)), value


def _figures(card: Gpu) -> tuple[tuple[str, float | None], ...]:
    return (
        (gauges.UTILISATION, card.utilisation_percent),
        (gauges.MEMORY_USED, card.memory_used_mb),
        (gauges.TEMPERATURE, card.temperature_c),
        (gauges.POWER, card.power_w),
    )
