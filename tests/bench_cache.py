"""Which people belong in a cache that is smaller than the gallery: policies replayed on one synthetic trace.

    python tests/bench_cache.py [people] [days] [queries a day] [seed]

The trace: people have popularities by Zipf's law and work one of three shifts; each camera has regulars. A
probe is a stranger, somebody who was seen within the last minutes, a regular of the camera, or anybody by
popularity, mostly of the shift on duty. Every day some regulars are replaced and some popularities swapped.

What came of it with room for a fifth of the people: LRU hits 59 % and LFU 70 % with any half-life from one
day, so LFU with three days is the default. Eight-bit codes would hit 96 %, with four times as many people in
the same memory and the same best template for all probes; the product keeps float32, which makes its answers
exact, and lets the cache grow with the memory. Fetching people before their hour lifts LRU to 80 % and LFU
not at all, for three times as much reading: not kept, as it rests on shifts that the trace made strict.

The product's own scores and evictions decide who stays. The last columns need vectors: at misses, how often
the best person in the cache would have been accepted, so that `faiss_first` names the wrong one.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import faiss
import numpy as np
from numpy.typing import NDArray

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from core.domain.faces import Embeddings
from core.store.tiers.faiss.eviction import EvictionPolicy, Frequency, Recency, leaving

CAMERAS = 40
REGULARS = 150  # of a camera
ZIPF = 0.9
STRANGERS, REPEATED, REGULAR, ON_DUTY = 0.15, 0.10, 0.45, 0.8  # shares; the rest is anybody
RECENT = 50  # people who may be seen again within minutes
REPLACED = 0.03  # of a camera's regulars, and of all popularities, every day
SHIFTS = (0.5, 0.35, 0.15)  # shares of people who work from 6, 14 and 22 o'clock
HOURS = np.array([1, 1, 1, 1, 1, 2, 6, 9, 8, 6, 6, 7, 8, 6, 7, 6, 6, 7, 5, 4, 3, 3, 2, 1], float)
WARM_DAYS = 3  # that count for nobody
CACHE = 0.2  # of the people
EVICT_SHARE = 20  # as in the product
EACH, DIMENSION, SIMILARITY = 5, 128, 0.72
THRESHOLD, MARGIN = 0.40, 0.05
LOOKED_AT = 1000  # misses whose vectors are compared
PREFETCHED = 50  # people of each camera, every hour
DAY_S, HOUR_S = 86_400.0, 3_600.0

Numbers = NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class Trace:
    times: NDArray[np.float64]  # seconds, ascending
    cameras: Numbers
    people: Numbers  # from 1; 0 is a stranger


def trace_of(random: np.random.Generator, people: int, days: int, a_day: int) -> Trace:
    shift = random.choice(3, people + 1, p=SHIFTS)
    weights = np.concatenate([[0.0], random.permutation(np.arange(1, people + 1) ** -ZIPF)])
    regulars = random.integers(1, people + 1, (CAMERAS, REGULARS))
    recent: list[int] = [1]
    days_of: list[tuple[NDArray[np.float64], Numbers, Numbers]] = []
    for day in range(days):
        hours = random.choice(24, a_day, p=HOURS / HOURS.sum())
        times = np.sort(day * DAY_S + HOUR_S * (hours + random.random(a_day)))
        duty = np.searchsorted([6, 14, 22], times / HOUR_S % 24, side="right") - 1
        cameras = random.integers(0, CAMERAS, a_day)
        anybody = _anybody(random, weights, shift, duty % 3)
        dice = random.random(a_day)
        seen = np.zeros(a_day, np.int64)
        for n in range(a_day):
            if dice[n] < STRANGERS:
                continue
            if dice[n] < STRANGERS + REPEATED:
                seen[n] = recent[random.integers(len(recent))]
            elif dice[n] < STRANGERS + REPEATED + REGULAR:
                crowd = regulars[cameras[n]]
                there = crowd[shift[crowd] == duty[n] % 3]
                seen[n] = random.choice(there) if len(there) else anybody[n]
            else:
                seen[n] = anybody[n]
            recent = [*recent[1 - RECENT :], int(seen[n])]
        days_of.append((times, cameras, seen))
        _drift(random, weights, regulars)
    return Trace(*(np.concatenate(parts) for parts in zip(*days_of, strict=True)))


def _anybody(
    random: np.random.Generator, weights: NDArray[np.float64], shift: Numbers, duty: Numbers
) -> Numbers:
    found = random.choice(len(weights), len(duty), p=weights / weights.sum())
    for one in range(3):
        on_duty = np.where(shift == one, weights, 0.0)
        now = (duty == one) & (random.random(len(duty)) < ON_DUTY)
        found[now] = random.choice(len(weights), int(now.sum()), p=on_duty / on_duty.sum())
    return found


def _drift(random: np.random.Generator, weights: NDArray[np.float64], regulars: Numbers) -> None:
    new = random.random(regulars.shape) < REPLACED
    regulars[new] = random.integers(1, len(weights), int(new.sum()))
    some = random.integers(1, len(weights), int(REPLACED * len(weights)))
    weights[some] = weights[random.permutation(some)]


class Clock:
    now = 0.0

    def __call__(self) -> float:
        return self.now


class Cache:
    """The hot tier without vectors: who is in it."""

    def __init__(self, standing: EvictionPolicy, capacity: int, people: int) -> None:
        self.standing = standing
        self.capacity = capacity
        self.inside = np.zeros(people + 1, bool)
        self.count = 0
        self.brought_in = 0
        self.admit(np.arange(1, capacity + 1))

    def admit(self, people: Numbers) -> None:
        new = people[~self.inside[people]]
        self.inside[new] = True
        self.count += len(new)
        self.brought_in += len(new)
        self.standing.touch(people)
        if self.count > self.capacity:
            held = np.flatnonzero(self.inside)
            go = leaving(held, self.standing, self.count - self.capacity + self.capacity // EVICT_SHARE)
            self.inside[held[go]] = False
            self.count -= int(go.sum())


@dataclass(frozen=True, slots=True)
class Outcome:
    hit_rate: float
    brought_in: int  # people, after the first filling
    misses: list[tuple[int, NDArray[np.bool_]]]  # some of them: who, and who was in the cache


def replay(trace: Trace, cache: Cache, clock: Clock, prefetch: str) -> Outcome:
    random = np.random.default_rng(0)
    groups = CAMERAS if prefetch == "camera" else 1
    likely = np.zeros((groups, 24, len(cache.inside)), np.float32) if prefetch else None
    hits = counted = hour = 0
    misses: list[tuple[int, NDArray[np.bool_]]] = []
    filled = cache.brought_in
    for time, camera, person in zip(trace.times, trace.cameras, trace.people, strict=True):
        clock.now = float(time)
        if likely is not None and time // HOUR_S > hour:
            hour = int(time // HOUR_S)
            _fetch(cache, likely, hour % 24)
        if not person:
            continue
        inside = bool(cache.inside[person])
        if time > WARM_DAYS * DAY_S:
            hits, counted = hits + inside, counted + 1
            if not inside and len(misses) < LOOKED_AT and random.random() < 0.1:
                misses.append((int(person), cache.inside.copy()))
        cache.admit(np.array([person]))
        if likely is not None:
            likely[camera % groups, int(time // HOUR_S) % 24, person] += 1.0
    return Outcome(hits / counted, cache.brought_in - filled, misses)


def _fetch(cache: Cache, likely: NDArray[np.float32], hour: int) -> None:
    """Whoever was seen most at this hour of the days before: by each camera, or by all together."""
    each = CAMERAS * PREFETCHED // len(likely)
    for seen in likely[:, hour]:
        people = np.argpartition(-seen, each)[:each]
        cache.admit(people[seen[people] > 0])
    likely[:, hour] *= 0.5


def wrongly_accepted(misses: list[tuple[int, NDArray[np.bool_]]], vectors: Embeddings) -> float:
    """Share of misses at which the cache's best person would be a match by the rule."""
    random = np.random.default_rng(1)
    wrong = 0
    for person, inside in misses:
        probe = another_look(random, vectors[person, 0][None])[0]
        best = np.sort((vectors[inside] @ probe).max(axis=1))[-2:]
        wrong += best[1] >= THRESHOLD and best[1] - best[0] >= MARGIN
    return wrong / max(1, len(misses))


