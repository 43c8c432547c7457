"""The dashboard and the alert rules ask for what Robi exposes, by the limits that Robi itself has."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml
from prometheus_client.parser import text_string_to_metric_families

from core.domain.objectives import COLD, ENROLL, HOT
from core.domain.search import Candidate, Decision, SearchResult, SearchTimings, Source, Strategy
from core.metrics import Metrics
from core.monitoring import prometheus
from core.runtime.hardware import Cards, Gpu, LostGpu
from core.services.service import RobiService

DEPLOY = Path(__file__).resolve().parents[2] / "deploy"
ALERTS = Path(__file__).with_name("alerts.yml")
DASHBOARD = json.loads((DEPLOY / "grafana/dashboards/robi.json").read_text())
RULES = yaml.safe_load((DEPLOY / "prometheus/robi.rules.yml").read_text())["groups"][0]["rules"]
SCRAPE = yaml.safe_load((DEPLOY / "prometheus/prometheus.yml").read_text())

PROMETHEUS_OWN = {"up": {"job", "instance"}, "ALERTS": {"job", "alertstate"}}
BY_SCRAPE = {"job", "instance"}
SELECTOR = re.compile(r"\b(robi_\w+|process_\w+|python_\w+|up|ALERTS)\b(?:\{([^}]*)\})?")
MATCHER = re.compile(r'(\w+)(=~|!=|=)"([^"]*)"')


def panels() -> list[dict]:
    return [panel for panel in DASHBOARD["panels"] if panel["type"] != "row"]


def expressions() -> Iterator[str]:
    for panel in panels():
        yield from (target["expr"] for target in panel["targets"])
    yield from (rule["expr"] for rule in RULES)
    yield from (found["expr"] for found in DASHBOARD["annotations"]["list"])


@pytest.fixture(scope="module")
def exposed() -> dict[str, list[dict[str, str]]]:
    """The label sets of every sample name, of a Robi to which everything has happened."""
    metrics = Metrics()
    ana = Candidate("ana", "Ana", 0.7, Source.BOTH, 1)
    for strategy in Strategy:
        for decision in Decision:
            for cold in (None, 1.0):
                timings = SearchTimings(2.0, hot=0.5, cold=cold, merge=0.1, join=0.1)
                tiers = ("faiss",) if cold is None else ("faiss", "qdrant")
                metrics.searches([SearchResult((ana,), decision, strategy, 0.4, tiers, (), False, timings)])
    for stage in ("detect", "embed", "enroll"):
        metrics.stage(stage, 1.0)
    metrics.failed("busy", 1)
    metrics.error("busy")
    metrics.counters.request("POST", "/api/v1/search", 500, 0.01)
    everything = [
        prometheus.MetricSample(name, 1.0, family.labels and tuple(label for label in family.labels))
        for name, family in prometheus.FAMILIES.items()
    ]
    found: dict[str, list[dict[str, str]]] = {}
    for family in text_string_to_metric_families(
        prometheus.text(metrics.counters.registry, everything).decode()
    ):
        for sample in family.samples:
            found.setdefault(sample.name, []).append(sample.labels)
    return found


@pytest.mark.parametrize("expression", sorted(set(expressions())))
def test_every_selector_names_a_series_that_exists(expression, exposed):
    selectors = SELECTOR.findall(expression)
    assert selectors
    known: set[str] = set()
    for name, matchers in selectors:
        if name in PROMETHEUS_OWN:
            labels = PROMETHEUS_OWN[name]
        else:
            assert name in exposed, f"{name} is not exposed"
            labels = set(exposed[name][0]) | BY_SCRAPE
        wanted = MATCHER.findall(matchers)
        assert {label for label, _, _ in wanted} <= labels, f"{name} has no such label"
        known |= labels
    for grouping in re.findall(r"\b(?:by|without|on|group_left) \(([^)]*)\)", expression):
        assert {label.strip() for label in grouping.split(",") if label.strip()} <= known


@pytest.mark.parametrize("name", ["objective", "strategy", "stage", "le"])
def test_every_value_that_is_asked_for_is_one_that_comes(name, exposed):
    for expression in expressions():
        for metric, matchers in SELECTOR.findall(expression):
            for label, operator, value in MATCHER.findall(matchers):
                if label == name and operator == "=":
                    assert value in {labels.get(name) for labels in exposed[metric]}, f"{metric} {value}"


def test_tiers_and_parts_that_are_asked_for_are_those_of_a_service(service: RobiService):
    real: dict[str, set[str]] = {}
    for family in text_string_to_metric_families(service.monitor.prometheus().decode()):
        for sample in family.samples:
            for label, value in sample.labels.items():
                real.setdefault(label, set()).add(value)
    for expression in expressions():
        for label, _, value in MATCHER.findall(expression):
            if label in ("tier", "part", "queue"):
                assert value in real[label]


def test_every_metric_of_robi_is_looked_at_by_a_panel_or_an_alert(exposed):
    asked = {name for expression in expressions() for name, _ in SELECTOR.findall(expression)}
    histograms = {name.removesuffix("_bucket") for name in asked if name.endswith("_bucket")}
    asked |= {f"{name}{part}" for name in histograms for part in ("_bucket", "_count", "_sum")}
    assert {name for name in exposed if name.startswith("robi_")} - asked == set()


def test_a_services_samples_all_belong_to_a_family_with_their_labels(service: RobiService):
    gpu = Gpu(0, "T4", 50, 1024, 2048, 60, 70.0, 70.0)
    lost = LostGpu(1, "T4", service.monitor.started_at)
    samples = [
        *prometheus.samples(service.monitor.snapshot()),
        *prometheus.of_cards(Cards((gpu,), (lost,), None)),
    ]
    for name, _, labels in samples:
        assert len(labels) == len(prometheus.FAMILIES[name].labels), name
    never = {"robi_tier_drift_templates", "robi_tier_compared_timestamp_seconds"}  # before a comparison
    server = {name for name in prometheus.FAMILIES if name.startswith("robi_qdrant_")}  # with a server only
    assert {sample.name for sample in samples} | never | server == set(prometheus.FAMILIES)
    by_card = {(s.name, s.labels): s.value for s in samples if s.name.startswith("robi_gpu_")}
    assert by_card["robi_gpu_up", ("0",)] == 1
    assert by_card["robi_gpu_up", ("1",)] == 0
    assert by_card["robi_gpu_utilization_ratio", ("0",)] == 0.5
    assert by_card["robi_gpu_memory_bytes", ("0",)] == 2048 * 1024 * 1024
    assert ("robi_gpu_power_watts", ("1",)) not in by_card


def limits() -> dict[str, float]:
    """The line that each panel draws, by the objective in its queries."""
    found = {}
    for panel in panels():
        steps = panel["fieldConfig"]["defaults"]["thresholds"]["steps"]
        expression = panel["targets"][0]["expr"]
        if "histogram_quantile" in expression and steps[-1]["value"] is not None:
            found[re.search(r'(?:objective|stage)="(\w+)"', expression).group(1)] = steps[-1]["value"]
    return found


def test_the_lines_in_the_panels_are_the_objectives():
    assert limits() == {o.name: o.limit_ms / 1e3 for o in (HOT, COLD, ENROLL)}


def test_shares_within_the_targets_count_to_the_objectives():
    wanted = {("objective", "hot"): HOT, ("objective", "cold"): COLD, ("stage", "enroll"): ENROLL}
    seen = set()
    for panel in panels():
        for matchers in re.findall(r"_bucket\{([^}]*le=[^}]*)\}", panel["targets"][0]["expr"]):
            labels = {label: value for label, _, value in MATCHER.findall(matchers)}
            key = next(pair for pair in labels.items() if pair in wanted)
            assert float(labels["le"]) == wanted[key].limit_ms / 1e3
            seen.add(key)
    assert seen == set(wanted)


@pytest.mark.parametrize(
    ("alert", "objective"), [("RobiCacheSlow", HOT), ("RobiQdrantSlow", COLD), ("RobiEnrollSlow", ENROLL)]
)
def test_alerts_fire_beyond_the_objectives(alert, objective):
    rule = next(rule for rule in RULES if rule["alert"] == alert)
    assert float(re.search(r"> ([\d.]+)\s", rule["expr"]).group(1)) == objective.limit_ms / 1e3
    assert f'"{objective.name}"' in rule["expr"]


def test_every_alert_says_what_is_wrong_and_what_to_do():
    names = [rule["alert"] for rule in RULES]
    assert len(set(names)) == len(names)
    for rule in RULES:
        assert rule["labels"]["severity"] in ("critical", "warning")
        assert {"summary", "action"} == set(rule["annotations"])
    titles = {panel["title"] for panel in panels()}
    for rule in RULES:
        assert set(re.findall(r'The panel "([^"]+)"', rule["annotations"]["action"])) <= titles


def test_panels_have_ids_of_their_own_and_do_not_overlap():
    ids = [panel["id"] for panel in DASHBOARD["panels"]]
    assert len(set(ids)) == len(ids)
    cells: set[tuple[int, int]] = set()
    for panel in DASHBOARD["panels"]:
        at = panel["gridPos"]
        taken = {(x, y) for x in range(at["x"], at["x"] + at["w"]) for y in range(at["y"], at["y"] + at["h"])}
        assert at["x"] + at["w"] <= 24
        assert not cells & taken, panel["title"]
        cells |= taken


def test_panels_have_the_shape_that_grafana_12_reads():
    assert DASHBOARD["schemaVersion"] == 41
    assert {panel["type"] for panel in panels()} <= {"timeseries", "stat", "state-timeline"}
    for panel in panels():
        assert panel["fieldConfig"].keys() == {"defaults", "overrides"}, panel["title"]
        ids = [target["refId"] for target in panel["targets"]]
        assert len(set(ids)) == len(ids)
        assert all(target["datasource"] == panel["datasource"] for target in panel["targets"])
        if panel["type"] == "stat":
            assert panel["options"]["reduceOptions"]["calcs"]
        else:
            assert isinstance(panel["options"]["legend"]["showLegend"], bool), "absent means hidden"


def test_provisioning_leads_from_the_panels_to_prometheus_and_from_there_to_robi():
    (source,) = yaml.safe_load((DEPLOY / "grafana/provisioning/datasources/prometheus.yml").read_text())[
        "datasources"
    ]
    assert {panel["datasource"]["uid"] for panel in panels()} == {source["uid"]}
    (provider,) = yaml.safe_load((DEPLOY / "grafana/provisioning/dashboards/robi.yml").read_text())[
        "providers"
    ]
    compose = yaml.safe_load((DEPLOY.parent / "docker-compose.yml").read_text())["services"]
    mounts = dict(volume.split(":")[:2] for volume in compose["grafana"]["volumes"])
    assert mounts["./deploy/grafana/dashboards"] == provider["options"]["path"]
    assert f"--web.listen-address={source['url'].removeprefix('http://')}" in compose["prometheus"]["command"]
    assert SCRAPE["rule_files"] == ["robi.rules.yml"]
    (job,) = SCRAPE["scrape_configs"]
    assert job["static_configs"][0]["targets"] == ["127.0.0.1:8000"]
    for service in ("prometheus", "grafana"):
        assert compose[service]["profiles"] == ["monitoring"]
        assert re.search(r":v?\d+\.\d+\.\d+$", compose[service]["image"])


def test_every_alert_has_a_case_that_makes_it_fire():
    cases = yaml.safe_load(ALERTS.read_text())["tests"]
    fired = {
        re.search(r'"(\w+)"', sample["labels"]).group(1)
        for case in cases
        for check in case["promql_expr_test"]
        for sample in check["exp_samples"]
    }
    assert fired == {rule["alert"] for rule in RULES}


@pytest.mark.skipif(shutil.which("promtool") is None, reason="promtool is not installed")
@pytest.mark.parametrize(
    "arguments", [("check", "config", DEPLOY / "prometheus/prometheus.yml"), ("test", "rules", ALERTS)]
)
def test_promtool_accepts_configuration_and_alerts(arguments):
    done = subprocess.run(["promtool", *arguments], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
