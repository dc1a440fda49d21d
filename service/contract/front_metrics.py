"""The metrics of a front: one entry each, which manifest, report and telemetry read.

A new metric is an entry here and its value in ``training.metrics``.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Side = Literal["logged", "unbiased", "shown"]
Table = Literal["full ranking", "accuracy", "top 10"]


@dataclass(frozen=True)
class FrontMetric:
    """A metric at one tradeoff.

    sides: the fields of ``FrontPoint`` that hold it. table: the table of a report that shows it,
    with so many digits. exported: whether the service exports it as ``rank_model_front``.
    """

    name: str
    sides: tuple[Side, ...]
    table: Table
    description: str
    digits: int = 4
    exported: bool = False


_BOTH: tuple[Side, ...] = ("logged", "unbiased")
_LOGGED: tuple[Side, ...] = ("logged",)
_SHOWN: tuple[Side, ...] = ("shown",)

FRONT_METRICS = (
    FrontMetric(
        "recall_at_20",
        _BOTH,
        "full ranking",
        "share of a user's held-out clicks among the first 20 of the whole catalogue; on the "
        "unbiased side, of those on items with at most the median training count",
    ),
    FrontMetric(
        "ndcg_at_20", _LOGGED, "full ranking", "NDCG of the first 20, over the ideal order"
    ),
    FrontMetric(
        "ndcg_at_20_hit", _LOGGED, "full ranking", "NDCG of the first 20, normalised by the hits"
    ),
    FrontMetric(
        "cold_recall_at_20",
        _LOGGED,
        "full ranking",
        "recall_at_20 of clicks on items without a training click",
    ),
    FrontMetric(
        "matched_auc",
        _LOGGED,
        "full ranking",
        "probability that a click outscores an item of like popularity",
    ),
    FrontMetric(
        "auc", _BOTH, "accuracy", "probability that a click outscores a skip", exported=True
    ),
    FrontMetric("auc_with_position", _LOGGED, "accuracy", "AUC once the model knows the position"),
    FrontMetric(
        "gauc", _BOTH, "accuracy", "AUC within users with both labels, weighted by their rows"
    ),
    FrontMetric("logloss", _BOTH, "accuracy", "log loss of the calibrated score in nats"),
    FrontMetric("ece", _LOGGED, "accuracy", "expected calibration error of the calibrated score"),
    FrontMetric(
        "ndcg_at_10", _BOTH, "top 10", "NDCG of the first 10 of a user's own rows, all users alike"
    ),
    FrontMetric(
        "recall_at_10", _BOTH, "top 10", "share of a user's clicks among the first 10 of their rows"
    ),
    FrontMetric("arp", _SHOWN, "top 10", "mean training clicks of an item shown", digits=1),
    FrontMetric(
        "popularity_percentile",
        _SHOWN,
        "top 10",
        "mean percentile of an item shown by its training clicks; 50 is the median item",
        digits=1,
        exported=True,
    ),
    FrontMetric(
        "tail_share",
        _SHOWN,
        "top 10",
        "share of places that go to the 80 % least clicked items",
        digits=3,
        exported=True,
    ),
    FrontMetric(
        "exposure_gini", _SHOWN, "top 10", "Gini coefficient of places over items", digits=3
    ),
    FrontMetric("coverage", _SHOWN, "top 10", "share of items shown to anyone", digits=3),
)


def describe(side: Side) -> str:
    """Return one sentence that lists the metrics of a side, for the manifest's schema."""
    metrics = (metric for metric in FRONT_METRICS if side in metric.sides)
    return "; ".join(f"{metric.name}: {metric.description}" for metric in metrics) + "."
