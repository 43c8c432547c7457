"""A run as one HTML page that fetches nothing from anywhere, light or dark as the reader likes it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

from jinja2 import Environment, FileSystemLoader, StrictUndefined, Template
from plotly.offline import get_plotlyjs

from core.benchmark import figures
from core.benchmark.export import STAGES
from core.benchmark.labels import full
from core.benchmark.model import MachineNote, Measurement, ProbeKind, Run, Setting
from core.benchmark.recommendation import quality

GIB, MIB = 1 << 30, 1 << 20
Numbers = dict[Setting, int]
Captioned = tuple[str, str]  # a figure's caption and what draws it


def to_html(run: Run) -> str:
    """Figures only: no names, no user_ids, nothing of the probes.

    About 5 MB, nearly all of it the script that draws: the page must open where there is no network.
    """
    numbers = {setting: place for place, setting in enumerate(run.request.settings, 1)}
    loads = sorted({row.concurrency for row in run.rows})
    return _page().render(
        run=run,
        plotly=get_plotlyjs(),
        about=(_about(run), _machine(run.machine), *run.notes),
        numbers=numbers,
        loads=[_load(run, concurrency, numbers) for concurrency in loads],
        throughput=_throughput(run, numbers),
    )


def _page() -> Template:
    here = FileSystemLoader(Path(__file__).parent)
    environment = Environment(loader=here, autoescape=True, undefined=StrictUndefined, trim_blocks=True)
    environment.filters |= {"digits": _digits, "full": full, "mib": lambda size: f"{size / MIB:,.0f} MiB"}
    return environment.get_template("report.html")


def _about(run: Run) -> str:
    request = run.request
    return (
        f"{run.at:%Y-%m-%d %H:%M} UTC, {run.duration_s:.0f} s. {request.count:,} searches for each setting "
        f"and concurrency, {_probes(run)}, seed {request.seed}, k {request.k}, "
        f"threshold {request.threshold:g}. "
        f"Gallery: {run.gallery_people:,} people, {run.gallery_templates:,} templates of {run.dimension} "
        f"numbers, pack {run.pack}."
    )


def _probes(run: Run) -> str:
    source = run.request.probes
    if source.kind is ProbeKind.GALLERY:
        return f"templates at similarity {source.similarity:.2f} and {source.strangers:.0%} strangers"
    return "uploaded photos" if source.kind is ProbeKind.PHOTOS else "the newest real probes"


def _machine(machine: MachineNote) -> str:
    versions = ", ".join(f"{name} {version}" for name, version in machine.versions.items())
    return f"{machine.cores} cores, {machine.memory_bytes / GIB:.0f} GiB, {machine.platform}. {versions}."


def _digits(value: float | None) -> str:
    """Three digits that count; a question mark for what is not known."""
    if value is None:
        return "?"
    return f"{value:.3g}" if abs(value) < 1000 else f"{value:,.0f}"


def _load(
    run: Run, concurrency: int, numbers: Numbers
) -> tuple[str, Sequence[Measurement], Sequence[Captioned]]:
    """What was measured with so many clients: a title, the rows of its table, and its figures."""
    rows = [row for row in run.rows if row.concurrency == concurrency]
    title = "One client" if concurrency == 1 else f"{concurrency} clients at once"
    return title, rows, list(_figures(run, rows, numbers))


def _figures(run: Run, rows: Sequence[Measurement], numbers: Numbers) -> Iterator[Captioned]:
    found = "recall@1" if any(row.recall_at_1 for row in rows) else "agreement"
    best = {id(run.rows[place]) for place in run.pareto}
    marks = [
        figures.ScatterMark(
            p95.value,
            share.value,
            numbers[row.setting],
            f"{full(row.setting)}: p95 {_digits(p95.value)} ms, {found} {_digits(share.value)}",
            id(row) in best,
        )
        for row in rows
        if (p95 := row.p95) and (share := quality(row))
    ]
    if marks:
        yield (
            f"{found.capitalize()} against p95: higher is better, left is faster; ringed: not beaten.",
            figures.scatter(marks, "p95, ms (log scale)", found),
        )
    steps = [
        figures.Line(numbers[row.setting], row.latency.ms, row.latency.share)
        for row in rows
        if row.latency.ms
    ]
    if steps:
        yield (
            "Share of searches that took at most so long.",
            figures.distributions(steps, "ms (log scale)", "share of searches"),
        )
    parts = {stage: [row.stages.get(stage, 0.0) for row in rows] for stage in STAGES}
    yield (
        "Where the time went. Hot and cold run at once in hybrid.",
        figures.stacks([numbers[row.setting] for row in rows], parts, "mean ms"),
    )


def _throughput(run: Run, numbers: Numbers) -> str:
    """The figure of searches a second against clients at once; nothing where only one load was measured."""
    lines = []
    for setting, number in numbers.items():
        measured = [
            (row.concurrency, row.throughput_per_s.value)
            for row in run.rows
            if row.setting == setting and row.throughput_per_s
        ]
        if measured:
            clients, rates = zip(*measured, strict=True)
            lines.append(figures.Line(number, clients, rates))
    if len(run.request.concurrencies) < 2 or not lines:
        return ""
    return figures.curves(lines, "clients at once (log scale)", "searches per second")
