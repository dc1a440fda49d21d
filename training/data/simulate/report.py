"""The report of a simulation: AUCs of its oracle, and a plot."""

from __future__ import annotations

from io import BytesIO

import numpy as np
import polars as pl
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from numpy.typing import NDArray
from sklearn.metrics import roc_auc_score

from training.data.simulate.log import DAY_S, DAYS, EPOCH_S, EXAMINATION_DECAY, TEST_DAYS

AUC_ROWS = 2_000_000  # of more rows, every n-th counts; an AUC then errs by about .0005
POPULARITY_BIN, LEAST_ROWS = 0.5, 100  # bins with fewer rows are noise and are left out


def oracle_aucs(logged: pl.LazyFrame, uniform: pl.LazyFrame) -> dict[str, float]:
    """Return the AUCs of the oracle's scores, the best reachable, by name of rows and score."""
    last = logged.filter(pl.col("timestamp") >= EPOCH_S + (DAYS - TEST_DAYS) * DAY_S)
    days = f"last {TEST_DAYS} days"
    return {
        "logged as exposed, all days": _auc(logged, "click_probability"),
        f"logged as exposed, {days}": _auc(last, "click_probability"),
        f"logged as served (position unknown), {days}": _auc(last, "served_logit"),
        "uniform by the truth": _auc(uniform, "truth_logit"),
    }


def _auc(rows: pl.LazyFrame, score: str) -> float:
    count = _collect(rows.select(pl.len())).item()
    # The step is odd: an even one would miss some positions of the slates, whose size is even.
    step = 1 if count <= AUC_ROWS else -(-count // AUC_ROWS) | 1
    sample = _collect(
        rows.select("label", score).with_row_index("row").filter(pl.col("row") % step == 0)
    )
    return float(roc_auc_score(sample["label"].to_numpy(), sample[score].to_numpy()))


def plot_simulation(
    logged: pl.LazyFrame, uniform: pl.LazyFrame, age_days: NDArray[np.int16], *, title: str
) -> bytes:
    """Return the figure of ``draw_simulation`` as a PNG."""
    figure = draw_simulation(logged, uniform, age_days)
    figure.suptitle(title)
    png = BytesIO()
    figure.savefig(png, format="png", dpi=120)
    return png.getvalue()


def draw_simulation(
    logged: pl.LazyFrame, uniform: pl.LazyFrame, age_days: NDArray[np.int16]
) -> Figure:
    """Draw four panels: the long tail, clicks by position, exposure by age, bias by popularity.

    ``age_days`` (I,) are the items' ages after the last day.
    """
    figure = Figure(figsize=(11, 8), layout="constrained")
    FigureCanvasAgg(figure)
    tail, position, age, popularity = figure.subplots(2, 2).ravel()
    _draw_tail(tail, logged, len(age_days))
    _draw_position(position, logged)
    _draw_age(age, logged, age_days)
    _draw_popularity(popularity, logged, uniform)
    for axes in (tail, position, age, popularity):
        axes.grid(alpha=0.3)
        axes.legend(fontsize=8)
    return figure


def _draw_tail(axes: Axes, logged: pl.LazyFrame, catalogue: int) -> None:
    items = logged.group_by("item_id").agg(
        clicks=pl.col("label").cast(pl.Int64).sum(), impressions=pl.len()
    )
    table = _collect(items)
    for column in ("impressions", "clicks"):
        counts = np.sort(table[column].to_numpy())[::-1]
        top = counts[: -(-catalogue // 10)].sum() / counts.sum()
        counts = counts[counts > 0]
        axes.loglog(
            np.arange(1, len(counts) + 1), counts,
            label=f"{column}: {top:.0%} on the top tenth of {catalogue:,} items",
        )  # fmt: skip
    axes.set_title("Popularity: the long tail of the log")
    axes.set_xlabel("rank of the item")
    axes.set_ylabel("count in the log")


def _draw_position(axes: Axes, logged: pl.LazyFrame) -> None:
    liked = 1 / (1 + (-pl.col("served_logit").cast(pl.Float64)).exp())
    table = _collect(
        logged.group_by("position").agg(rate=pl.col("label").mean(), liked=liked.mean())
    ).sort("position")
    position = table["position"].to_numpy()
    rate, expected = table["rate"].to_numpy(), table["liked"].to_numpy()
    axes.plot(
        position, (position + 1.0) ** -EXAMINATION_DECAY, color="grey", linestyle="--",
        label=f"examination $(k + 1)^{{-{EXAMINATION_DECAY:g}}}$",
    )  # fmt: skip
    axes.plot(position, rate / expected, "o", label="click rate / click rate if all were examined")
    axes.plot(position, rate, ".-", label="click rate (further down items are worse, too)")
    axes.set_ylim(bottom=0)
    axes.set_title("Clicks by position")
    axes.set_xlabel("position k, 0 = top")
    axes.set_ylabel("rate")


def _draw_age(axes: Axes, logged: pl.LazyFrame, age_days: NDArray[np.int16]) -> None:
    table = _collect(logged.group_by("age_days").len()).sort("age_days")
    shares = table["len"].to_numpy() / table["len"].sum()
    axes.plot(table["age_days"].to_numpy(), shares, ".-", label="impressions of the log")
    days = np.arange(DAYS)[:, None]
    age = age_days - (DAYS - days)  # (DAYS, I), negative before arrival
    weight = (age >= 0) / (age >= 0).sum(axis=1, keepdims=True) / DAYS
    catalogue = np.bincount(age[age >= 0], weights=weight[age >= 0])
    axes.plot(catalogue, color="grey", linestyle="--", label="items to choose from")
    axes.set_ylim(bottom=0)
    axes.set_title("Exposure by age")
    axes.set_xlabel("age of the item, days")
    axes.set_ylabel("share")


def _draw_popularity(axes: Axes, logged: pl.LazyFrame, uniform: pl.LazyFrame) -> None:
    for name, rows, colour in (("logged", logged, "tab:blue"), ("uniform", uniform, "tab:orange")):
        table = _collect(
            rows.group_by(bin=(pl.col("popularity") / POPULARITY_BIN).floor().cast(pl.Int32)).agg(
                pl.len(),
                clicks=pl.col("label").mean(),
                truth=(1 / (1 + (-pl.col("truth_logit").cast(pl.Float64)).exp())).mean(),
            )
        )
        table = table.filter(pl.col("len") >= LEAST_ROWS).sort("bin")
        centre = (table["bin"].to_numpy() + 0.5) * POPULARITY_BIN
        axes.plot(
            centre, table["truth"].to_numpy(), linewidth=6, alpha=0.3, color=colour,
            label=f"{name}: would like it (truth)",
        )  # fmt: skip
        axes.plot(
            centre, table["clicks"].to_numpy(), "o-", color=colour, markersize=4,
            label=f"{name}: clicked",
        )  # fmt: skip
    axes.set_ylim(bottom=0)
    axes.set_title("Bias: clicks and truth by popularity")
    axes.set_xlabel("popularity h, standard deviations of log clicks")
    axes.set_ylabel("rate")


def _collect(rows: pl.LazyFrame) -> pl.DataFrame:
    return rows.collect(engine="streaming")
