"""Alerts, rules and dashboards of the stack, read once."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest
import yaml

ROOT = Path(__file__).parents[3]
DOCKER = ROOT / "docker"
METRIC = re.compile(r"\brank_[a-z0-9_]+")


def load_yaml(path: Path) -> Any:
    """Return the only document of a YAML file."""
    return yaml.safe_load(path.read_text())


@pytest.fixture(scope="session")
def alerts() -> dict[str, dict[str, Any]]:
    """Alert rules by name."""
    groups = load_yaml(DOCKER / "prometheus" / "alerts.yml")["groups"]
    return {rule["alert"]: rule for group in groups for rule in group["rules"]}


@pytest.fixture(scope="session")
def records() -> dict[str, str]:
    """Recording rules: name -> expression."""
    groups = load_yaml(DOCKER / "prometheus" / "rules.yml")["groups"]
    return {rule["record"]: rule["expr"] for group in groups for rule in group["rules"]}


@pytest.fixture(scope="session")
def dashboards() -> dict[str, dict[str, Any]]:
    """Dashboards by file name."""
    paths = sorted((DOCKER / "grafana" / "dashboards").glob("*.json"))
    return {path.name: json.loads(path.read_text()) for path in paths}
