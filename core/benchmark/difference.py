"""Two runs side by side: what differs, and whether that is more than chance."""

from __future__ import annotations

from core.benchmark.documents import summarised, summary_of
from core.benchmark.model import Comparison, Difference, Measurement, Run, RunSummary
from core.benchmark.statistics import gain
from core.ledger.runs import KeptRun


def compare(a: Run, b: Run) -> Comparison:
    """What is measured in both, in the order of `b`."""
    first, second = ({(row.setting, row.concurrency): row for row in run.rows} for run in (a, b))
    return Comparison(
        a=_summary(a),
        b=_summary(b),
        rows=tuple(_difference(first[key], row) for key, row in second.items() if key in first),
        only_a=tuple(key for key in first if key not in second),
        only_b=tuple(key for key in second if key not in first),
        notes=_notes(a, b),
    )


def _difference(a: Measurement, b: Measurement) -> Difference:
    return Difference(
        setting=b.setting,
        concurrency=b.concurrency,
        p50=gain(a.p50, b.p50, "faster", "slower"),
        p95=gain(a.p95, b.p95, "faster", "slower"),
        recall_at_1=gain(a.recall_at_1, b.recall_at_1, "worse", "better"),
        agreement=gain(a.agreement, b.agreement, "worse", "better"),
        throughput_per_s=gain(a.throughput_per_s, b.throughput_per_s, "fewer", "more"),
    )


def _summary(run: Run) -> RunSummary:
    return summary_of(KeptRun(run.id, run.at, run.name, summarised(run)))


def _notes(a: Run, b: Run) -> tuple[str, ...]:
    """What else differs, so that nobody takes it for the settings' doing."""
    sizes = f"{a.gallery_templates:,} templates against {b.gallery_templates:,}"
    said = {
        "They were measured on different machines.": (a.machine.cores, a.machine.platform)
        != (b.machine.cores, b.machine.platform),
        "Some programs have other versions.": a.machine.versions != b.machine.versions,
        f"The galleries differ: {sizes}.": a.gallery_templates != b.gallery_templates,
        "The face packs differ.": (a.pack, a.dimension) != (b.pack, b.dimension),
        "The probes are of different kinds.": a.request.probes != b.request.probes,
        "The probes were drawn with different seeds.": a.request.seed != b.request.seed,
        "The thresholds differ.": a.request.threshold != b.request.threshold,
        "Different numbers of candidates were asked for.": a.request.k != b.request.k,
        "At least one of them was ended by its time limit.": not (a.complete and b.complete),
    }
    return tuple(sentence for sentence, differs in said.items() if differs)
