"""Whatever can be stored can be shown on every page, with names and notes that nobody would think of."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st
from streamlit.testing.v1 import AppTest

from core.domain.errors import RobiError
from core.domain.templates import NewTemplate
from core.services.service import RobiService


@settings(
    max_examples=4,
    deadline=None,
    database=None,
    derandomize=True,
    suppress_health_check=list(HealthCheck),
)
@given(name=st.text(max_size=30), metadata=st.dictionaries(st.text(max_size=9), st.text() | st.floats()))
def test_what_was_stored_is_shown(
    open_page: Callable[..., AppTest], service: RobiService, name: str, metadata: dict[str, object]
) -> None:
    if not service.people.listing().total:
        vector = np.ones(service.engine.pack.dimension, np.float32)
        service.ledger.people.enroll("ana", "Ana", [NewTemplate(vector, 0.8, "upload")])
    try:
        service.people.update("ana", name=name or None, metadata=metadata)
    except RobiError:
        assume(False)
    for page, query in (("people", {}), ("people", {"person": "ana"}), ("events", {}), ("overview", {})):
        open_page(page, **query)
    (person,) = service.people.listing(query=service.people.person("ana").name).items
    assert person == service.people.person("ana")
