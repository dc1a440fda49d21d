"""The world of real tastes: the truth is the ratings of the users who rated every joke."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import polars as pl
import pytest
from numpy.typing import NDArray

from tests.integration.training.data.convert.real_files import DATA, needs
from tests.integration.training.data.convert.sources.jester import NOT_RATED, archives
from tests.integration.training.data.simulate.feed import DAYS, Feed, auc, files, load
from training.data.simulate.simulate import simulate
from training.errors import ConfigError, DatasetError

JOKES, COMPLETE, SLATE = 50, 30, 2
ROWS = COMPLETE * DAYS * SLATE

pytestmark = pytest.mark.usefixtures("unplotted")


def ratings() -> NDArray[np.float64]:
    """Ratings of 30 users who rated all jokes and of 3 who did not (U, J), all different."""
    table = np.random.default_rng(0).uniform(-10, 10, (COMPLETE + 3, JOKES)).round(2)
    table[:, :5] = (table[:, :5] / 4 + 5).round(2)  # jokes that most users like
    table[::11, 7] = NOT_RATED
    return table


def source(folder: Path, table: NDArray[np.float64]) -> Path:
    folder.mkdir()
    for name, content in archives(table).items():
        (folder / name).write_bytes(content)
    return folder


def truths(world: Feed) -> NDArray[np.float64]:
    """Return the truth of each simulated user and joke (U, J), NaN where no row has the pair."""
    truth = np.full((len(world.dataset.user_ids), JOKES), np.nan)
    row = [
        world.rows[name].str.slice(1).cast(pl.Int64).to_numpy() for name in ("user_id", "item_id")
    ]
    truth[row[0], row[1]] = world.rows["truth_logit"].to_numpy()
    return truth


def test_the_truth_is_the_rating_of_a_real_user(tmp_path: Path) -> None:
    """r = -1.3 + 1.4 (rating - mean) / deviation of the ratings of one joke, for one real user."""
    folder = source(tmp_path / "source", ratings())
    simulate(tmp_path / "out", source=folder, seed=1, impressions=ROWS)
    table = ratings()
    complete = table[(table != NOT_RATED).all(axis=1)]
    assert len(complete) == COMPLETE
    deviation = np.sqrt(complete.var(axis=0).mean())
    expected = -1.3 + 1.4 * (complete - complete.mean()) / deviation

    truth = truths(load(tmp_path / "out"))
    distance = np.nanmax(np.abs(truth[:, None] - expected), axis=2)  # (simulated, real)
    assert sorted(distance.argmin(axis=1)) == list(range(COMPLETE))
    assert distance.min(axis=1).max() < 1e-4
    assert (~np.isnan(truth)).sum(axis=1).min() >= DAYS * SLATE


def test_a_feed_of_few_jokes_shows_no_joke_twice(tmp_path: Path) -> None:
    folder = source(tmp_path / "source", ratings())
    for name in ("a", "b"):
        simulate(tmp_path / name, source=folder, seed=1, impressions=ROWS)
    assert files(tmp_path / "a") == files(tmp_path / "b")
    world = load(tmp_path / "a")
    slates = world.logged.group_by("user_id", "day").len()
    assert len(slates) == COMPLETE * DAYS
    assert set(slates["len"]) == {SLATE}
    assert world.logged.select("user_id", "item_id").n_unique() == ROWS
    assert len(world.uniform) == round(ROWS * 5 / 28)
    assert world.dataset.description.name == "jester-simulated"
    assert world.dataset.titles[0] == "Joke 1: A horse & a bar"
    assert np.flatnonzero(~world.dataset.modality_mask[:, 0]).tolist() == [2]


def test_more_users_than_rated_every_joke_share_tastes(tmp_path: Path) -> None:
    folder = source(tmp_path / "source", ratings()[:5])  # four of them rated all
    simulate(tmp_path / "out", source=folder, impressions=10 * DAYS * SLATE)
    truth = truths(load(tmp_path / "out"))
    twins = [sum(np.nanmax(np.abs(a - b)) < 1e-4 for b in truth) for a in truth]
    assert sorted(twins) == [2, 2, 2, 2, 3, 3, 3, 3, 3, 3]


def test_a_source_that_cannot_be_simulated_is_refused(tmp_path: Path) -> None:
    few = source(tmp_path / "few", ratings()[:, :30])
    with pytest.raises(DatasetError, match=r"has 30 jokes and 30 users .* at least 40 and 1"):
        simulate(tmp_path / "out", source=few)
    nobody = source(tmp_path / "nobody", ratings()[::11])
    with pytest.raises(DatasetError, match="has 50 jokes and 0 users who rated every joke"):
        simulate(tmp_path / "out", source=nobody)
    with pytest.raises(ConfigError, match="taste_dim: only tastes fitted to TikTok have it"):
        simulate(tmp_path / "out", source=few, taste_dim=8)
    assert not (tmp_path / "out").exists()


@needs("jester")
def test_real_tastes_rank_uniform_traffic_and_popularity_does_not(tmp_path: Path) -> None:
    simulate(tmp_path / "out", source=DATA / "jester", impressions=40_000)
    world = load(tmp_path / "out")
    assert len(world.dataset.user_ids) == 1_000
    assert auc(world.uniform, "truth_logit") > 0.78
    assert auc(world.uniform, "truth_logit") > auc(world.uniform, "served_logit") + 0.01
    assert auc(world.logged, "served_logit") > auc(world.logged, "truth_logit") + 0.005
    assert auc(world.uniform, "popularity") < 0.65
