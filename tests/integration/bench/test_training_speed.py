"""The benchmark of training speed can load what it measures."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import polars as pl
import torch

from tests.bench.random_log import SLATE, random_log
from tests.bench.training_speed.config import bench_config
from tests.bench.training_speed.data import prepare
from tests.bench.training_speed.protocol import Task
from training.data.split import split_rows
from training.fitting.batches import SlateBatches

TASK = Task(
    data="",
    scratch="",
    core=0,
    epochs=1,
    batch_rows=1024,
    dim=16,
    hidden=64,
    cross_layers=2,
    lr=0.01,
    seed=0,
    content=True,
    impressions=640,
    users=50,
)


def test_measures_a_dcn_without_debiasing() -> None:
    config, options = bench_config()

    assert config.net.architecture == "dcn"
    assert options.debias == "none"


def test_peers_have_the_rows_of_a_random_log_and_all_of_its_users(tmp_path: Path) -> None:
    task = replace(TASK, data=str(tmp_path / "data"))

    prepare(task, for_peers=True)

    recbole, fuxictr = tmp_path / "data/recbole/feed", tmp_path / "data/fuxictr"
    train = pl.read_parquet(fuxictr / "train.parquet", glob=False)
    assert len(pl.read_csv(recbole / "feed.user", glob=False)) == 50
    assert len(pl.read_csv(recbole / "feed.item", glob=False)) == 50
    assert len(pl.read_csv(recbole / "feed.train.inter", glob=False)) == len(train)
    assert train["user_id"].n_unique() < 50


def test_slates_of_a_random_log_stay_whole_so_that_all_variants_have_equal_batches() -> None:
    config, _ = bench_config()
    dataset = random_log(50, 640)
    split = split_rows(
        dataset, validation=config.split.validation, test=config.split.test, seed=config.seed
    )

    batches = SlateBatches(dataset, split.train, slate=SLATE, batch_slates=1)

    assert len(split.train) > 0
    assert set(batches.slates(torch.arange(len(batches))).lengths().tolist()) == {SLATE}
