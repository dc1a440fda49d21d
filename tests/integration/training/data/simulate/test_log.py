"""The log of a feed follows from its own truth."""

from __future__ import annotations

import itertools

import numpy as np
import polars as pl
import pytest
from numpy.typing import NDArray
from scipy.special import expit

from tests.integration.training.data.simulate.feed import (
    DAYS,
    SLATE,
    USERS,
    Feed,
    arrival_days,
    auc,
    files,
)


def tenths(rows: pl.DataFrame, column: str) -> list[pl.DataFrame]:
    """Cut rows into ten parts by the value of ``column``."""
    ordered = rows.sort(column)
    bounds = np.linspace(0, len(ordered), 11).astype(int)
    return [ordered[start:stop] for start, stop in itertools.pairwise(bounds)]


def assert_mean_is_probability(
    label: NDArray[np.generic], probability: NDArray[np.generic], sigmas: float = 4.0
) -> None:
    """The sum of Bernoulli labels lies within ``sigmas`` deviations of its expectation."""
    p = probability.astype(np.float64)
    error = label.astype(np.float64).sum() - p.sum()
    assert abs(error) < sigmas * np.sqrt((p * (1 - p)).sum())


def test_every_user_sees_one_slate_of_16_different_items_a_day(toy: Feed) -> None:
    slates = toy.logged.group_by("user_id", "day").agg(
        pl.len(),
        pl.col("timestamp").n_unique().alias("times"),
        pl.col("item_id").n_unique().alias("items"),
        pl.col("position").sort().alias("positions"),
    )
    assert len(slates) == USERS * DAYS
    assert (slates["len"] == SLATE).all()
    assert (slates["times"] == 1).all()
    assert (slates["items"] == SLATE).all()
    assert slates["positions"].to_list() == [list(range(SLATE))] * len(slates)
    assert toy.logged["timestamp"].is_sorted()


def test_no_user_is_shown_an_item_twice(toy: Feed) -> None:
    assert toy.logged.select("user_id", "item_id").n_unique() == len(toy.logged)


def test_nothing_is_shown_before_it_arrives(toy: Feed) -> None:
    arrivals = arrival_days(toy)
    rows = toy.rows.join(arrivals, on="item_id")
    assert (rows["day"] >= rows["arrival"]).all()
    assert (rows["day"] - rows["arrival"] == rows["age_days"].cast(pl.Int64)).all()
    assert (arrivals["arrival"] < 0).sum() == 480  # 60 % exist at the start
    late = arrivals.filter(pl.col("arrival") >= 0)["arrival"]
    assert set(late) <= set(range(1, 19))
    assert rows.filter(pl.col("arrival") == pl.col("day")).height > 100  # cold items do appear


def test_popularity_is_standardised_log_clicks_of_the_days_before(toy: Feed) -> None:
    """Recomputed from the log alone: clicks of the row's own day or later have no part in it."""
    arrivals = arrival_days(toy)
    for day in range(DAYS + 1):
        before = toy.logged.filter((pl.col("day") < day) & (pl.col("label") == 1))
        clicks = before.group_by("item_id").len("clicks")
        h = (
            arrivals.filter(pl.col("arrival") <= day)
            .join(clicks, on="item_id", how="left")
            .with_columns(log=pl.col("clicks").fill_null(0).log1p())
            .select("item_id", h=pl.col("log") - pl.col("log").mean(), s=pl.col("log").std(ddof=0))
            .with_columns(pl.col("h") / pl.when(pl.col("s") > 0).then("s").otherwise(1))
        )
        emitted = toy.items if day == DAYS else toy.rows.filter(day=day)
        both = emitted.join(h, on="item_id", how="left")
        np.testing.assert_allclose(both["popularity"], both["h"], atol=1e-5)


def test_labels_are_drawn_from_the_click_probability(toy: Feed) -> None:
    for cell in tenths(toy.logged, "click_probability"):
        assert_mean_is_probability(cell["label"].to_numpy(), cell["click_probability"].to_numpy())


def test_clicks_decay_with_the_position_by_examination(toy: Feed) -> None:
    for (position,), cell in toy.logged.group_by("position"):
        probability = expit(cell["served_logit"].to_numpy()) * (int(str(position)) + 1) ** -0.4
        assert_mean_is_probability(cell["label"].to_numpy(), probability)
        np.testing.assert_allclose(cell["click_probability"], probability, rtol=1e-5)


