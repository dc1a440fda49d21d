"""The report of a simulation: AUCs of its oracle, and the plot."""

from __future__ import annotations

import numpy as np
import polars as pl
import pytest
from numpy.typing import NDArray
from scipy.special import expit
from sklearn.metrics import roc_auc_score

from tests.integration.training.data.simulate.feed import DAYS, SLATE, Feed, arrival_days, auc
from training.data.simulate import report


def test_the_plot_shows_the_log(toy: Feed) -> None:
    age_days = toy.items["age_days"].to_numpy()
    figure = report.draw_simulation(toy.logged.lazy(), toy.uniform.lazy(), age_days)
    tail, position, age, popularity = (
        {
            str(line.get_label()): np.array(line.get_xydata(), np.float64)
            for line in axes.get_lines()
        }
        for axes in figure.axes
    )
    rows = toy.logged

    clicks = np.sort(rows.filter(label=1)["item_id"].value_counts()["count"].to_numpy())[::-1]
    label = f"clicks: {clicks[:80].sum() / clicks.sum():.0%} on the top tenth of 800 items"
    np.testing.assert_array_equal(tail[label][:, 1], clicks)
    np.testing.assert_array_equal(tail[label][:, 0], np.arange(1, len(clicks) + 1))

    label = "click rate (further down items are worse, too)"
    slates = rows.sort("timestamp", "user_id", "position")["label"].to_numpy().reshape(-1, SLATE)
    np.testing.assert_allclose(position[label][:, 1], slates.mean(axis=0))
    law = position["examination $(k + 1)^{-0.4}$"]
    np.testing.assert_allclose(law[:, 1], np.arange(1, SLATE + 1) ** -0.4)
    examined = position["click rate / click rate if all were examined"]
    assert np.abs(examined - law).max() < 0.05
    served = rows.sort("position")["served_logit"].to_numpy().reshape(SLATE, -1)
    expected = slates.mean(axis=0) / expit(served).mean(axis=1)
    np.testing.assert_allclose(examined[:, 1], expected, rtol=1e-5)  # sums of float32, in any order

    shown = age["impressions of the log"]
    for days, share in shown:
        assert share == pytest.approx((rows["age_days"] == days).mean())
    arrivals = arrival_days(toy)["arrival"].to_numpy()
    there = [day - arrivals[arrivals <= day] for day in range(DAYS)]
    for days, share in age["items to choose from"]:
        assert share == pytest.approx(np.mean([(ages == days).mean() for ages in there]))

    for exposure in ("logged", "uniform"):
        cell = toy.rows.filter(pl.col("popularity").is_between(1, 1.5, "left"), exposure=exposure)
        middle = {
            name: dict(popularity[f"{exposure}: {name}"])[1.25]
            for name in ("clicked", "would like it (truth)")
        }
        truth = expit(cell["truth_logit"].to_numpy().astype(np.float64)).mean()
        assert middle["clicked"] == pytest.approx(cell["label"].mean())
        assert middle["would like it (truth)"] == pytest.approx(truth)


def test_the_oracle_is_measured_on_the_rows_of_its_name(toy: Feed) -> None:
    last = toy.logged.filter(pl.col("day") >= 18)
    assert report.oracle_aucs(toy.logged.lazy(), toy.uniform.lazy()) == pytest.approx(
        {
            "logged as exposed, all days": auc(toy.logged, "click_probability"),
            "logged as exposed, last 2 days": auc(last, "click_probability"),
            "logged as served (position unknown), last 2 days": auc(last, "served_logit"),
            "uniform by the truth": auc(toy.uniform, "truth_logit"),
        }
    )


@pytest.mark.parametrize("most", [4_000, 20_000])
def test_an_oracle_of_many_rows_is_estimated_from_all_positions(
    most: int, toy: Feed, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Every 16th row would be of one position, where examination explains nothing."""
    seen = []

    def counted(label: NDArray[np.generic], score: NDArray[np.generic]) -> float:
        seen.append(len(label))
        return float(roc_auc_score(label, score))

    monkeypatch.setattr(report, "AUC_ROWS", most)
    monkeypatch.setattr(report, "roc_auc_score", counted)
    aucs = report.oracle_aucs(toy.logged.lazy(), toy.uniform.lazy())
    assert max(seen) <= most
    whole = auc(toy.logged, "click_probability")
    assert aucs["logged as exposed, all days"] == pytest.approx(whole, abs=0.02)
