"""Runs as JSON documents, and back to the frozen values."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from datetime import datetime
from typing import Any

from pydantic import TypeAdapter

from core.benchmark.model import (
    MachineNote,
    Measurement,
    ProbeKind,
    ProbeSource,
    Run,
    RunRequest,
    RunSummary,
    Setting,
)
from core.domain.errors import Unusable
from core.domain.json_values import JsonObject
from core.ledger.runs import KeptRun

VERSION = 1  # of the document; one more when an older Robi could misread it

_ROWS = TypeAdapter(tuple[Measurement, ...])
_MACHINE = TypeAdapter(MachineNote)
_SETTINGS = TypeAdapter(tuple[Setting, ...])


def document_of(run: Run) -> JsonObject:
    """All of a run but the number it is kept under, JSON-ready."""
    document = asdict(run)
    del document["id"]
    document["at"] = run.at.isoformat()
    document["request"]["probes"].pop("embeddings")
    return {"version": VERSION, **document}


def summarised(run: Run) -> JsonObject:
    """What the list needs."""
    request = run.request
    return {
        "duration_s": run.duration_s,
        "complete": run.complete,
        "probes": request.probes.kind.value,
        "count": request.count,
        "settings": len(request.settings),
        "concurrencies": list(request.concurrencies),
        "gallery_templates": run.gallery_templates,
        "seed": request.seed,
    }


def summary_of(kept: KeptRun) -> RunSummary:
    values = dict(kept.content)
    values["probes"] = ProbeKind(values["probes"])
    values["concurrencies"] = tuple(values["concurrencies"])
    return RunSummary(id=kept.id, name=kept.name, at=kept.at, **values)


def run_of(kept: KeptRun) -> Run:
    """
    Raises:
        Unusable: `run_unreadable`.
    """
    document = dict(kept.content)
    if document.pop("version", None) != VERSION:
        raise _unreadable()
    try:
        return _run(kept, document)
    except (KeyError, TypeError, ValueError):
        raise _unreadable() from None


def _run(kept: KeptRun, document: Mapping[str, Any]) -> Run:
    read = {
        "name": kept.name,
        "at": datetime.fromisoformat(document["at"]),
        "request": _request(document["request"]),
        "machine": _MACHINE.validate_python(document["machine"]),
        "rows": _ROWS.validate_python(document["rows"]),
        "pareto": tuple(document["pareto"]),
        "notes": tuple(document["notes"]),
    }
    return Run(id=kept.id, **{**document, **read})


def _request(values: Mapping[str, Any]) -> RunRequest:
    probes = dict(values["probes"])
    read = {
        "settings": _SETTINGS.validate_python(values["settings"]),
        "probes": ProbeSource(kind=ProbeKind(probes.pop("kind")), **probes),
        "concurrencies": tuple(values["concurrencies"]),
    }
    return RunRequest(**{**values, **read})


def _unreadable() -> Unusable:
    return Unusable(
        "run_unreadable",
        "This run was kept by another version of Robi, and this one cannot read it.",
        "Open it with that version, or delete it.",
    )
