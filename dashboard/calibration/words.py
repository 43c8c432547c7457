"""How the calibration page says figures."""

from __future__ import annotations


def rate(value: float) -> str:
    """An error rate as people of the field write it: `5%`, `0.1%`, `1 in 100,000`; 100% only of all."""
    if value <= 0:
        return "0%"
    if 0.9995 <= value < 1:
        return f"{min(value * 100, 99.999):.5g}%"
    if value < 0.000_95:
        return f"1 in {round(1 / value):,}"
    return f"{value * 100:.3g}%"
