"""A run as one HTML page: no scripts, nothing fetched from anywhere, light or dark as the reader likes it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from html import escape

from core.benchmark import figures
from core.benchmark.figures import Bar, Line, Point
from core.benchmark.labels import full
from core.benchmark.model import Estimate, Machine, Measured, ProbeKind, Run, Setting
from core.benchmark.recommendation import quality

STAGES = ("hot", "cold", "merge", "join")
GIB, MIB = 1 << 30, 1 << 20

STYLE = """
:root{color-scheme:light dark;--ink:#1b2130;--soft:#5d6679;--page:#fff;--line:#dde1ea;--on:#fff;
--c0:#1f6feb;--c1:#b35900;--c2:#1a7f4b;--c3:#8a3ffc;--c4:#c2255c;--c5:#0b7285;--c6:#7a5c00;--c7:#5f3dc4;
--c8:#a61e4d;--c9:#495057}
@media(prefers-color-scheme:dark){:root{--ink:#e6e9f0;--soft:#9aa4b8;--page:#10141d;--line:#2a3242;--on:#10141d;
--c0:#6ea8fe;--c1:#ffa94d;--c2:#51cf8a;--c3:#b197fc;--c4:#f783ac;--c5:#3bc9db;--c6:#e6c84f;--c7:#91a7ff;
--c8:#ff8787;--c9:#adb5bd}}
body{margin:0 auto;max-width:1100px;padding:24px;background:var(--page);color:var(--ink);
font:15px/1.5 system-ui,sans-serif;font-variant-numeric:tabular-nums}
h1{font-size:24px;margin:0}h2{font-size:18px;margin:32px 0 8px}p{margin:4px 0;color:var(--soft)}
div.wide{overflow-x:auto}table{border-collapse:collapse;width:100%;font-size:13px}
th,td{padding:6px 10px;border-bottom:1px solid var(--line);text-align:right;white-space:nowrap}
th{color:var(--soft);font-weight:600}th.l,td.l{text-align:left}small{color:var(--soft)}
svg{width:100%;max-width:760px;height:auto;font:12px system-ui,sans-serif}text{fill:var(--soft)}
svg.key{width:12px;height:12px}text.on{fill:var(--on);font-weight:600;font-size:10px}.grid{stroke:var(--line);fill:none}
.stroke{fill:none;stroke-width:2}.ring{fill:none;stroke:var(--ink);stroke-width:1.5}
.front{fill:none;stroke:var(--soft);stroke-dasharray:4 4}
""" + "".join(f".c{n}.fill{{fill:var(--c{n})}}.c{n}.stroke{{stroke:var(--c{n})}}" for n in range(10))

METHOD = (
    "Every setting got the same probes in small blocks by turns, in random order, after a warm-up.",
    """Small figures are 95 % intervals: of percentiles between order statistics, of shares Wilson's, of
    searches per second Student's over blocks. A question mark is an end that the sample cannot support.""",
    """Recall@1: of the probes for whom an exact search of all templates proposes somebody, those where that
    person came first. Recall@5: of the exact five nearest people, those among the candidates. Agreement: the
    same decision and person as the exact search.""",
)


def to_html(run: Run) -> str:
    """Figures only: no names, no user_ids, nothing of the probes."""
    body = "\n".join(_body(run))
    return (
        '<!doctype html>\n<html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width,initial-scale=1">'
        f"<title>{escape(run.name)}</title><style>{STYLE}</style></head>\n<body>\n{body}\n</body></html>\n"
    )


def _body(run: Run) -> Iterator[str]:
    yield f"<h1>{escape(run.name)}</h1>"
    yield f"<p>{escape(_about(run))}</p><p>{escape(_machine(run.machine))}</p>"
    yield from (f"<p>{escape(note)}</p>" for note in run.notes)
    numbers = {setting: place for place, setting in enumerate(run.request.settings, 1)}
    for concurrency in sorted({row.concurrency for row in run.rows}):
        who = "One client" if concurrency == 1 else f"{concurrency} clients at once"
        rows = [row for row in run.rows if row.concurrency == concurrency]
        yield f"<h2>{who}</h2>"
        yield _table(rows, numbers)
        found = "recall@1" if any(row.recall_at_1 for row in rows) else "agreement"
        yield (
            f"<p>{found.capitalize()} against p95: higher is better, further left is faster; "
            "ringed: not beaten.</p>"
        )
        yield figures.scatter(list(_points(run, rows, numbers, found)), "p95, ms", found)
        yield "<p>Share of searches that took at most so long.</p>"
        yield figures.lines(_distributions(rows, numbers), "ms", "share of searches", steps=True)
        yield f"<p>Where the time went, mean ms: {_legend()}. Hot and cold run at once in hybrid.</p>"
        yield figures.stacks(_stages(rows, numbers), STAGES, "ms")
    if len(run.request.concurrencies) > 1:
        yield "<h2>Throughput</h2>"
        yield figures.lines(_throughput(run, numbers), "clients at once", "searches per second")
    yield f"<h2>How to read this</h2>{_method(run)}"


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


def _machine(machine: Machine) -> str:
    versions = ", ".join(f"{name} {version}" for name, version in machine.versions.items())
    return f"{machine.cores} cores, {machine.memory_bytes / GIB:.0f} GiB, {machine.platform}. {versions}."


def _table(rows: Sequence[Measured], numbers: dict[Setting, int]) -> str:
    heads = (
        "p50 ms",
        "p95 ms",
        "p99 ms",
        "Searches/s",
        "Recall@1",
        "Recall@5",
        "Agreement",
        "Memory",
        "Failed",
    )
    head = '<th class="l">#</th><th class="l">Setting</th>' + "".join(f"<th>{one}</th>" for one in heads)
    lines = "".join(f"<tr>{_cells(row, numbers[row.setting])}</tr>" for row in rows)
    return f'<div class="wide"><table><thead><tr>{head}</tr></thead><tbody>{lines}</tbody></table></div>'


def _cells(row: Measured, number: int) -> str:
    estimates = (
        row.p50,
        row.p95,
        row.p99,
        row.throughput_per_s,
        row.recall_at_1,
        row.recall_at_5,
        row.agreement,
    )
    kind = f" <small>{escape(row.hot_kind)}</small>" if row.hot_kind else ""
    cells = [f'<td class="l">{number}</td><td class="l">{escape(full(row.setting))}{kind}</td>']
    cells += [f"<td>{_estimate(one)}</td>" for one in estimates]
    cells.append(f"<td>{row.memory_bytes / MIB:,.0f} MiB</td><td>{_failures(row)}</td>")
    return "".join(cells)


def _estimate(one: Estimate | None) -> str:
    if one is None:
        return "–"
    low, high = ("?" if end is None else figures.number(end) for end in (one.low, one.high))
    return f"{figures.number(one.value)}<br><small>{low} … {high}</small>"


def _failures(row: Measured) -> str:
    return escape(", ".join(f"{code} ×{count}" for code, count in row.failures.items())) or "0"


def _points(run: Run, rows: Sequence[Measured], numbers: dict[Setting, int], called: str) -> Iterator[Point]:
    best = {id(run.rows[place]) for place in run.pareto}
    for row in rows:
        found = quality(row)
        if row.p95 and found:
            told = f"{full(row.setting)}: p95 {row.p95.value:.2f} ms, {called} {found.value:.3f}"
            yield Point(row.p95.value, found.value, numbers[row.setting], told, id(row) in best)


def _distributions(rows: Sequence[Measured], numbers: dict[Setting, int]) -> list[Line]:
    return [
        Line(numbers[row.setting], list(zip(row.latency.ms, row.latency.share, strict=True)))
        for row in rows
        if row.latency.ms
    ]


def _stages(rows: Sequence[Measured], numbers: dict[Setting, int]) -> list[Bar]:
    return [Bar(numbers[row.setting], [row.stages.get(name, 0.0) for name in STAGES]) for row in rows]


def _throughput(run: Run, numbers: dict[Setting, int]) -> list[Line]:
    lines = []
    for setting in run.request.settings:
        rows = [row for row in run.rows if row.setting == setting and row.throughput_per_s]
        points = [(float(r.concurrency), r.throughput_per_s.value) for r in rows if r.throughput_per_s]
        if points:
            lines.append(Line(numbers[setting], points))
    return lines


def _legend() -> str:
    swatch = '<svg class="key" viewBox="0 0 1 1"><rect class="c{0} fill" width="1" height="1"/></svg> {1}'
    return ", ".join(swatch.format(place, name) for place, name in enumerate(STAGES))


def _method(run: Run) -> str:
    ending = "Complete." if run.complete else "Ended by its time limit; every figure is from whole rounds."
    return "".join(f"<p>{escape(' '.join(sentence.split()))}</p>" for sentence in (*METHOD, ending))
