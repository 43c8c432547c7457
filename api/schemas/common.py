"""What the other schemas share."""

from __future__ import annotations

from typing import Any

from pydantic import ConfigDict

PERSON = {"user_id": "ana-ruiz", "name": "Ana Ruiz"}


def example(**values: Any) -> ConfigDict:
    """A model's config with an example for its documentation."""
    return ConfigDict(json_schema_extra={"example": values})
