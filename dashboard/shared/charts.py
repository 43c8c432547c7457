"""What every figure shares. Figures are ECharts options: their nodes stay when data changes."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

GRID: Mapping[str, Any] = MappingProxyType(
    {"left": 8, "right": 24, "top": 40, "bottom": 8, "containLabel": True}
)

NOTHING: Mapping[str, Any] = MappingProxyType(
    {
        "text": "Nothing measured yet",
        "left": "center",
        "top": "middle",
        "textStyle": {"fontSize": 13, "fontWeight": "normal"},
    }
)
"""The title of a figure without data."""

SOURCE_COLOUR: Mapping[str, str] = MappingProxyType(
    {"faiss": "#c77d0a", "qdrant": "#c2407f", "both": "#7a86a0", "ledger": "#5f8f4e"}
)
"""Mid-tones that are no strategy's colour and are legible on both backgrounds."""
