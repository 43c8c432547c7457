"""What a comparison found: the picture first, then every figure behind it."""

from __future__ import annotations

from collections.abc import Sequence

import streamlit as st

from core.benchmark.estimate import alike
from core.benchmark.model import Measurement, Run, Setting
from core.benchmark.recommendation import Advice, quality, recommended
from core.services.service import RobiService
from dashboard.shared import words
from dashboard.strategies import apply as apply
from dashboard.strategies import figures as figures
from dashboard.strategies import words as say
from dashboard.strategies.chart_picture import SettingPoint, picture


@st.fragment
def show(service: RobiService, run: Run) -> None:
    """A run, finished or opened from those that were kept."""
    _say_what_changed(service, run)
    concurrency = _choose_concurrency(run)
    rows = [row for row in run.rows if row.concurrency == concurrency]
    fields = say.differing(row.setting for row in run.rows)
    coverage = _coverage(service)
    live = next((row for row in rows if say.in_effect(row.setting, service.tuning.now, coverage)), None)
    advice = recommended(rows, live, coverage)
    _answer(rows, advice, live, fields)
    left, right = st.columns([5, 3], gap="medium")
    chosen = _chosen(run, advice)
    with left:
        _picture(run, rows, chosen, live, fields)
        if live is None:
            st.caption(f"In use, and not among these: {words.plain(say.now(service.tuning.now, coverage))}.")
    with right:
        _details(service, run, rows, live, fields)
    figures.tables(rows, live, fields)
    figures.curves(run, rows, chosen, live, fields)
    figures.facts(run)


def _say_what_changed(service: RobiService, run: Run) -> None:
    """A run of another gallery or pack says little about the one in use."""
    pack, templates = service.engine.pack, service.people.counts().templates
    if (run.pack, run.dimension) != (pack.id, pack.dimension):
        told = f"It was made with the face pack {run.pack}; {pack.id} is in use now."
    elif not alike(run.gallery_templates, templates):
        told = f"The gallery had {words.count(run.gallery_templates, 'template')}; now it has {templates:,}."
    else:
        return
    st.warning(f"{words.plain(told)} Run it again for figures of today.", title="An older comparison")


# ---------------------------------------------------------------- the picture


def _choose_concurrency(run: Run) -> int:
    measured = sorted({row.concurrency for row in run.rows})
    if len(measured) < 2:
        return measured[0] if measured else 1
    return int(
        st.segmented_control(
            "Figures at so many searches at once",
            measured,
            default=measured[0],
            required=True,
            key=f"strategies_load_{run.id}",
            help="The picture and the tables show the figures at this load.",
        )
    )


def _answer(
    rows: Sequence[Measurement], advice: Advice | None, live: Measurement | None, fields: frozenset[str]
) -> None:
    if advice is None:
        st.warning("There is nothing to draw at this load.", title="No search was answered")
        return
    st.markdown(f"**{words.plain(say.answer(advice, live, fields))}**")
    best = advice.row
    recalls = {say.share(say.value(row.recall_at_1)) for row in rows if row.recall_at_1}
    if len(recalls) == 1 and best.recall_at_1 and best.recall_at_1.low is not None:
        low = say.share(best.recall_at_1.low)
        st.caption(
            f"All settings find the same share of the known people, {recalls.pop()}; with this many probes "
            f"it may be as low as {low}. Speed decides."
        )


def _picture(
    run: Run, rows: Sequence[Measurement], chosen: Setting, live: Measurement | None, fields: frozenset[str]
) -> None:
    drawn = [row for row in rows if row.p95 and quality(row)]
    if not drawn:
        return
    front = {id(run.rows[number]) for number in run.pareto}
    points = [_point(row, id(row) in front, fields) for row in drawn]
    key = f"strategies_picture_{run.id}"

    def picked() -> None:
        pick(run, drawn, st.session_state[key].selection.selected)

    st.echarts_chart(
        picture(
            points,
            chosen=next((n for n, row in enumerate(drawn) if row.setting == chosen), None),
            live=next((n for n, row in enumerate(drawn) if row is live), None),
            upwards="recall@1" if drawn[0].recall_at_1 else "as the exact search",
        ),
        height=420,
        key=key,
        on_select=picked,
        alt=_alt(drawn, fields),
    )
    st.caption(
        "Choose a point to see its figures. The dashed line is the Pareto front: nothing measured is both "
        "faster and finds more. Thin lines are intervals of 95% confidence."
    )


