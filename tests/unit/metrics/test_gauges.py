"""Keys of gauges and the names under which they are kept: those of histories written before, too."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.metrics.gauges import CARD, COVERAGE, LAG, POWER, RSS, GaugeKey
from core.metrics.measured import Measured, from_json, to_json

KEPT = {
    "rss_mb": GaugeKey(RSS),
    "lag.qdrant": GaugeKey(LAG, "qdrant"),
    "coverage.faiss": GaugeKey(COVERAGE, "faiss"),
    "gpu.0.power_w": GaugeKey(POWER, "0"),
    "live_sessions": GaugeKey("live_sessions"),
}


@pytest.mark.parametrize("name", KEPT)
def test_names_that_a_history_has_are_read_and_written_again(name: str):
    assert GaugeKey.kept(name) == KEPT[name]
    assert str(KEPT[name]) == name


def test_a_row_of_an_older_robi_opens():
    row = {**to_json(Measured(observed=60.0)), "gauges": {name: [6.0, 2, 5.0] for name in KEPT}}
    measured = from_json(row)
    assert measured.gauges.keys() == set(KEPT.values())
    assert {gauge.mean for gauge in measured.gauges.values()} == {3.0}
    assert to_json(measured) == row


@given(st.text("abgpu._0", max_size=12) | st.sampled_from([f"gpu.3.{what}" for what in CARD]))
def test_no_name_is_lost_whatever_it_is(name: str):
    assert str(GaugeKey.kept(name)) == name
