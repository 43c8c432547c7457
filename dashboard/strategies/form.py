"""The choices for a new comparison, with Run."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace
from datetime import datetime
from typing import Any, get_args

import streamlit as st

from core.benchmark.benchmarks import Benchmarks
from core.benchmark.estimate import expected_seconds
from core.benchmark.model import CONCURRENCIES, COVERAGES, ProbeKind, ProbeSource, RunRequest
from core.config.settings import IndexType
from core.domain.bounds import THRESHOLD, TOP_K
from core.domain.search import Strategy
from core.services.service import RobiService
from dashboard.shared import widgets, words
from dashboard.strategies import plan as plan
from dashboard.strategies import probes as probes
from dashboard.strategies import words as say
from dashboard.strategies.plan import Selection

COUNTS = [100, 300, 1000]
LIMITS = {"1 minute": 60.0, "5 minutes": 300.0, "15 minutes": 900.0}


def show(service: RobiService, benchmarks: Benchmarks, *, first: bool) -> None:
    """One sentence and Run; everything else has a good default and is folded away."""
    with st.container(border=True):
        top = st.container(horizontal=True, vertical_alignment="center", horizontal_alignment="distribute")
        with st.expander("What to compare", icon=":material/tune:", expanded=first):
            request, sentence = _choose(service, benchmarks)
        with top:
            st.markdown(words.plain(sentence), width="stretch")
            run = st.button(
                "Run",
                type="primary",
                icon=":material/play_arrow:",
                disabled=request is None,
                key="strategies_go",
            )
    if run and request is not None:
        wanted = request

        def start() -> bool:
            benchmarks.start(wanted)
            return True

        if widgets.trying(start):
            st.session_state["strategies_watched"] = True
            st.rerun()


def keep() -> None:
    """Keep what was chosen while another tab is open: widgets that are not drawn lose their state."""
    for key in [str(key) for key in st.session_state]:
        if key.startswith("strategies_new_"):
            st.session_state[key] = st.session_state[key]


def _choose(service: RobiService, benchmarks: Benchmarks) -> tuple[RunRequest | None, str]:
    """The request, or None with what is missing; and the sentence that says so."""
    tuning = service.tuning.now
    usual = Selection.usual(tuning)
    source, count, lacking = _choose_probes(service, benchmarks)
    with st.grid(2, min_column_width=300):
        strategies = _several(
            "Strategies", list(Strategy), usual.strategies, "strategies", words.STRATEGY_HELP
        )
        concurrencies = _several(
            "Searches at once",
            CONCURRENCIES,
            usual.concurrencies,
            "concurrencies",
            "How many clients search at the same time. One tells the speed, many the throughput.",
        )
        coverages = _several(
            "Share of the gallery in the cache",
            COVERAGES,
            usual.coverages,
            "coverages",
            "Tried on copies beside the live cache, which stays as it is.",
        )
        with st.container(horizontal=True):
            k = st.number_input(
                "Candidates (k)", TOP_K.low, TOP_K.high, key=_first("k", 5), help="recall@5 needs at least 5."
            )
            threshold = st.number_input(
                "Threshold",
                THRESHOLD.low + 0.01,
                THRESHOLD.high - 0.01,
                step=0.01,
                format="%.2f",
                key=_first("threshold", tuning.threshold),
            )
    with st.expander("Index parameters", icon=":material/settings_input_component:"):
        index, nprobes, efs = _choose_index(usual)
        limit, seed = _choose_limits()
    choice = replace(
        usual,
        strategies=tuple(strategies),
        coverages=tuple(coverages),
        index_types=tuple(index),
        nprobes=tuple(nprobes),
        search_efs=tuple(efs),
        concurrencies=tuple(concurrencies),
        count=count,
    )
    lacking = lacking or plan.missing(choice)
    if lacking or source is None:
        return None, lacking or "Choose the probes."
    settings = plan.settings_of(choice, tuning)
    request = RunRequest(
        settings=settings,
        name=f"{datetime.now(widgets.here()):%-d %b %H:%M} · {words.count(len(settings), 'setting')}",
        probes=source,
        count=count,
        k=int(k),
        threshold=float(threshold),
        concurrencies=tuple(sorted(choice.concurrencies)),
        seed=seed,
        time_limit_s=limit,
    )
    expected = expected_seconds(request, service.people.counts().templates, benchmarks.runs())
    return request, plan.sentence(choice, settings, expected)


def _choose_probes(
    service: RobiService, benchmarks: Benchmarks
) -> tuple[ProbeSource | None, int, str | None]:
    """The probes, how many, and what is lacking if anything."""
    with st.container(horizontal=True, vertical_alignment="bottom"):
        kind = st.segmented_control(
            "Probes",
            list(ProbeKind),
            required=True,
            key=_first("probes", ProbeKind.GALLERY),
            format_func=say.PROBES.__getitem__,
        )
        count = 0
        if kind != ProbeKind.PHOTOS:
            chosen = st.segmented_control("How many", COUNTS, required=True, key=_first("count", COUNTS[1]))
            count = chosen or COUNTS[1]
    if kind == ProbeKind.PHOTOS:
        return probes.from_photos(service)
    if kind == ProbeKind.RECENT:
        return probes.from_recent(benchmarks, count)
    return probes.from_gallery(count)


def _choose_index(usual: Selection) -> tuple[Sequence[IndexType], Sequence[int], Sequence[int]]:
    index = _several(
        "Index of the cache",
        get_args(IndexType),
        usual.index_types,
        "index",
        "auto takes the one that suits the gallery's size and the hardware.",
    )
    with st.grid(2, min_column_width=300):
        nprobes = _several(
            "nprobe (IVF and IVFPQ)",
            {1, 8, 16, 64, 256, *usual.nprobes},
            usual.nprobes,
            "nprobes",
            "Lists of an IVF index that a search looks into. More finds more and takes longer.",
        )
        efs = _several(
            "Qdrant's hnsw_ef",
            {16, 32, 64, 128, 256, 512, *usual.search_efs},
            usual.search_efs,
            "efs",
            "Neighbours considered in Qdrant's graph. More finds more and takes longer. "
            "Galleries too small for a graph are searched exactly, whatever it is.",
        )
    return index, nprobes, efs


def _choose_limits() -> tuple[float, int]:
    with st.container(horizontal=True):
        limit = st.selectbox("Time limit", list(LIMITS), key=_first("limit", "5 minutes"))
        seed = st.number_input(
            "Seed", 0, 2**31 - 1, key=_first("seed", 0), help="The same seed gives the same probes."
        )
    return LIMITS[str(limit)], int(seed)


def _several(label: str, options: Iterable[Any], usual: Sequence[Any], key: str, help_: str) -> list[Any]:
    """Pills of which any number may be chosen, in the options' order."""
    offered = sorted(options) if isinstance(options, set) else list(options)
    chosen = st.pills(
        label,
        offered,
        selection_mode="multi",
        key=_first(key, list(usual)),
        format_func=_said,
        help=help_,
    )
    return [option for option in offered if option in chosen]


def _first(name: str, value: Any) -> str:
    """The key of a widget. It begins with `value`, unless something was chosen already."""
    key = f"strategies_new_{name}"
    st.session_state.setdefault(key, value)
    return key


def _said(option: Any) -> str:
    if isinstance(option, Strategy):
        return words.STRATEGY[option]
    return f"{option * 100:.0f}%" if isinstance(option, float) else str(option)
