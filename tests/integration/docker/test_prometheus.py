"""Rules and alerts: their metrics exist, the runbook explains each, tests fire and spare each."""

from __future__ import annotations

import re
import shutil
import subprocess
from typing import Any

import pytest

from service.telemetry import Telemetry
from tests.integration.docker.conftest import DOCKER, METRIC, ROOT, load_yaml
from training.feed.metrics import Metrics

PROMETHEUS = DOCKER / "prometheus"
SUFFIXES = ("_bucket", "_count", "_sum", "")


def sample_names() -> set[str]:
    """Return the name of every sample that the service and the worker expose."""
    names = set()
    families = [*Telemetry().registry.collect(), *Metrics().registry.collect()]
    for family in families:
        if family.type == "counter":
            names.add(f"{family.name}_total")
        elif family.type == "histogram":
            names |= {family.name + suffix for suffix in SUFFIXES[:3]}
        else:
            names.add(family.name)
    return names


def test_metrics_in_expressions_exist(
    alerts: dict[str, dict[str, Any]],
    records: dict[str, str],
    dashboards: dict[str, dict[str, Any]],
) -> None:
    expressions = [rule["expr"] for rule in alerts.values()] + list(records.values())
    for dashboard in dashboards.values():
        for panel in dashboard["panels"]:
            expressions += [target["expr"] for target in panel.get("targets", [])]
    recorded, exposed = set(records), sample_names()
    for expression in expressions:
        rules = set(re.findall(r"\bjob:[a-z0-9_:]+", expression))
        assert rules <= recorded, expression
        plain = re.sub(r"\bjob:[a-z0-9_:]+", "", expression)
        assert set(METRIC.findall(plain)) <= exposed, expression


def test_every_alert_has_a_section_in_the_runbook(alerts: dict[str, dict[str, Any]]) -> None:
    runbook = (ROOT / "docs" / "runbook.md").read_text()
    sections = re.findall(r"^## (.+)$", runbook, re.MULTILINE)
    assert sections == [*alerts, "Redis grows", "Reading the log", "Finding a request"]
    for name, rule in alerts.items():
        assert rule["annotations"]["runbook_url"] == f"docs/runbook.md#{name.lower()}"
        assert rule["labels"]["severity"] in {"critical", "warning"}
        section = runbook.split(f"## {name}\n")[1].split("\n## ")[0]
        for word in ("**Means**", "**Look**", "**Do**"):
            assert word.lower() in section.lower(), (name, word)


def test_every_alert_has_a_test_that_fires_it_and_one_that_does_not(
    alerts: dict[str, dict[str, Any]],
) -> None:
    fires: set[str] = set()
    silent: set[str] = set()
    for case in load_yaml(PROMETHEUS / "alerts_test.yml")["tests"]:
        for check in case["alert_rule_test"]:
            (fires if check["exp_alerts"] else silent).add(check["alertname"])
    assert fires == set(alerts)
    assert silent == set(alerts)


@pytest.mark.skipif(not shutil.which("promtool"), reason="promtool is not on the PATH")
@pytest.mark.parametrize(
    "arguments",
    [
        ("check", "config", "prometheus.yml"),
        ("test", "rules", "alerts_test.yml"),
    ],
    ids=" ".join,
)
def test_promtool_agrees(arguments: tuple[str, ...]) -> None:
    done = subprocess.run(
        ["promtool", *arguments], cwd=PROMETHEUS, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
