"""The metrics of a front: one list for the manifest, the report and the service's telemetry."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Group = Literal["logged", "unbiased", "shown"]
Table = Literal["full ranking", "rows", "top 10"]
TABLES: tuple[Table, ...] = ("full ranking", "rows", "top 10")

_BOTH: tuple[Group, ...] = ("logged", "unbiased")


@dataclass(frozen=True)
class FrontMetric:
    """One metric of a front.

    ``groups`` are the fields of ``FrontPoint`` that hold it: sides, or ``shown`` for exposure.
    ``table`` is the table of the report with a column for it, of ``digits`` decimals. The service
    exposes a ``monitored`` metric, so that traffic can be compared with it.
    """

    name: str
    groups: tuple[Group, ...]
    table: Table
    description: str
    digits: int = 4
    monitored: bool = False


FRONT_METRICS = (
    FrontMetric(
        "recall_at_20",
        _BOTH,
        "full ranking",
        "share of a user's held-out clicks among the first 20 of the whole catalogue",
    ),
    FrontMetric("ndcg_at_20", ("logged",), "full ranking", "NDCG of the same 20 places"),
    FrontMetric(
        "ndcg_at_20_hit",
        ("logged",),
        "full ranking",
        "NDCG of the same 20 places, normalised by the hits alone",
    ),
    FrontMetric(
        "cold_recall_at_20",
        ("logged",),
        "full ranking",
        "recall_at_20 of items without a training click",
    ),
    FrontMetric(
        "matched_auc",
        ("logged",),
        "full ranking",
        "AUC of a held-out click against items of similar popularity",
    ),
    FrontMetric("auc", _BOTH, "rows", "area under the ROC curve of the score", monitored=True),
    FrontMetric("auc_with_position", ("logged",), "rows", "AUC when the model knows the position"),
    FrontMetric("gauc", _BOTH, "rows", "mean AUC of a user's own rows, weighted by their number"),
    FrontMetric(
        "matched_row_auc", _BOTH, "rows", "AUC of a click against skips of similar popularity"
    ),
    FrontMetric("logloss", _BOTH, "rows", "log loss of the calibrated score, in nats"),
    FrontMetric("ece", ("logged",), "rows", "expected calibration error of the calibrated score"),
    FrontMetric("ndcg_at_10", _BOTH, "top 10", "mean NDCG of the first 10 of a user's own rows"),
    FrontMetric(
        "recall_at_10", _BOTH, "top 10", "mean share of a user's clicks among the same 10 rows"
    ),
    FrontMetric(
        "arp", ("shown",), "top 10", "average recommendation popularity: mean training clicks", 1
    ),
    FrontMetric(
        "popularity_percentile",
        ("shown",),
        "top 10",
        "mean percentile by training clicks, 50 = the median item",
        1,
        monitored=True,
    ),
    FrontMetric(
        "tail_share",
        ("shown",),
        "top 10",
        "share of the places with an item of the tail, the 80 % least clicked items",
        3,
        monitored=True,
    ),
    FrontMetric(
        "exposure_gini",
        ("shown",),
        "top 10",
        "Gini coefficient of the number of places by item",
        3,
        monitored=True,
    ),
    FrontMetric("coverage", ("shown",), "top 10", "share of the items with at least one place", 3),
    FrontMetric(
        "rare_share",
        ("shown",),
        "top 10",
        "share of the places with a rare item, of fewer than 3 training rows",
        3,
    ),
    FrontMetric("rare_items", ("shown",), "top 10", "number of rare items with a place", 0),
)


def describe(group: Group) -> str:
    """Return the descriptions of a group's metrics, in one line."""
    return "; ".join(f"{m.name}: {m.description}" for m in FRONT_METRICS if group in m.groups)


def monitored() -> list[tuple[str, Group, FrontMetric]]:
    """Return (measure, group, metric) of all that telemetry exposes; a measure names its side."""
    return [
        (metric.name if group == "shown" else f"{group}_{metric.name}", group, metric)
        for metric in FRONT_METRICS
        if metric.monitored
        for group in metric.groups
    ]
