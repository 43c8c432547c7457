"""A calibration as JSON and CSV: every number that is shown, no names, no scores of single faces."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict

import numpy as np

from core.calibration.model import (
    BOOTSTRAP,
    EXTRAPOLATION,
    RULE_OF_THREE,
    Band,
    Calibration,
    Curve,
    ThresholdChoice,
)
from core.calibration.people import Study
from core.calibration.preview import Preview
from core.calibration.uploaded import Evaluation
from core.domain.json_values import Json, JsonObject
from core.domain.people import Pair
from core.domain.statistics import Rates

_DIGITS = 9  # rates and similarities; finer than any sample can say


def to_json(calibration: Calibration, more: Mapping[str, Json] | None = None) -> str:
    """The whole calibration and `more` beside it: `of_choice`, `of_study`, `of_evaluation`, …"""
    return json.dumps(document(calibration) | dict(more or {}), indent=1, allow_nan=False)


def to_csv(calibration: Calibration) -> str:
    """The curve with a heading; a threshold on each line."""
    table = columns(calibration.curve)
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(table)
    writer.writerows(zip(*table.values(), strict=True))
    return text.getvalue()


def document(calibration: Calibration) -> JsonObject:
    """JSON-ready."""
    scores, curve = calibration.scores, calibration.curve
    return {
        "made_at": calibration.made_at.isoformat(),
        "seconds": round(calibration.seconds, 3),
        "source": calibration.source,
        "pack": calibration.pack,
        "rule": {
            "threshold": calibration.rule.threshold,
            "margin": calibration.rule.margin,
            "review_band": calibration.rule.review_band,
        },
        "gallery": {
            "seq": calibration.gallery_seq,
            "templates": calibration.gallery_templates,
            "templates_read": scores.templates,
            "people": scores.people,
            "people_with_several_templates": scores.people_with_several,
        },
        "sample": {
            "seed": scores.seed,
            "genuine": len(scores.genuine),
            "impostor": len(scores.impostor),
            "impostor_possible": scores.impostor_possible,
            "impostor_pairs_of_people": scores.impostor_pairs,
            "probes_1_to_n": len(scores.open_set.person),
            "probes_1_to_n_known": int((~np.isnan(scores.open_set.own)).sum()),
        },
        "figures": asdict(calibration.figures),  # `separation` is null without genuine scores
        "histogram": {
            "edges": calibration.histogram.edges.tolist(),
            "genuine": calibration.histogram.genuine.tolist(),
            "impostor": calibration.histogram.impostor.tolist(),
        },
        "extrapolated": [
            {"factor": at.factor, "people": at.people, "smallest_fpir": at.smallest_fpir}
            for at in curve.extrapolated
        ],
        "curve": columns(curve),
        "methods": [EXTRAPOLATION, RULE_OF_THREE, BOOTSTRAP],
    }


def columns(curve: Curve) -> dict[str, list[float]]:
    """The curve by columns: one list for each, all of the same length. What was not measured has none."""
    bands = {
        "fmr": curve.fmr,
        "fnmr": curve.fnmr,
        "fpir": curve.fpir,
        "fnir": curve.fnir,
        "fpir_decided": curve.fpir_decided,
        "fnir_decided": curve.fnir_decided,
    }
    table: dict[str, Rates | None] = {"threshold": curve.thresholds}
    for name, band in bands.items():
        table |= _band(name, band) if band else {}
    table["review"] = curve.review
    for at in curve.extrapolated:
        table |= {f"fpir_x{at.factor}": at.fpir, f"fnir_x{at.factor}": at.fnir}
    return {name: np.round(values, _DIGITS).tolist() for name, values in table.items() if values is not None}


def of_choice(choice: ThresholdChoice) -> JsonObject:
    return {"choice": asdict(choice)}


def of_preview(preview: Preview) -> JsonObject:
    return {"preview": {**asdict(preview), "changes": preview.changes}}


def of_study(study: Study, pairs: Sequence[Pair]) -> JsonObject:
    """What a look at the gallery adds, and what was confirmed: people, by their user_ids alone."""
    return {
        "confirmed_pairs": [{"user_ids": list(pair.user_ids), "margin": pair.margin} for pair in pairs],
        "confusable_pairs": [
            {"user_ids": [one.a_user_id, one.b_user_id], "similarity": one.similarity, "two": one.confirmed}
            for one in study.pairs
        ],
        "weak_templates": [
            {
                "template_id": one.template_id,
                "user_id": one.user_id,
                "own_best": one.own_best,
                "others": one.others,
                "quality": one.quality,
                "photo_asked": one.asked,
            }
            for one in study.weak
        ],
        "map_explained_variance": study.map.explained if study.map else None,
    }


def of_evaluation(found: Evaluation, threshold: float) -> JsonObject:
    """What an evaluation set adds: numbers, for the paths of its files may name people."""
    return {
        "images": found.images,
        "enrolled": found.enrolled,
        "failure_to_enroll": found.failure_to_enroll,
        "failure_to_enroll_interval": asdict(found.failure_interval),
        "failures": dict(found.failures),
        "skipped": found.skipped_files,
        "worst_errors": {
            "threshold": threshold,
            "pairs": [
                {"genuine": one.genuine, "similarity": one.similarity}
                for one in found.worst_errors(threshold)
            ],
        },
    }


def _band(name: str, band: Band) -> dict[str, Rates]:
    return {name: band.value, f"{name}_low": band.low, f"{name}_high": band.high}
