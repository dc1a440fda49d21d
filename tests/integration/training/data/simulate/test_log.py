"""The simulator: its log must follow from its own truth."""

from __future__ import annotations

import itertools
import logging
import tracemalloc
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from numpy.typing import NDArray
from scipy.special import expit
from sklearn.metrics import roc_auc_score

from training.data.dataset import Dataset, open_dataset
from training.data.simulate import log, report
from training.data.simulate.log import Columns, simulate_log
from training.data.simulate.simulate import simulate
from training.data.simulate.worlds import toy_world
from training.errors import ConfigError, DatasetError

DAYS, SLATE, DAY_S = 20, 16, 86_400
IMPRESSIONS = 64_000  # 200 users
USERS = IMPRESSIONS // (DAYS * SLATE)


@dataclass(frozen=True)
class Toy:
    """A toy world: the folder, its dataset, and all rows with day and truth as columns."""

    folder: Path
    dataset: Dataset
    rows: pl.DataFrame
    items: pl.DataFrame

    @property
    def logged(self) -> pl.DataFrame:
        return self.rows.filter(exposure="logged")

    @property
    def uniform(self) -> pl.DataFrame:
        return self.rows.filter(exposure="uniform")


def load(folder: Path) -> Toy:
    impressions = pl.read_parquet(folder / "impressions.parquet")
    oracle = pl.read_parquet(folder / "oracle.parquet")
    assert len(impressions) == len(oracle)
    rows = pl.concat([impressions, oracle], how="horizontal")
    seconds = pl.col("timestamp") // DAY_S
    rows = rows.with_columns(day=seconds - seconds.min())
    return Toy(folder, open_dataset(folder), rows, pl.read_parquet(folder / "items.parquet"))


@pytest.fixture(scope="module")
def toy(tmp_path_factory: pytest.TempPathFactory) -> Toy:
    folder = tmp_path_factory.mktemp("simulate") / "toy"
    simulate(folder, seed=3, impressions=IMPRESSIONS)
    return load(folder)


@pytest.fixture(scope="module")
def blind(tmp_path_factory: pytest.TempPathFactory) -> Toy:
    """The world of the same seed under a policy that knows nothing of the truth."""
    folder = tmp_path_factory.mktemp("simulate") / "blind"
    simulate(folder, seed=3, impressions=IMPRESSIONS, policy_weight=0.0)
    return load(folder)


@pytest.fixture
def unplotted(monkeypatch: pytest.MonkeyPatch) -> None:
    """Drawing takes longer than simulating a few rows."""
    monkeypatch.setattr("training.data.simulate.simulate.plot_simulation", lambda *_, **__: b"")


def files(folder: Path) -> dict[str, bytes]:
    paths = sorted(path for path in folder.rglob("*") if path.is_file())
    return {str(path.relative_to(folder)): path.read_bytes() for path in paths}


def arrival_days(toy: Toy) -> pl.DataFrame:
    return toy.items.select("item_id", arrival=DAYS - pl.col("age_days").cast(pl.Int64))


def auc(rows: pl.DataFrame, score: str) -> float:
    return float(roc_auc_score(rows["label"], rows[score]))


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


def test_same_seed_gives_the_same_files_and_another_seed_does_not(tmp_path: Path) -> None:
    for name, seed in (("a", 5), ("b", 5), ("c", 6)):
        simulate(tmp_path / name, seed=seed, impressions=3_200)
    a, b, c = (files(tmp_path / name) for name in "abc")
    assert a == b
    assert a.keys() == c.keys()
    assert a["impressions.parquet"] != c["impressions.parquet"]
    assert a["embeddings/image.npy"] != c["embeddings/image.npy"]


def test_the_folder_opens_as_a_dataset_of_the_size_asked_for(toy: Toy) -> None:
    dataset, rows = toy.dataset, toy.dataset.impressions
    assert len(dataset.user_ids) == USERS
    assert len(dataset.item_ids) == 800
    assert dataset.user_ids[1] == "u0001"
    assert dataset.item_ids[42] == "i0042"
    assert dataset.titles[16] == "Jazz 017"
    assert [(m.name, m.dim) for m in dataset.modalities] == [("image", 32), ("audio", 24)]
    assert [proxy.name for proxy in dataset.proxy_fields] == ["popularity", "age_days"]
    assert (~rows.uniform).sum() == IMPRESSIONS
    assert rows.uniform.sum() == round(IMPRESSIONS * 5 / 28)
    assert rows.uniform[IMPRESSIONS:].all()
    assert rows.split is None
    assert not np.isnan(rows.proxies).any()


