"""What becomes of 1:N probes at every threshold, by the threshold alone and by Robi's whole decision rule."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from core.calibration.model import Band, Floats, Numbers, Scores
from core.calibration.thresholds import binned, reaching
from core.domain.decisions import TOLERANCE, Rule
from core.domain.statistics import Rates, band, drawn_anew, spread, strangers

NEVER = np.float32(-np.inf)


@dataclass(frozen=True, slots=True, eq=False)
class Probes:
    """Per probe, the threshold up to which something happens to it; `NEVER` when it does at none.

    A probe counts once as a stranger, without its own person in the gallery, and once as somebody known when
    its person has another template. Each array has one entry for every probe, those of known ones one for
    every known probe.
    """

    first: Floats  # the own person comes first and reaches the threshold
    known_matched: Floats  # and leads by the margin
    stranger_matched: Floats  # somebody else reaches it and leads by the margin
    settled: Floats  # known: whoever comes first reaches it and leads by the margin
    top: Floats  # known: whoever comes first reaches it
    person: Numbers
    known_person: Numbers
    others: int  # enrolled when a stranger is searched for
    review_band: float
    thresholds: Rates
    seed: int

    @classmethod
    def of(cls, scores: Scores, rule: Rule, thresholds: Rates) -> Probes:
        probes = scores.open_set
        has_own = ~np.isnan(probes.own)
        own, best, second = probes.own[has_own], probes.best[has_own], probes.second[has_own]
        first, person = probes.best_person[has_own], probes.person[has_own]
        comes_first, third = own >= best, second > own  # `third`: two others are before the own person
        top = np.maximum(own, best)
        runner_up = np.where(comes_first, best, np.fmax(own, second))
        pair = _margins(rule, first, np.where(third, probes.second_person[has_own], person))
        settled = np.where(_leads(top, runner_up, pair), top, NEVER)
        strangers = _margins(rule, probes.best_person, probes.second_person)
        return cls(
            first=np.where(comes_first, own, NEVER),
            known_matched=np.where(comes_first, settled, NEVER),
            stranger_matched=np.where(_leads(probes.best, probes.second, strangers), probes.best, NEVER),
            settled=settled,
            top=top,
            person=probes.person,
            known_person=person,
            others=probes.people,
            review_band=rule.review_band,
            thresholds=thresholds,
            seed=scores.seed,
        )

    def strangers(self, until: Floats) -> Band:
        """FPIR when a false match happens to each stranger up to a threshold of its own."""
        return self._band(until, self.person, self._strangers, missed=False)

    def known(self, until: Floats) -> Band | None:
        """FNIR when each known probe is found up to a threshold of its own; None when nobody is known."""
        if not len(self.known_person):
            return None
        return self._band(until, self.known_person, float, missed=True)

    def review(self) -> Rates | None:
        """The share of known probes that are shown for review; None when nobody is known."""
        if not len(self.top):
            return None
        count = len(self.thresholds)
        shown = reaching(binned(self.top, self.thresholds - self.review_band), count)
        settled = reaching(binned(self.settled, self.thresholds), count)
        share: Rates = (shown - settled) / len(self.top)
        return share

    def _strangers(self, people: int) -> float:
        return strangers(people, self.others)

    def _band(
        self, until: Floats, person: Numbers, independent: Callable[[int], float], *, missed: bool
    ) -> Band:
        """The rate at each threshold with its interval, by a bootstrap over people.

        `independent` says how many independent trials so many people amount to. Where that is fewer than the
        people, the variance grows in proportion.
        """
        count = len(self.thresholds)
        bins = binned(until, self.thresholds)
        people, place = np.unique(person, return_inverse=True)

        def rate(weights: NDArray[np.float64]) -> Rates:
            share: Rates = reaching(bins, count, weights) / weights.sum()
            return 1 - share if missed else share

        def replicates() -> Iterator[Rates]:
            for weights in drawn_anew(len(people), self.seed):
                yield rate(weights[place])

        value = rate(np.ones(len(person)))
        trials = independent(len(people))
        variance = spread(np.array(list(replicates()))) * len(people) / trials
        return Band(value, *band(value, variance, trials))


def _margins(rule: Rule, one: Numbers, other: Numbers) -> Rates:
    """What the first needs before the second, for each probe: look-alikes may need more than others."""
    margins = np.full(len(one), rule.margin)
    low, high = np.minimum(one, other), np.maximum(one, other)
    for (smaller, greater), margin in rule.look_alikes.margins.items():
        pair = (low == smaller) & (high == greater)
        margins[pair] = max(rule.margin, margin)
    return margins


def _leads(best: Floats, second: Floats, margins: Rates) -> NDArray[np.bool_]:
    """Whether the margin holds; with nobody second (NaN) it does."""
    return np.isnan(second) | (best - second >= margins - TOLERANCE)
