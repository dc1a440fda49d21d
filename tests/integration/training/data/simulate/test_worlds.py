"""Worlds: generated items, and users and items fitted to a real file."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import polars as pl
import pytest

from tests.integration.training.data.simulate.feed import (
    DAYS,
    SLATE,
    Feed,
    files,
    load,
    tiktok_file,
)
from training.data.simulate.simulate import simulate
from training.errors import DatasetError


def test_few_items_lack_one_modality_and_none_lacks_both(toy: Feed) -> None:
    mask = toy.dataset.modality_mask
    assert (~mask).sum(axis=0).tolist() == [32, 32]
    assert mask.any(axis=1).all()


def test_modalities_overlap_without_repeating_each_other(toy: Feed) -> None:
    both = toy.dataset.modality_mask.all(axis=1)
    image, audio = toy.dataset.embedding[both, :32], toy.dataset.embedding[both, 32:]
    image, audio = image - image.mean(axis=0), audio - audio.mean(axis=0)
    seen, *_ = np.linalg.lstsq(image, audio, rcond=None)
    explained = 1 - ((audio - image @ seen) ** 2).sum() / (audio**2).sum()
    assert 0.3 < explained < 0.9


def test_the_truth_is_partly_explained_by_content(toy: Feed) -> None:
    """Mean truth by item regressed on the embeddings: more than noise, less than everything."""
    has = toy.dataset.modality_mask.sum(axis=1) == 2
    mean = (
        toy.uniform.group_by("item_id").agg(pl.col("truth_logit").mean(), pl.len()).sort("item_id")
    )
    rows = mean["item_id"].str.slice(1).cast(pl.Int64).to_numpy()
    both = has[rows]
    x = toy.dataset.embedding[rows[both]]
    x = np.column_stack([x, np.ones(len(x))])
    y = mean["truth_logit"].to_numpy()[both]
    fit = np.resize([True, False], len(y))
    weight, *_ = np.linalg.lstsq(x[fit], y[fit], rcond=None)
    assert 0.1 < np.corrcoef(x[~fit] @ weight, y[~fit])[0, 1] < 0.9


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
    """With one dimension users differ along one line: all of them order items by one direction."""
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


def test_a_source_too_small_to_simulate_is_refused(tmp_path: Path) -> None:
    source = tiktok_file(tmp_path / "source", items=30)
    with pytest.raises(DatasetError, match=r"tiktok\.npz: has 30 items and 30 users"):
        simulate(tmp_path / "out", source=source)
    source = tiktok_file(tmp_path / "source", per_user=1)
    with pytest.raises(DatasetError, match="60 items and 0 users with 2 training positives"):
        simulate(tmp_path / "out", source=source)