def faces(random: np.random.Generator, people: int) -> Embeddings:
    """(people + 1, EACH, DIMENSION), SIMILARITY within a person."""
    centers = random.standard_normal((people + 1, 1, DIMENSION), np.float32)
    noise = random.standard_normal((people + 1, EACH, DIMENSION), np.float32)
    rows = centers + noise * np.float32(np.sqrt(1 / SIMILARITY - 1))
    return rows / np.linalg.norm(rows, axis=-1, keepdims=True)


def another_look(random: np.random.Generator, templates: Embeddings) -> Embeddings:
    """Probes at SIMILARITY to these templates."""
    noise = random.standard_normal(templates.shape, np.float32)
    noise -= (noise * templates).sum(axis=1, keepdims=True) * templates
    noise /= np.linalg.norm(noise, axis=1, keepdims=True)
    return (SIMILARITY * templates + np.sqrt(1 - SIMILARITY**2) * noise).astype(np.float32)


def recall_of_8_bit(vectors: Embeddings) -> tuple[float, float]:
    """How often the exact best template is the first, and is among the 18 that a search asks for."""
    random = np.random.default_rng(2)
    rows = vectors[1:].reshape(-1, DIMENSION)
    probes = another_look(random, rows[random.integers(0, len(rows), 1000)])
    index = faiss.index_factory(DIMENSION, "SQ8", faiss.METRIC_INNER_PRODUCT)
    index.train(rows)
    index.add(rows)
    found = index.search(probes, 18)[1]
    exact = faiss.knn(probes, rows, 1, metric=faiss.METRIC_INNER_PRODUCT)[1]
    return float(np.mean(found[:, :1] == exact)), float(np.mean((found == exact).any(axis=1)))


