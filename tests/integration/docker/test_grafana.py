"""Dashboards: their JSON equals the definitions and fits Grafana's own types."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from jsonschema import Draft7Validator

from docker.grafana.__main__ import differences, main, write
from tests.integration.docker.conftest import DOCKER, load_yaml

GRAFANA = DOCKER / "grafana"


def _schema(name: str) -> Draft7Validator:
    return Draft7Validator(json.loads((GRAFANA / "schema" / f"{name}.json").read_text()))


def _problems(validator: Draft7Validator, value: object) -> list[str]:
    return [
        f"{list(error.absolute_path)}: {error.message}" for error in validator.iter_errors(value)
    ]


def _panels(dashboard: dict[str, Any]) -> list[dict[str, Any]]:
    return [panel for panel in dashboard["panels"] if panel["type"] != "row"]


def test_json_equals_the_definitions() -> None:
    assert main(["--check"]) == 0


def test_differences_name_stale_missing_and_further_files(tmp_path: Path) -> None:
    write(tmp_path)
    assert differences(tmp_path) == []
    stale = tmp_path / "exposure.json"
    stale.write_text(stale.read_text().replace('"refresh": "10s"', '"refresh": "5s"'))
    (tmp_path / "service-health.json").unlink()
    (tmp_path / "further.json").write_text("{}")
    assert differences(tmp_path) == ["exposure.json", "further.json", "service-health.json"]


def test_dashboards_fit_the_schema(dashboards: dict[str, dict[str, Any]]) -> None:
    validator = _schema("dashboard")
    for name, dashboard in dashboards.items():
        assert not _problems(validator, {"dashboard": dashboard}), name


def test_options_fit_the_schema_of_their_panel(dashboards: dict[str, dict[str, Any]]) -> None:
    for dashboard in dashboards.values():
        for panel in _panels(dashboard):
            options = {"options": panel["options"]}
            if (custom := panel["fieldConfig"]["defaults"].get("custom")) is not None:
                options["custom"] = custom
            assert not _problems(_schema(panel["type"]), options), panel["title"]


def test_the_schema_refuses_fields_and_values_unknown_to_grafana(
    dashboards: dict[str, dict[str, Any]],
) -> None:
    dashboard = dashboards["service-health.json"]
    assert _problems(_schema("dashboard"), {"dashboard": {**dashboard, "refreshh": "10s"}})
    panel = next(panel for panel in _panels(dashboard) if panel["type"] == "timeseries")
    options = {**panel["options"], "tooltip": {"mode": "both", "sort": "desc"}}
    custom = panel["fieldConfig"]["defaults"]["custom"]
    assert _problems(_schema("timeseries"), {"options": options, "custom": custom})
    assert _problems(
        _schema("timeseries"),
        {"options": panel["options"], "custom": {**custom, "drawStyle": "lines"}},
    )


def test_panels_have_a_description_and_do_not_overlap(
    dashboards: dict[str, dict[str, Any]],
) -> None:
    for name, dashboard in dashboards.items():
        assert name == f"{dashboard['uid']}.json"
        ids = [panel["id"] for panel in dashboard["panels"]]
        assert len(ids) == len(set(ids))
        occupied: set[tuple[int, int]] = set()
        for panel in dashboard["panels"]:
            place = panel["gridPos"]
            cells = {
                (x, y)
                for x in range(place["x"], place["x"] + place["w"])
                for y in range(place["y"], place["y"] + place["h"])
            }
            assert not cells & occupied, panel["title"]
            assert max(x for x, _ in cells) < 24
            occupied |= cells
        for panel in _panels(dashboard):
            assert panel["description"].endswith("."), panel["title"]
            assert panel["fieldConfig"]["defaults"].get("unit") or panel["type"] == "heatmap"


def test_provisioning_defines_the_data_source_of_every_dashboard(
    dashboards: dict[str, dict[str, Any]],
) -> None:
    sources = load_yaml(GRAFANA / "provisioning" / "datasources" / "prometheus.yml")
    uids = {source["uid"] for source in sources["datasources"]}
    for dashboard in dashboards.values():
        (variable,) = dashboard["templating"]["list"]
        assert variable["current"]["value"] in uids
