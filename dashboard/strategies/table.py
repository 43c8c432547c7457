"""A table of figures that becomes a card for each row on a phone."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import streamlit as st

from dashboard.shared import words


def show(columns: Mapping[str, Sequence[str]], caption: str) -> None:
    """`columns` by their title, all of one length; the first one names the rows.

    The roles are spelled out because cards are no table to a screen reader otherwise.
    """
    titles = list(columns)
    head = "".join(f'<th role="columnheader" scope="col">{words.escape(title)}</th>' for title in titles)
    body = "".join(_row(titles, cells) for cells in zip(*columns.values(), strict=True))
    st.html(
        f'<table class="robi-figures" role="table"><caption>{words.escape(caption)}</caption>'
        f'<thead role="rowgroup"><tr role="row">{head}</tr></thead>'
        f'<tbody role="rowgroup">{body}</tbody></table>'
    )


def _row(titles: Sequence[str], cells: Sequence[str]) -> str:
    name, *rest = cells
    told = "".join(
        f'<td role="cell" data-title="{words.escape(title)}"><span>{words.escape(cell)}</span></td>'
        for title, cell in zip(titles[1:], rest, strict=True)
    )
    return f'<tr role="row"><th role="rowheader" scope="row">{words.escape(name)}</th>{told}</tr>'
