"""From faces to a whole calibration."""

from __future__ import annotations

import time
from dataclasses import replace
from datetime import UTC, datetime

import numpy as np

from core.calibration.curve import curve_of
from core.calibration.faces import Faces, Read, check_enough
from core.calibration.model import Calibration, Histogram, Scores
from core.calibration.progress import ProgressWatch
from core.calibration.score_blocks import compare
from core.calibration.summary import figures_of
from core.domain.decisions import NO_LOOK_ALIKES, LookAlikes, Rule
from core.domain.faces import PackInfo

IMPOSTORS = 1_000_000
BIN = 0.02  # width of the histogram's bins
GALLERY, EVALUATION = "gallery", "evaluation set"


def of_gallery(
    gallery: Read, pack: PackInfo, rule: Rule, *, impostors: int, seed: int, watch: ProgressWatch
) -> Calibration:
    """Calibrate on a gallery that was read.

    Args:
        impostors: how many impostor comparisons to sample for FMR.
        rule: what turns similarities into decisions now; its margin and review band count.

    Raises:
        Unusable: `empty_gallery`, `not_enough_templates`.
        Conflict: `cancelled`.
    """
    return of_faces(
        gallery.faces,
        pack,
        rule,
        look_alikes=gallery.faces.look_alikes(rule.look_alikes),
        impostors=impostors,
        seed=seed,
        watch=watch,
        source=GALLERY,
        seq=gallery.seq,
        templates=gallery.templates,
    )


def of_faces(
    faces: Faces,
    pack: PackInfo,
    rule: Rule,
    *,
    watch: ProgressWatch,
    look_alikes: LookAlikes = NO_LOOK_ALIKES,
    impostors: int = IMPOSTORS,
    seed: int = 0,
    source: str = EVALUATION,
    seq: int | None = None,
    templates: int | None = None,
) -> Calibration:
    """Calibrate on any faces; `look_alikes` are pairs of them by ordinals, those of the rule are others.

    Raises as `of_gallery` does.
    """
    started = time.perf_counter()
    check_enough(faces)
    total = faces.templates if templates is None else templates
    scores = compare(faces, impostors=impostors, seed=seed, step=watch.part(0.0, 0.7, "Comparing the faces"))
    step = watch.part(0.7, 1.0, "Working out how sure the rates are")
    curve, replicates = curve_of(scores, replace(rule, look_alikes=look_alikes), step)
    return Calibration(
        scores=scores,
        histogram=_histogram(scores),
        curve=curve,
        figures=figures_of(scores, replicates, complete=total == faces.templates),
        rule=rule,
        pack=pack.id,
        source=source,
        gallery_seq=seq,
        gallery_templates=total,
        made_at=datetime.now(UTC),
        seconds=time.perf_counter() - started,
    )


def _histogram(scores: Scores) -> Histogram:
    both = np.concatenate([scores.genuine, scores.impostor])
    low, high = float(both.min()), float(both.max())
    edges = np.round(np.arange(np.floor(low / BIN), np.floor(high / BIN) + 2) * BIN, 2)
    return Histogram(edges, np.histogram(scores.genuine, edges)[0], np.histogram(scores.impostor, edges)[0])