def main(people: int = 20_000, days: int = 10, a_day: int = 10_000, seed: int = 1) -> None:
    random = np.random.default_rng(seed)
    trace = trace_of(random, people, days, a_day)
    vectors = faces(random, people)
    room = int(CACHE * people)
    known = len(np.unique(trace.people)) - 1
    print(f"{people} people, {len(trace.people)} probes in {days} days, {known} people seen, seed {seed}")
    print(f"room for {room} people\n\n{'policy':34}hit rate  brought in  wrong top 1 at misses")
    clock = Clock()
    for name, standing, times, prefetch in rows_of(clock):
        clock.now = 0.0
        outcome = replay(trace, Cache(standing(), times * room, people), clock, prefetch)
        wrong = wrongly_accepted(outcome.misses, vectors)
        print(f"{name:34}{outcome.hit_rate:8.4f}{outcome.brought_in:12}{wrong:23.4f}", flush=True)
    first, among = recall_of_8_bit(vectors)
    print(
        f"\n8-bit codes: the exact best template is first in {first:.3f}, among the first 18 in {among:.3f}"
    )


def rows_of(clock: Clock) -> list[tuple[str, Callable[[], EvictionPolicy], int, str]]:
    """Name, scores, times as much room, and what people are fetched by before they are seen."""

    def lfu(half_life_days: float) -> Callable[[], EvictionPolicy]:
        return lambda: Frequency(half_life_days * DAY_S, clock)

    return [
        ("LRU", Recency, 1, ""),
        *((f"LFU, half-life {days:g} d", lfu(days), 1, "") for days in (0.5, 1, 3, 7, 30)),
        ("LRU, prefetch by hour", Recency, 1, "hour"),
        ("LFU 3 d, prefetch by hour", lfu(3), 1, "hour"),
        ("LRU, prefetch by camera, hour", Recency, 1, "camera"),
        ("LFU 3 d, prefetch by camera, hour", lfu(3), 1, "camera"),
        ("LRU, 8-bit codes", Recency, 4, ""),
        ("LFU 3 d, 8-bit codes", lfu(3), 4, ""),
    ]


if __name__ == "__main__":
    main(*map(int, sys.argv[1:]))
