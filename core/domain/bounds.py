"""How large numbers may be: what settings, tuning, requests and pages allow, and what the API documents."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from annotated_types import BaseMetadata, Ge, GroupedMetadata, Gt, Le, Lt

from core.domain.errors import BadInput


@dataclass(frozen=True, slots=True)
class Bounds(GroupedMetadata):
    """From `low` to `high`; an end may be left out. `Annotated[float, Bounds(…)]` is checked by pydantic."""

    low: float
    high: float
    with_low: bool = True
    with_high: bool = True

    def __iter__(self) -> Iterator[BaseMetadata]:
        yield Ge(self.low) if self.with_low else Gt(self.low)
        yield Le(self.high) if self.with_high else Lt(self.high)

    def __contains__(self, value: float) -> bool:
        """False for NaN."""
        above = value >= self.low if self.with_low else value > self.low
        return above and (value <= self.high if self.with_high else value < self.high)

    def __str__(self) -> str:
        if self.with_low and not self.with_high:
            return f"from {self.low:,} to below {self.high:,}"
        return f"between {self.low:,} and {self.high:,}"

    def check(self, value: float, name: str, hint: str) -> None:
        """Raises BadInput: bad_parameter."""
        if value not in self:
            raise BadInput("bad_parameter", f"{name} must be {self}.", hint)


THRESHOLD = Bounds(0, 1, with_low=False, with_high=False)
MARGIN = Bounds(0, 1, with_high=False)
REVIEW_BAND = Bounds(0, 1, with_high=False)  # and below the threshold
EYE_DISTANCE = Bounds(0, 200)  # pixels
NPROBE = Bounds(1, 1_000_000)
SEARCH_EF = Bounds(1, 4096)
TOP_K = Bounds(1, 100)
PAGE_SIZE = Bounds(1, 500)  # people or events that are listed at once
