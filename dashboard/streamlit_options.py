"""How Robi has Streamlit: `streamlit.toml`, wherever it is started from and whatever files lie there."""

from __future__ import annotations

import tomllib
from collections.abc import Iterator, Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any

import streamlit as st

FILE = Path(__file__).with_name("streamlit.toml")
# What could let somebody in whom `api.guard` keeps out.
_PINNED: Mapping[str, Any] = MappingProxyType(
    {
        "server.enableCORS": True,
        "server.enableXsrfProtection": True,
        "server.corsAllowedOrigins": [],
        "server.enableStaticServing": False,
        "server.baseUrlPath": "",
    }
)


def apply() -> None:
    """Set every option of the file, and what must not be otherwise, over configuration files of others."""
    chosen = tomllib.loads(FILE.read_text(encoding="utf-8"))
    for name, value in (*_flat(chosen), *_PINNED.items()):
        st.config.set_option(name, value)


def _flat(options: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    """`{"theme": {"light": {"textColor": …}}}` as `theme.light.textColor` and its value."""
    for name, value in options.items():
        if isinstance(value, dict):
            yield from _flat(value, f"{prefix}{name}.")
        else:
            yield f"{prefix}{name}", value
