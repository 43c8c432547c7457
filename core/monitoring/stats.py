"""A snapshot as `/stats` and the pages tell it: JSON-ready, with the figures of a range beside it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict
from typing import Any

from core.domain.system import TierState
from core.monitoring.snapshot import SystemSnapshot
from core.runtime.hardware import Gpu
from core.store.search.batching import Load

_GPU_GAUGES = ("utilisation_percent", "memory_used_mb", "temperature_c", "power_w")


def told(seen: SystemSnapshot) -> dict[str, Any]:
    """Hardware, face models and what is watched; what the store says of itself is not here."""
    machine, pack = seen.machine, seen.faces.pack
    return {
        "memory": {
            "rss_mb": machine.rss_mb,
            "children_mb": machine.children_mb,
            "available_mb": machine.available_mb,
            "total_mb": machine.total_mb,
        },
        "cpu": {
            "percent": machine.cpu_percent,
            "process_percent": machine.process_percent,
            "cores": machine.cores,
        },
        "gpu": gpu(seen),
        "gpus": [asdict(card) for card in seen.cards.gpus],
        "lost_gpus": [
            {**asdict(lost), "since": lost.since.isoformat(), "sentence": lost.sentence}
            for lost in seen.cards.lost
        ],
        **seen.watched,
        "faces": {
            "pack": pack.id,
            "provider": seen.faces.provider,
            "dimension": pack.dimension,
            "licence": pack.licence,
        },
    }


def gpu(seen: SystemSnapshot) -> dict[str, Any]:
    """The card in use, or why there is none: never zeros that look like an idle one."""
    if seen.gpu is not None:
        return {"available": True, "lost": False, "reason": None, **asdict(seen.gpu)}
    lost = next((card.sentence for card in seen.cards.lost if card.index == seen.wanted_gpu), None)
    reason = lost or seen.cards.reason or f"CPU mode: there is no GPU {seen.wanted_gpu}."
    return {"available": False, "lost": lost is not None, "name": None, "reason": reason}


class Gauges:
    """The figures of snapshots as the recorder keeps them: by name, those of what is there."""

    def __init__(self) -> None:
        self._loads: dict[str, Load] = {}

    def of(self, seen: SystemSnapshot) -> dict[str, float]:
        machine = seen.machine
        load = {"cpu_percent": machine.cpu_percent, "process_percent": machine.process_percent}
        return {
            **{name: percent for name, percent in load.items() if percent is not None},
            "rss_mb": machine.rss_mb,
            "children_mb": machine.children_mb,
            **seen.watched,
            **dict(_of_gpus(seen.cards.gpus)),
            **dict(self._of_queues(seen)),
            **dict(_of_tiers(seen.tiers, seen.lag_is_known)),
        }

    def _of_queues(self, seen: SystemSnapshot) -> Iterator[tuple[str, float]]:
        for name, load in seen.loads.items():
            before = self._loads.get(name, Load(0, 0, 0))
            self._loads[name] = load
            yield f"queued.{name}", load.queued
            if load.batches > before.batches:
                yield f"batch.{name}", (load.rows - before.rows) / (load.batches - before.batches)


def _of_tiers(tiers: tuple[TierState, ...], lag_is_known: bool) -> Iterator[tuple[str, float]]:
    for tier in tiers:
        if tier.kind == "off":
            continue
        yield f"templates.{tier.name}", tier.templates
        if lag_is_known:
            yield f"lag.{tier.name}", tier.lag
            yield f"coverage.{tier.name}", tier.coverage


def _of_gpus(gpus: tuple[Gpu, ...]) -> Iterator[tuple[str, float]]:
    for card in gpus:
        for name in _GPU_GAUGES:
            if (value := getattr(card, name)) is not None:
                yield f"gpu.{card.index}.{name}", value