def test_served_logit_adds_conformity_and_freshness_to_the_truth(toy: Feed) -> None:
    """(served - r - .8 a) / (h - 1.5) is one positive number a user, spread log-normally."""
    rows = toy.rows.filter((pl.col("popularity") - 1.5).abs() > 0.3).with_columns(
        g=(
            pl.col("served_logit")
            - pl.col("truth_logit")
            - 0.8 * (-pl.col("age_days").cast(pl.Float64) / 3).exp()
        )
        / (pl.col("popularity") - 1.5)
    )
    users = rows.group_by("user_id").agg(pl.col("g").median(), spread=pl.col("g").std())
    assert users["spread"].to_numpy().max() < 1e-4
    log_g = users["g"].log().to_numpy()
    assert abs(log_g.mean() - np.log(0.8)) < 4 * 0.6 / np.sqrt(USERS)
    assert abs(log_g.std() - 0.6) < 4 * 0.6 / np.sqrt(2 * USERS)


def test_uniform_labels_are_calibrated_to_the_truth(toy: Feed) -> None:
    for cell in tenths(toy.uniform, "truth_logit"):
        truth = expit(cell["truth_logit"].to_numpy())
        assert_mean_is_probability(cell["label"].to_numpy(), truth)
        np.testing.assert_allclose(cell["click_probability"], truth, rtol=1e-5)
    assert abs(expit(toy.uniform["truth_logit"].to_numpy()).mean() - 0.28) < 0.02


def test_uniform_rows_expose_all_arrived_items_alike_on_the_last_two_days(toy: Feed) -> None:
    uniform = toy.uniform
    assert set(uniform["day"]) == {18, 19}
    assert (uniform["position"] == 0).all()
    assert (uniform["propensity"] == pl.Series([1 / 800], dtype=pl.Float32)).all()
    assert uniform["user_id"].n_unique() == USERS
    counts = np.bincount(uniform["item_id"].str.slice(1).cast(pl.Int64), minlength=800)
    expected = len(uniform) / 800
    chi_square = ((counts - expected) ** 2 / expected).sum()
    assert abs(chi_square - 799) < 5 * np.sqrt(2 * 799)


@pytest.mark.parametrize("group", ["initial", "arriving"])
@pytest.mark.parametrize("world", ["toy", "blind"])
def test_one_over_propensity_counts_the_items_that_could_be_shown(
    world: str, group: str, request: pytest.FixtureRequest
) -> None:
    """The expected sum of 1 / propensity over a slate is how many items it could choose from.

    Those of the group that have arrived and that the user has not been shown on an earlier day.
    """
    feed: Feed = request.getfixturevalue(world)
    arrivals = arrival_days(feed)
    initial = pl.col("arrival") < 0
    chosen = arrivals.filter(initial if group == "initial" else ~initial)
    arrived = [chosen.filter(pl.col("arrival") <= day).height for day in range(DAYS)]
    counted = (
        feed.logged.join(chosen, on="item_id")
        .group_by("day")
        .agg(pl.len(), count=(1 / pl.col("propensity").cast(pl.Float64)).sum() / USERS)
        .sort("day")
        .with_columns(seen=(pl.col("len").cum_sum() - pl.col("len")) / USERS)
    )
    unseen = np.array(arrived)[counted["day"].to_numpy()] - counted["seen"].to_numpy()
    # Days are independent draws, so their spread gives the error of their mean.
    error = counted["count"].to_numpy() - unseen
    standard_error = error.std(ddof=1) / np.sqrt(len(error))
    assert abs(error.mean()) < 4 * standard_error
    assert standard_error < 0.06 * unseen.mean()


def test_the_truth_ranks_uniform_traffic_and_popularity_hardly_does(toy: Feed) -> None:
    assert auc(toy.uniform, "truth_logit") > 0.78
    assert auc(toy.uniform, "popularity") < 0.62
    assert auc(toy.uniform, "truth_logit") > auc(toy.uniform, "served_logit") + 0.02


def test_the_served_logit_beats_the_truth_on_the_log(toy: Feed) -> None:
    assert auc(toy.logged, "served_logit") > auc(toy.logged, "truth_logit") + 0.01
    assert auc(toy.logged, "click_probability") > auc(toy.logged, "served_logit") + 0.01


def test_policy_weight_is_how_much_exposure_follows_the_truth(toy: Feed, blind: Feed) -> None:
    def selection(world: Feed) -> float:
        logged, uniform = (rows["truth_logit"].to_numpy() for rows in (world.logged, world.uniform))
        return float(logged.mean() - uniform.mean())

    assert selection(toy) > selection(blind) + 0.5
    # Same seed, same world: only the policy differs.
    assert files(toy.folder)["embeddings/image.npy"] == files(blind.folder)["embeddings/image.npy"]
