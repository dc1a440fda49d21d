"""Panels and dashboards as plain values, laid out and written as Grafana's JSON.

A panel has a title, a description, a unit and queries; this module sets its position and look.
Queries are PromQL; the window of a rate is ``$__rate_interval``.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

Json = dict[str, Any]
Unit = Literal["short", "percentunit", "s", "reqps", "cps", "none", "bytes"]

WIDTH = 24  # columns of Grafana's grid
SCHEMA_VERSION = 42
_SOURCE: Json = {"type": "prometheus", "uid": "${datasource}"}
_TOOLTIP = {"mode": "multi", "sort": "desc"}


@dataclass(frozen=True)
class Query:
    """One expression and the legend of its series, as in ``{{instance}}``."""

    expr: str
    legend: str = ""


@dataclass(frozen=True)
class Panel:
    """Fields of every panel: values turn orange from ``bad`` on and red from ``worse`` on.

    With ``low_is_bad``, values turn red below ``worse`` and orange below ``bad``.
    """

    title: str
    description: str
    queries: Sequence[Query]
    unit: Unit = "short"
    width: int = 8
    height: int = 8
    bad: float | None = None
    worse: float | None = None
    low_is_bad: bool = False

    def json(self, panel_id: int, x: int, y: int) -> Json:
        """Return the panel at column ``x`` and row ``y``."""
        return {
            "id": panel_id,
            "type": self.kind,
            "title": self.title,
            "description": self.description,
            "datasource": _SOURCE,
            "gridPos": {"x": x, "y": y, "w": self.width, "h": self.height},
            "targets": [
                {
                    "refId": chr(ord("A") + number),
                    "datasource": _SOURCE,
                    "expr": query.expr,
                    "legendFormat": query.legend or "__auto",
                    "range": True,
                    **self.target(),
                }
                for number, query in enumerate(self.queries)
            ],
            "fieldConfig": {"defaults": self.defaults(), "overrides": []},
            "options": self.options(),
        }

    @property
    def kind(self) -> str:
        """Grafana's type of the panel."""
        raise NotImplementedError

    def target(self) -> Json:
        """Return further fields of the queries of this kind of panel."""
        return {}

    def defaults(self) -> Json:
        """Return the unit, thresholds and colours of values."""
        steps: list[Json] = [{"value": None, "color": "red" if self.low_is_bad else "green"}]
        limits = (self.worse, self.bad) if self.low_is_bad else (self.bad, self.worse)
        colors = ("orange", "green") if self.low_is_bad else ("orange", "red")
        for limit, color in zip(limits, colors, strict=True):
            if limit is not None:
                steps.append({"value": limit, "color": color})
        return {
            "unit": self.unit,
            "thresholds": {"mode": "absolute", "steps": steps},
            "color": {"mode": "thresholds"},
        }

    def options(self) -> Json:
        """Return the options of this kind of panel."""
        raise NotImplementedError


@dataclass(frozen=True)
class Stat(Panel):
    """The last value in large type, in front of its time series."""

    width: int = 4
    height: int = 4

    @property
    def kind(self) -> str:
        """Grafana's type of the panel."""
        return "stat"

    def options(self) -> Json:
        """Return the options of a stat panel."""
        return {
            "colorMode": "value",
            "graphMode": "area",
            "justifyMode": "auto",
            "orientation": "auto",
            "percentChangeColorMode": "standard",
            "reduceOptions": {"calcs": ["lastNotNull"], "fields": "", "values": False},
            "showPercentChange": False,
            "textMode": "auto",
            "wideLayout": True,
        }


