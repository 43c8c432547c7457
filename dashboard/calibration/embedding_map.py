"""The calibration page's embedding map: templates in two dimensions, coloured, with the way to the person."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import streamlit as st

from core.calibration.embedding_map import similarity_to
from core.calibration.model import Floats
from core.calibration.people import Map, Study
from core.services.service import RobiService
from dashboard.shared import widgets, words

if TYPE_CHECKING:
    from plotly.graph_objects import Figure

FEW = 10  # people who can be told apart by colour and shape
LISTED = 12
SCALE = ((0.0, "#2f6fd0"), (0.5, "#7d8086"), (1.0, "#c9731a"))  # 3:1 on both backgrounds, at every place
_SYMBOLS = (
    "circle",
    "square",
    "diamond",
    "triangle-up",
    "cross",
    "x",
    "star",
    "pentagon",
    "hexagon",
    "bowtie",
)


def section(service: RobiService, study: Study) -> None:
    """The map, drawn by the browser's graphics card; a click opens the person."""
    if study.map is None or not len(study.map.template_ids):
        st.markdown(
            "There are too few templates for a map: enroll at least three photos, then measure again."
        )
        return
    found = study.map
    kept = sum(found.explained)
    drawn = words.count(len(found.template_ids), "template")
    of_all = "" if len(found.template_ids) == found.gallery_templates else f" of {found.gallery_templates:,}"
    st.caption(
        f"{drawn}{of_all}, by principal components: the two axes keep {kept:.0%} of the variance"
        f"{': closeness here is only a hint' if kept < 0.5 else ''}. Click a point to open its person; "
        "draw a box to list several."
    )
    colour, values = _colour(service, study, found)
    picked = st.plotly_chart(
        figure(found, colour, values),
        key=f"calibration_map_{colour}",
        on_select="rerun",
        selection_mode=("points", "box", "lasso"),
        height=560,
        config={"displaylogo": False},
        alt=f"{drawn} in two dimensions, coloured by {colour}",
    )
    _open(found, picked)


def _colour(service: RobiService, study: Study, found: Map) -> tuple[str, Floats | None]:
    """What the colour stands for, and its values; None for a colour and a shape a person."""
    few = len(np.unique(found.persons)) <= FEW
    ways = {**({"person": "Person"} if few else {}), "quality": "Quality", "similarity": "Similarity to …"}
    with st.container(horizontal=True, vertical_alignment="bottom"):
        colour = st.segmented_control(
            "Colour by",
            list(ways),
            default=next(iter(ways)),
            required=True,
            format_func=lambda way: ways[way],
            key="calibration_map_colour",
            help="By person only while there are few enough to tell apart.",
        )
        if colour == "similarity":
            user_id = st.text_input(
                "ID of a person",
                key="calibration_map_person",
                max_chars=64,
                width=240,
                placeholder=found.user_ids[0],
                persist_state="page",
            )
    if colour == "person":
        return colour, None
    if colour == "similarity":
        values = widgets.trying(lambda: _similarities(service, study, found, user_id or found.user_ids[0]))
        if values is not None:
            return colour, values
    return "quality", found.quality


def _similarities(service: RobiService, study: Study, found: Map, user_id: str) -> Floats:
    """Worked out once for each person and measurement."""
    asked = (study.made_at, user_id)
    known: tuple[object, Floats] | None = st.session_state.get("calibration_map_similarities")
    if known is None or known[0] != asked:
        known = (asked, similarity_to(service.ledger, found, user_id))
        st.session_state["calibration_map_similarities"] = known
    return known[1]


def figure(found: Map, colour: str, values: Floats | None) -> Figure:
    """WebGL points; `customdata` holds each point's template: rows change when somebody is erased."""
    from plotly.graph_objects import Figure, Scattergl

    def points(rows: Any, **more: Any) -> Any:
        return Scattergl(
            x=found.points[rows, 0],
            y=found.points[rows, 1],
            customdata=found.template_ids[rows],
            mode="markers",
            text=[words.escape(found.names[row]) for row in rows],
            hovertemplate="%{text}<extra></extra>",
            **more,
        )

    rows = np.arange(len(found.template_ids))
    size = 9 if len(rows) < 500 else 5 if len(rows) < 10_000 else 3
    if values is None:
        traces = [
            points(
                rows[found.persons == person],
                name=words.escape(_name(found, int(person))),
                marker={"size": size, "symbol": _SYMBOLS[n % len(_SYMBOLS)]},
            )
            for n, person in enumerate(np.unique(found.persons))
        ]
    else:
        scale = {
            "color": values,
            **({"cmin": 0, "cmax": 1} if colour == "quality" else {}),
            "colorscale": SCALE,
            "showscale": True,
            "colorbar": {"title": {"text": colour, "side": "top"}, "orientation": "h", "thickness": 12},
        }
        traces = [points(rows, showlegend=False, marker={"size": size, **scale})]
    made = Figure(traces)
    made.update_layout(
        margin={"l": 8, "r": 8, "t": 8, "b": 8},
        dragmode="pan",
        hovermode="closest",
        legend={
            "orientation": "h",
            "x": 0,
            "y": -0.06,
            "yanchor": "top",
        },  # below: beside it a phone has no room for the map
        xaxis={
            "title": {"text": f"1st component, {found.explained[0]:.0%}"},
            "showticklabels": False,
            "showgrid": False,
            "zeroline": False,
        },
        yaxis={
            "title": {"text": f"2nd component, {found.explained[1]:.0%}"},
            "showticklabels": False,
            "showgrid": False,
            "zeroline": False,
            "scaleanchor": "x",
        },
    )
    return made


def _name(found: Map, person: int) -> str:
    return found.names[int(np.flatnonzero(found.persons == person)[0])]


def _open(found: Map, picked: Any) -> None:
    """One point opens its person; several are listed, each with the way there."""
    points: Sequence[Any] = picked.selection.points if picked else ()
    owners = dict(zip(found.template_ids.tolist(), found.user_ids, strict=True))
    templates = [_template(point) for point in points]
    user_ids = list(dict.fromkeys(owners[template] for template in templates if template in owners))
    if len(points) == 1 and user_ids:
        st.switch_page(widgets.page("people"), query_params={"person": user_ids[0]})
    if not user_ids:
        return
    st.markdown(f"**{words.count(len(user_ids), 'person', 'people')}** in the selection")
    with st.container(horizontal=True):
        for user_id in user_ids[:LISTED]:
            st.page_link(
                widgets.page("people"),
                label=words.plain(found.names[found.user_ids.index(user_id)]),
                icon=":material/person:",
                query_params={"person": user_id},
            )
    if len(user_ids) > LISTED:
        st.caption(f"{len(user_ids) - LISTED:,} more are not listed: draw a smaller box.")


def _template(point: Any) -> int:
    data = point["customdata"]
    return int(data[0] if isinstance(data, list | tuple) else data)
