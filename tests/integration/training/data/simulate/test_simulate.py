"""The simulated folder: the same arguments give the same bytes; all of it appears, or nothing."""

from __future__ import annotations

import logging
from pathlib import Path

import numpy as np
import pytest

from tests.integration.training.data.simulate.feed import (
    IMPRESSIONS,
    SLATE,
    USERS,
    Feed,
    auc,
    files,
    load,
)
from training.data.simulate import log
from training.data.simulate.simulate import simulate
from training.errors import ConfigError, DatasetError


@pytest.mark.usefixtures("unplotted")
def test_same_seed_gives_the_same_files_and_another_seed_does_not(tmp_path: Path) -> None:
    for name, seed in (("a", 5), ("b", 5), ("c", 6)):
        simulate(tmp_path / name, seed=seed, impressions=3_200)
    a, b, c = (files(tmp_path / name) for name in "abc")
    assert a == b
    assert a.keys() == c.keys()
    assert a["impressions.parquet"] != c["impressions.parquet"]
    assert a["embeddings/image.npy"] != c["embeddings/image.npy"]


def test_the_folder_opens_as_a_dataset_of_the_size_asked_for(toy: Feed) -> None:
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
    toy: Feed, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Clicks, their order, the layout of the files and the plot stay the same."""
    monkeypatch.setattr(log, "BLOCK_ROWS", 30 * SLATE)
    simulate(tmp_path / "toy", seed=3, impressions=IMPRESSIONS)
    assert files(tmp_path / "toy") == files(toy.folder)


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


def test_nothing_but_the_folder_is_left_and_the_plot_lies_in_it(toy: Feed) -> None:
    assert [path.name for path in toy.folder.parent.iterdir()] == ["toy"]
    extra = {"simulation.png", "oracle.parquet"}
    assert {path.name for path in toy.folder.iterdir()} == extra | {
        "dataset.toml", "embeddings", "impressions.parquet", "items.parquet", "users.parquet"
    }  # fmt: skip
    png = (toy.folder / "simulation.png").read_bytes()
    assert png.startswith(b"\x89PNG\r\n\x1a\n")
    assert len(png) > 50_000


@pytest.mark.usefixtures("unplotted")
def test_the_oracle_is_logged(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    simulate(tmp_path / "out", impressions=3_200)
    world = load(tmp_path / "out")
    assert f"oracle AUC, uniform by the truth: {auc(world.uniform, 'truth_logit'):.4f}" in (
        caplog.messages
    )


def test_a_folder_in_use_is_refused_before_any_work(tmp_path: Path) -> None:
    (tmp_path / "precious.txt").write_text("mine")
    with pytest.raises(DatasetError, match="exists and is not empty"):
        simulate(tmp_path, impressions=3_200)
    assert [path.name for path in tmp_path.iterdir()] == ["precious.txt"]


def test_an_argument_out_of_range_is_refused_before_any_work(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="impressions: 319 is below"):
        simulate(tmp_path / "out", impressions=319)
    assert not list(tmp_path.iterdir())


def test_a_missing_source_is_named(tmp_path: Path) -> None:
    with pytest.raises(DatasetError, match=r"holds tiktok\.npz or jester-data-1\.zip"):
        simulate(tmp_path / "out", source=tmp_path)