def pick(run: Run, drawn: Sequence[Measurement], selected: Sequence[dict[str, object]]) -> None:
    """Show the clicked point's setting. A second click unselects the point, but its setting stays shown."""
    clicked, memory = None, f"strategies_clicked_{run.id}"
    for group in selected:
        own = [row.setting for row in drawn if row.setting.strategy.value == group["series_id"]]
        indices = group["data_indices"]
        if isinstance(indices, list) and indices and indices[-1] < len(own):
            clicked = own[indices[-1]]
    clicked = clicked or st.session_state.get(memory)
    if clicked is not None:
        st.session_state[memory] = clicked
        st.session_state[_key(run)] = clicked


def _point(row: Measurement, on_front: bool, fields: frozenset[str]) -> SettingPoint:
    p95, recall = row.p95, quality(row)
    assert p95 is not None  # noqa: S101 -- only rows with both are drawn
    assert recall is not None  # noqa: S101 -- as above
    return SettingPoint(
        strategy=row.setting.strategy,
        label=say.short(row.setting, fields),
        p95=p95.value,
        p95_ends=(p95.low or p95.value, p95.high or p95.value),
        recall=recall.value,
        recall_ends=(
            recall.value if recall.low is None else recall.low,
            recall.value if recall.high is None else recall.high,
        ),
        on_front=on_front,
    )


def _alt(rows: Sequence[Measurement], fields: frozenset[str]) -> str:
    told = "; ".join(
        f"{say.named(row.setting, fields)}: recall {say.share(say.value(quality(row)))}, "
        f"p95 {say.ms(say.value(row.p95))} ms"
        for row in sorted(rows, key=lambda row: say.value(row.p95))
    )
    return f"Recall at one against p95, fastest first. {told}"


# ---------------------------------------------------------------- one setting


def _key(run: Run) -> str:
    return f"strategies_setting_{run.id}"


def _chosen(run: Run, advice: Advice | None) -> Setting:
    """The setting beside the picture: the one clicked or selected, or at first the one to recommend."""
    if _key(run) not in st.session_state:
        st.session_state[_key(run)] = (advice.row if advice else run.rows[0]).setting
    chosen: Setting = st.session_state[_key(run)]
    return chosen


def _details(
    service: RobiService,
    run: Run,
    rows: Sequence[Measurement],
    live: Measurement | None,
    fields: frozenset[str],
) -> None:
    options = list(dict.fromkeys(row.setting for row in run.rows))
    with st.container(border=True):
        setting = st.selectbox(
            "Setting",
            options,
            key=_key(run),
            format_func=lambda setting: say.named(setting, fields),
            help="The same as choosing a point of the picture.",
        )
        row = next((row for row in rows if row.setting == setting), None)
        if row is None:
            st.caption("Not measured at this load.")
            return
        st.table(_lines(row), border="horizontal", hide_header=True, alt="Figures of this setting")
        if row is live:
            st.markdown(":blue-badge[in use]")
            apply.undo(service)
        elif not apply.differences(service, row.setting):
            st.caption(
                "Nothing would change: only the share in the cache differs, which follows from its size."
            )
        elif st.button("Use this setting", icon=":material/check:", key="strategies_use"):
            apply.ask(service, run, row)


def _lines(row: Measurement) -> dict[str, str]:
    lines = {
        "p50 ms": say.estimate(row.p50, say.ms),
        "p95 ms": say.estimate(row.p95, say.ms),
        "p99 ms": say.estimate(row.p99, say.ms),
        "Searches/s": say.estimate(row.throughput_per_s, say.rate),
        "recall@1": say.estimate(row.recall_at_1, say.share),
        "As the exact search": say.estimate(row.agreement, say.share),
        "Failures": say.failures(row.failures),
    }
    if row.hot_kind:
        lines["Cache"] = f"{row.hot_kind}, {words.count(row.hot_templates, 'template')}"
    return {name: words.plain(figure) for name, figure in lines.items()}


def _coverage(service: RobiService) -> float:
    """Share of the gallery in the live cache."""
    return next((tier.coverage for tier in service.store.states() if tier.name == "faiss"), 0.0)