@dataclass(frozen=True)
class Lines(Panel):
    """Time series; ``stacked`` where their sum has a meaning."""

    stacked: bool = False
    log: bool = False

    @property
    def kind(self) -> str:
        """Grafana's type of the panel."""
        return "timeseries"

    def defaults(self) -> Json:
        """Return the style of lines; thresholds become dashed lines."""
        limited = self.bad is not None or self.worse is not None
        return {
            **super().defaults(),
            "color": {"mode": "palette-classic"},
            **({} if self.log else {"min": 0}),
            "custom": {
                "drawStyle": "line",
                "lineWidth": 1,
                "fillOpacity": 30 if self.stacked else 5,
                "showPoints": "never",
                "spanNulls": False,
                "stacking": {"mode": "normal" if self.stacked else "none", "group": "A"},
                "scaleDistribution": {"type": "log", "log": 10} if self.log else {"type": "linear"},
                "thresholdsStyle": {"mode": "dashed" if limited else "off"},
            },
        }

    def options(self) -> Json:
        """Return the options of a time series."""
        return {
            "legend": {
                "showLegend": True,
                "displayMode": "list",
                "placement": "bottom",
                "calcs": [],
            },
            "tooltip": _TOOLTIP,
        }


@dataclass(frozen=True)
class Heatmap(Panel):
    """A histogram over time; its query sums ``_bucket`` rates by ``le``."""

    @property
    def kind(self) -> str:
        """Grafana's type of the panel."""
        return "heatmap"

    def target(self) -> Json:
        """Return the format of a query over histogram buckets."""
        return {"format": "heatmap"}

    def defaults(self) -> Json:
        """Return the style of cells."""
        return {
            "custom": {
                "hideFrom": {"legend": False, "tooltip": False, "viz": False},
                "scaleDistribution": {"type": "linear"},
            }
        }

    def options(self) -> Json:
        """Return the options of a heatmap."""
        return {
            "calculate": False,
            "cellGap": 1,
            "color": {
                "mode": "scheme",
                "scheme": "Oranges",
                "fill": "dark-orange",
                "exponent": 0.5,
                "reverse": False,
                "steps": 64,
            },
            "exemplars": {"color": "rgba(255,0,255,0.7)"},
            "legend": {"show": True},
            "rowsFrame": {"layout": "auto"},
            "showValue": "never",
            "tooltip": {"mode": "single", "yHistogram": False, "showColorScale": False},
            "yAxis": {"axisPlacement": "left", "reverse": False, "unit": self.unit},
        }


@dataclass(frozen=True)
class Row:
    """A heading and panels, placed from the left in lines of 24 columns."""

    title: str
    panels: Sequence[Panel]


@dataclass(frozen=True)
class Dashboard:
    """Rows under a title; ``uid`` also names the file."""

    uid: str
    title: str
    description: str
    rows: Sequence[Row]
    tags: Sequence[str] = field(default=("paretorank",))

    def json(self) -> Json:
        """Return the dashboard in Grafana's format."""
        return {
            "uid": self.uid,
            "title": self.title,
            "description": self.description,
            "tags": list(self.tags),
            "schemaVersion": SCHEMA_VERSION,
            "editable": False,
            "graphTooltip": 1,  # one crosshair in all panels
            "refresh": "10s",
            "time": {"from": "now-30m", "to": "now"},
            "timezone": "browser",
            "templating": {
                "list": [
                    {
                        "name": "datasource",
                        "label": "Prometheus",
                        "type": "datasource",
                        "query": "prometheus",
                        "current": {"text": "Prometheus", "value": "prometheus"},
                    }
                ]
            },
            "links": [
                {
                    "type": "dashboards",
                    "title": "Paretorank",
                    "tags": list(self.tags),
                    "asDropdown": False,
                    "icon": "external link",
                    "includeVars": True,
                    "keepTime": True,
                    "targetBlank": False,
                    "tooltip": "",
                    "url": "",
                }
            ],
            "panels": self._panels(),
        }

    def _panels(self) -> list[Json]:
        placed: list[Json] = []
        y = 0
        for row in self.rows:
            placed.append(
                {
                    "id": len(placed) + 1,
                    "type": "row",
                    "title": row.title,
                    "collapsed": False,
                    "gridPos": {"x": 0, "y": y, "w": WIDTH, "h": 1},
                    "panels": [],
                }
            )
            x, y, tallest = 0, y + 1, 0
            for panel in row.panels:
                if x + panel.width > WIDTH:
                    x, y, tallest = 0, y + tallest, 0
                placed.append(panel.json(len(placed) + 1, x, y))
                x, tallest = x + panel.width, max(tallest, panel.height)
            y += tallest
        return placed