def test_the_size_of_blocks_does_not_change_a_byte(
    toy: Toy, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Neither the clicks drawn nor their order nor the layout of the files."""
    monkeypatch.setattr(log, "BLOCK_ROWS", 30 * SLATE)
    simulate(tmp_path / "toy", seed=3, impressions=IMPRESSIONS)
    assert files(tmp_path / "toy") == files(toy.folder)


def test_a_user_costs_memory_but_the_rows_of_a_user_do_not(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(log, "BLOCK_ROWS", 100 * SLATE)

    def peak_bytes(users: int) -> int:
        rng = np.random.default_rng(0)
        world = toy_world(rng, users)
        sizes = []

        def emit(_: str, rows: Columns) -> None:
            sizes.append(len(rows.user))

        tracemalloc.start()
        simulate_log(world, rng, emit, policy_weight=0.8, uniform_rows=50 * users)
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        assert max(sizes) == 100 * SLATE
        assert sum(sizes) == (DAYS * SLATE + 50) * users
        return peak

    # Both are at least one block of users, whose scores of all items weigh most. What a user has
    # been shown is 640 bytes.
    assert (peak_bytes(2_048) - peak_bytes(512)) / 1_536 < 1_500  # bytes; as rows, 20,000


@pytest.mark.usefixtures("unplotted")
@pytest.mark.parametrize(
    "stage", ["log._uniform_exposure", "simulate.plot_simulation", "simulate.write_dataset"]
)
def test_an_interrupted_simulation_leaves_nothing_behind(
    stage: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupt(*_: object, **__: object) -> None:
        assert len(list(tmp_path.rglob("*.parquet"))) > 10  # of the days before
        raise KeyboardInterrupt

    monkeypatch.setattr(f"training.data.simulate.{stage}", interrupt)
    with pytest.raises(KeyboardInterrupt):
        simulate(tmp_path / "out", impressions=3_200)
    assert list(tmp_path.iterdir()) == []


def test_nothing_but_the_folder_is_left_and_the_plot_lies_in_it(toy: Toy) -> None:
    assert [path.name for path in toy.folder.parent.iterdir()] == ["toy"]
    beside = {"simulation.png", "oracle.parquet"}
    assert {path.name for path in toy.folder.iterdir()} == beside | {
        "dataset.toml", "embeddings", "impressions.parquet", "items.parquet", "users.parquet"
    }  # fmt: skip
    png = (toy.folder / "simulation.png").read_bytes()
    assert png.startswith(b"\x89PNG\r\n\x1a\n")
    assert len(png) > 50_000


def test_the_plot_shows_what_the_log_holds(toy: Toy) -> None:
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


def test_the_oracle_is_measured_on_the_rows_that_its_name_says(toy: Toy) -> None:
    last = toy.logged.filter(pl.col("day") >= 18)
    assert report.oracle_aucs(toy.logged.lazy(), toy.uniform.lazy()) == pytest.approx(
        {
            "logged as exposed, all days": auc(toy.logged, "click_probability"),
            "logged as exposed, last 2 days": auc(last, "click_probability"),
            "logged as served (position unknown), last 2 days": auc(last, "served_logit"),
            "uniform by the truth": auc(toy.uniform, "truth_logit"),
        }
    )


@pytest.mark.usefixtures("unplotted")
def test_the_oracle_is_logged(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    simulate(tmp_path / "out", impressions=3_200)
    world = load(tmp_path / "out")
    assert f"oracle AUC, uniform by the truth: {auc(world.uniform, 'truth_logit'):.4f}" in (
        caplog.messages
    )


@pytest.mark.parametrize("most", [4_000, 20_000])
def test_an_oracle_of_many_rows_is_estimated_from_all_positions(
    most: int, toy: Toy, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Every 16th row would be all of one position, where examination tells nothing."""
    seen = []

    def counted(label: NDArray[np.generic], score: NDArray[np.generic]) -> float:
        seen.append(len(label))
        return float(roc_auc_score(label, score))

    monkeypatch.setattr(report, "AUC_ROWS", most)
    monkeypatch.setattr(report, "roc_auc_score", counted)
    found = report.oracle_aucs(toy.logged.lazy(), toy.uniform.lazy())
    assert max(seen) <= most
    whole = auc(toy.logged, "click_probability")
    assert found["logged as exposed, all days"] == pytest.approx(whole, abs=0.02)


def test_few_items_lack_one_modality_and_none_lacks_both(toy: Toy) -> None:
    mask = toy.dataset.modality_mask
    assert (~mask).sum(axis=0).tolist() == [32, 32]
    assert mask.any(axis=1).all()


def test_modalities_overlap_without_repeating_each_other(toy: Toy) -> None:
    both = toy.dataset.modality_mask.all(axis=1)
    image, audio = toy.dataset.embedding[both, :32], toy.dataset.embedding[both, 32:]
    image, audio = image - image.mean(axis=0), audio - audio.mean(axis=0)
    seen, *_ = np.linalg.lstsq(image, audio, rcond=None)
    explained = 1 - ((audio - image @ seen) ** 2).sum() / (audio**2).sum()
    assert 0.3 < explained < 0.9


def test_every_user_sees_one_slate_of_16_different_items_a_day(toy: Toy) -> None:
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


def test_no_user_is_shown_an_item_twice(toy: Toy) -> None:
    assert toy.logged.select("user_id", "item_id").n_unique() == len(toy.logged)


def test_nothing_is_shown_before_it_arrives(toy: Toy) -> None:
    arrivals = arrival_days(toy)
    rows = toy.rows.join(arrivals, on="item_id")
    assert (rows["day"] >= rows["arrival"]).all()
    assert (rows["day"] - rows["arrival"] == rows["age_days"].cast(pl.Int64)).all()
    assert (arrivals["arrival"] < 0).sum() == 480  # 60 % exist at the start
    late = arrivals.filter(pl.col("arrival") >= 0)["arrival"]
    assert set(late) <= set(range(1, 19))
    assert rows.filter(pl.col("arrival") == pl.col("day")).height > 100  # cold items do appear


def test_popularity_is_standardised_log_clicks_of_the_days_before(toy: Toy) -> None:
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
        found = emitted.join(h, on="item_id", how="left")
        np.testing.assert_allclose(found["popularity"], found["h"], atol=1e-5)


def test_labels_are_drawn_from_the_click_probability(toy: Toy) -> None:
    for cell in tenths(toy.logged, "click_probability"):
        assert_mean_is_probability(cell["label"].to_numpy(), cell["click_probability"].to_numpy())


def test_clicks_decay_with_the_position_by_examination(toy: Toy) -> None:
    for (position,), cell in toy.logged.group_by("position"):
        probability = expit(cell["served_logit"].to_numpy()) * (int(str(position)) + 1) ** -0.4
        assert_mean_is_probability(cell["label"].to_numpy(), probability)
        np.testing.assert_allclose(cell["click_probability"], probability, rtol=1e-5)


def test_served_logit_adds_conformity_and_freshness_to_the_truth(toy: Toy) -> None:
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


def test_uniform_labels_are_calibrated_to_the_truth(toy: Toy) -> None:
    for cell in tenths(toy.uniform, "truth_logit"):
        truth = expit(cell["truth_logit"].to_numpy())
        assert_mean_is_probability(cell["label"].to_numpy(), truth)
        np.testing.assert_allclose(cell["click_probability"], truth, rtol=1e-5)
    assert abs(expit(toy.uniform["truth_logit"].to_numpy()).mean() - 0.28) < 0.02


def test_uniform_rows_expose_all_arrived_items_alike_on_the_last_two_days(toy: Toy) -> None:
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
    feed: Toy = request.getfixturevalue(world)
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


def test_the_truth_ranks_uniform_traffic_and_popularity_hardly_does(toy: Toy) -> None:
    assert auc(toy.uniform, "truth_logit") > 0.78
    assert auc(toy.uniform, "popularity") < 0.62
    assert auc(toy.uniform, "truth_logit") > auc(toy.uniform, "served_logit") + 0.02


def test_the_served_logit_beats_the_truth_on_the_log(toy: Toy) -> None:
    assert auc(toy.logged, "served_logit") > auc(toy.logged, "truth_logit") + 0.01
    assert auc(toy.logged, "click_probability") > auc(toy.logged, "served_logit") + 0.01


def test_policy_weight_is_how_much_exposure_follows_the_truth(toy: Toy, blind: Toy) -> None:
    def selection(world: Toy) -> float:
        logged, uniform = (rows["truth_logit"].to_numpy() for rows in (world.logged, world.uniform))
        return float(logged.mean() - uniform.mean())

    assert selection(toy) > selection(blind) + 0.5
    # Same seed, same world: only the policy differs.
    assert files(toy.folder)["embeddings/image.npy"] == files(blind.folder)["embeddings/image.npy"]


def test_the_truth_is_partly_explained_by_content(toy: Toy) -> None:
    """Mean truth by item regressed on the embeddings: more than noise, less than everything."""
    has = toy.dataset.modality_mask.sum(axis=1) == 2
    mean = (
        toy.uniform.group_by("item_id").agg(pl.col("truth_logit").mean(), pl.len()).sort("item_id")
    )
    rows = mean["item_id"].str.slice(1).cast(pl.Int64).to_numpy()
    keep = has[rows]
    x = toy.dataset.embedding[rows[keep]]
    x = np.column_stack([x, np.ones(len(x))])
    y = mean["truth_logit"].to_numpy()[keep]
    fit = np.resize([True, False], len(y))
    weight, *_ = np.linalg.lstsq(x[fit], y[fit], rcond=None)
    assert 0.1 < np.corrcoef(x[~fit] @ weight, y[~fit])[0, 1] < 0.9


@pytest.mark.parametrize(
    ("impressions", "policy_weight", "seed", "message"),
    [
        (319, 0.8, 0, "impressions: 319 is below one user's 320"),
        (None, -0.1, 0, r"policy_weight: -0.1 is not in \[0, 10\]"),
        (None, float("nan"), 0, "policy_weight: nan"),
        (None, 0.8, -1, "seed: -1 is negative"),
    ],
)
def test_arguments_out_of_range_are_refused(
    tmp_path: Path, impressions: int | None, policy_weight: float, seed: int, message: str
) -> None:
    with pytest.raises(ConfigError, match=message):
        simulate(tmp_path / "out", impressions=impressions, policy_weight=policy_weight, seed=seed)
    assert not (tmp_path / "out").exists()


def test_a_folder_in_use_is_refused_before_any_work(tmp_path: Path) -> None:
    (tmp_path / "precious.txt").write_text("mine")
    with pytest.raises(DatasetError, match="exists and is not empty"):
        simulate(tmp_path, impressions=3_200)
    assert [path.name for path in tmp_path.iterdir()] == ["precious.txt"]


def tiktok_file(folder: Path, *, users: int = 30, items: int = 60, per_user: int = 8) -> Path:
    """Write a small ``tiktok.npz`` whose users like one of two kinds of items."""
    rng = np.random.default_rng(0)
    kind = np.arange(items) % 2
    pairs = [
        (user, item)
        for user in range(users)
        for item in rng.permutation(np.flatnonzero(kind == user % 2))[:per_user]
    ]
    content = (2 * kind - 1)[:, None] + 0.5 * rng.standard_normal((items, 4))
    folder.mkdir(exist_ok=True)
    np.savez(
        folder / "tiktok.npz",
        trn=np.array(pairs, np.int16),
        val=np.array([[0, 1]], np.int16),
        tst=np.array([[1, 0]], np.int16),
        image=content.astype(np.float16),
        audio=rng.standard_normal((items, 3)).astype(np.float16),
    )
    return folder


@pytest.mark.usefixtures("unplotted")
def test_the_semi_synthetic_truth_follows_real_preferences(tmp_path: Path) -> None:
    source = tiktok_file(tmp_path / "source")
    for name in ("a", "b"):
        simulate(tmp_path / name, source=source, seed=1, impressions=30 * DAYS * SLATE)
    assert files(tmp_path / "a") == files(tmp_path / "b")
    world = load(tmp_path / "a")
    # With 60 items all must come again, but none twice in a slate nor before the others have.
    shown = world.logged.group_by("user_id", "day").agg(pl.col("item_id").n_unique())
    assert (shown["item_id"] == SLATE).all()
    first_days = world.logged.filter(pl.col("day") < 2)
    assert first_days.select("user_id", "item_id").n_unique() == len(first_days)
    assert world.dataset.description.name == "tiktok-simulated"
    assert len(world.dataset.user_ids) == 30
    raw = np.load(source / "tiktok.npz")
    block = np.concatenate([raw["image"], raw["audio"]], axis=1).astype(np.float32)
    np.testing.assert_array_equal(world.dataset.embedding, block)
    # Half of the users like even items and half odd ones, as they do in the file.
    kind = pl.col("item_id").str.slice(1).cast(pl.Int64) % 2
    gap = (
        world.uniform.group_by("user_id")
        .agg(
            even=pl.col("truth_logit").filter(kind == 0).mean(),
            odd=pl.col("truth_logit").filter(kind == 1).mean(),
        )
        .select((pl.col("odd") - pl.col("even")).alias("gap"))["gap"]
    )
    assert gap.abs().to_numpy().min() > 0.5
    assert (gap > 0).sum() == 15


@pytest.mark.usefixtures("unplotted")
def test_more_users_than_the_source_has_share_tastes(tmp_path: Path) -> None:
    source = tiktok_file(tmp_path / "source", users=4)
    simulate(tmp_path / "out", source=source, impressions=9 * DAYS * SLATE)
    world = load(tmp_path / "out")
    assert len(world.dataset.user_ids) == 9
    # The truth of a pair does not depend on the day, so users of one taste agree on it.
    truth = world.rows.group_by("user_id", "item_id").agg(pl.col("truth_logit").first())
    wide = truth.pivot(on="user_id", index="item_id", values="truth_logit").drop("item_id")
    columns = [wide[f"u{k:04d}"].to_numpy() for k in range(9)]
    twins = [
        sum(np.nanmax(np.abs(a - b)) < 1e-4 for b in columns) for a in columns
    ]  # itself included
    assert sorted(twins) == [2] * 6 + [3] * 3


@pytest.mark.usefixtures("unplotted")
def test_tastes_have_the_dimensions_asked_for(tmp_path: Path) -> None:
    """With one dimension users differ along a line: all tell apart the same items."""
    source = tiktok_file(tmp_path / "source")
    out = tmp_path / "out"
    simulate(out, source=source, impressions=30 * DAYS * SLATE, taste_dim=1)
    truth = load(out).rows.group_by("user_id", "item_id").agg(pl.col("truth_logit").first())
    # Averaged over users an item's truth is its quality, so what is left is of rank one.
    wide = truth.pivot(on="user_id", index="item_id", values="truth_logit").drop("item_id")
    seen = wide.drop_nulls().to_numpy()
    values = np.linalg.svd(seen[:, 1:] - seen[:, :1], compute_uv=False)
    assert len(seen) > 20
    assert values[0] > 1
    assert values[1] < 1e-3 * values[0]


@pytest.mark.parametrize(
    ("source", "taste_dim", "message"),
    [(False, 8, "taste_dim: generated users"), (True, 0, "taste_dim: 0"), (True, 65, "not in")],
)
def test_dimensions_of_taste_out_of_place_are_refused(
    tmp_path: Path, source: bool, taste_dim: int, message: str
) -> None:
    folder = tiktok_file(tmp_path / "source") if source else None
    with pytest.raises(ConfigError, match=message):
        simulate(tmp_path / "out", source=folder, taste_dim=taste_dim)


def test_a_source_too_small_to_simulate_is_refused(tmp_path: Path) -> None:
    source = tiktok_file(tmp_path / "source", items=30)
    with pytest.raises(DatasetError, match=r"tiktok\.npz: has 30 items and 30 users"):
        simulate(tmp_path / "out", source=source)
    source = tiktok_file(tmp_path / "source", per_user=1)
    with pytest.raises(DatasetError, match="60 items and 0 users with 2 training positives"):
        simulate(tmp_path / "out", source=source)


def test_a_missing_source_is_named(tmp_path: Path) -> None:
    with pytest.raises(DatasetError, match=r"tiktok\.npz: is missing"):
        simulate(tmp_path / "out", source=tmp_path)
