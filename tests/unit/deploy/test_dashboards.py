"""Alert rules and the dashboard ask only for metrics and labels that deploy/metrics.py really exports."""

import json
import re
from pathlib import Path

import pytest
from prometheus_client.metrics import MetricWrapperBase

from deploy import metrics

DEPLOY = Path(__file__).parents[3] / "deploy"
RULES = (DEPLOY / "prometheus" / "rules.yml").read_text()
DASHBOARD = json.loads((DEPLOY / "grafana" / "dashboards" / "lamplight.json").read_text())
SUFFIXES = {"counter": ("_total",), "gauge": ("",), "histogram": ("_bucket", "_count", "_sum")}
ALSO_OURS = {"job", "service", "le"}  # written by the scrape and by histograms


def exported() -> dict[str, set[str]]:
    """Every sample name that Prometheus can see from us, with its labels."""
    ours = [metric for metric in vars(metrics).values() if isinstance(metric, MetricWrapperBase)]
    return {
        family.name + suffix: set(metric._labelnames)
        for metric in ours
        for family in metric.describe()
        for suffix in SUFFIXES[family.type]
    }


def expressions() -> list[tuple[str, str]]:
    panels = [
        (panel["title"], target["expr"])
        for panel in DASHBOARD["panels"]
        for target in panel.get("targets", [])
    ]
    rules = re.split(r"- alert: ", RULES)[1:]
    return panels + [(rule.split()[0], rule.split("expr:")[1].split("labels:")[0]) for rule in rules]


def test_counters_and_histograms_are_exported_under_the_names_prometheus_gives_them():
    assert set(exported()) >= {"lamplight_room_events_total", "lamplight_ingest_ack_seconds_bucket"}


@pytest.mark.parametrize(("title", "expression"), expressions(), ids=lambda value: value[:40])
def test_an_expression_names_only_exported_metrics_and_their_labels(title, expression):
    known = exported()
    names = re.findall(r"\blamplight_\w+", expression)
    assert set(names) <= set(known), f"{title} asks for {set(names) - set(known)}"
    labels = {label for name in names for label in known[name]} | ALSO_OURS
    asked = set(re.findall(r"(\w+)=~?\"", expression))
    asked |= {
        word for group in re.findall(r"\bby \(([^)]+)\)", expression) for word in re.split(r",\s*", group)
    }
    assert asked - {"alertstate"} <= labels, f"{title} asks for labels {asked - labels}"


def test_every_rule_says_how_urgent_it_is_what_it_means_and_what_to_do():
    for rule in re.split(r"- alert: ", RULES)[1:]:
        assert re.search(r"severity: (page|ticket)\b", rule), rule
        assert "summary: " in rule, rule
        assert "action: " in rule, rule


def test_every_rule_is_shown_to_fire_by_the_rule_tests():
    tested = re.findall(r'alertname(?:: |=")(\w+)', (DEPLOY / "prometheus" / "rules_test.yml").read_text())
    assert set(re.findall(r"- alert: (\w+)", RULES)) == set(tested)


def test_the_dashboard_has_no_two_panels_of_one_id_and_none_that_overlap():
    panels = DASHBOARD["panels"]
    assert len({panel["id"] for panel in panels}) == len(panels)
    taken = set()
    for panel in panels:
        at = panel["gridPos"]
        cells = {(x, y) for x in range(at["x"], at["x"] + at["w"]) for y in range(at["y"], at["y"] + at["h"])}
        assert not cells & taken, panel["title"]
        taken |= cells
