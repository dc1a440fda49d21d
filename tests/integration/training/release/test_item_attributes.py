"""Item attributes take part in training, in the graphs and in the records of Redis."""

from __future__ import annotations

import dataclasses
import shutil
import sys
import uuid
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest

from service.contract.keys import Keys
from service.contract.records import decode, mask_matrix
from service.contract.repository import Repository
from service.contract.store_url import parse
from tests.conftest import World
from training.cli.app import main
from training.config import load_config
from training.data.dataset import Dataset, open_dataset
from training.errors import PublishError
from training.fitting.runs import RunStore
from training.pipeline import train
from training.release.publish import publish
from training.release.store import connect


def _with_attributes(source: Dataset, folder: Path, genres: list[str | None]) -> Path:
    shutil.copytree(source.path, folder)
    items = pl.read_parquet(folder / "items.parquet", glob=False)
    count = len(items)
    genre = pl.Series("genre", (genres * count)[:count])
    items.with_columns(genre, length=pl.int_range(count)).write_parquet(folder / "items.parquet")
    toml = folder / "dataset.toml"
    listed = 'item_attributes = ["genre", "length"]'
    toml.write_text(toml.read_text().replace("item_attributes = []", listed))
    return folder


@pytest.fixture(scope="module")
def attributed(toy_dataset: Dataset, tmp_path_factory: pytest.TempPathFactory) -> World:
    """Train a model on items with attributes."""
    folder = tmp_path_factory.mktemp("attributed")
    dataset = open_dataset(_with_attributes(toy_dataset, folder / "data", ["rock", "jazz", None]))
    overrides = ("train.epochs=1", "net.exposure_weight=1", "front.bootstrap=20")
    config = load_config("cp2rec", overrides=overrides)
    repository = Repository(folder / "models")
    artifact, fitted = train(dataset, config, repository, "toy", RunStore(folder / "runs"))
    return World(dataset, config, artifact, fitted, repository)


def test_a_model_carries_item_attributes_to_the_store(
    attributed: World,
    toy_dataset: Dataset,
    redis_url: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    manifest = attributed.artifact.manifest
    content = [modality.name for modality in toy_dataset.modalities]
    assert [modality.name for modality in manifest.modalities] == [*content, "attributes", "id"]
    namespace = f"t{uuid.uuid4().hex[:12]}"
    # Later items have a genre that the model never saw: its columns stay those of the training.
    later = _with_attributes(toy_dataset, tmp_path / "later", ["folk", "jazz"])
    place = ("--models", str(attributed.repository.root), "--data", str(later))
    monkeypatch.setattr(
        sys, "argv", ["training", "publish", "toy", *place, "--redis", redis_url,
                      "--namespace", namespace],
    )  # fmt: skip

    with pytest.raises(SystemExit) as stopped:
        main()

    assert stopped.value.code == 0
    ids = toy_dataset.item_ids[:4]
    store = connect(parse(redis_url))
    stored: Any = store.mget(Keys(namespace, manifest.spaces).items(ids))
    records = decode(stored, manifest.embedding_dim)
    start = sum(modality.dim for modality in toy_dataset.modalities)
    np.testing.assert_array_equal(
        records.values[:, start : start + 2], [[0, 0], [1, 0], [0, 0], [1, 0]]
    )
    length = records.values[:, start + 2]
    np.testing.assert_allclose(length, attributed.dataset.embedding[:4, -1])
    mask = mask_matrix(records.mask, len(manifest.modalities))
    assert mask[:, len(content)].tolist() == [1, 1, 1, 1]


def test_values_that_are_coded_otherwise_are_refused(
    attributed: World, toy_dataset: Dataset, redis_url: str, tmp_path: Path
) -> None:
    later = open_dataset(_with_attributes(toy_dataset, tmp_path / "later", ["folk", "jazz"]))
    assert later.modalities == attributed.dataset.modalities

    with pytest.raises(PublishError, match=r"trained on item attributes \['genre', 'length'\]"):
        publish(attributed.artifact, later, url=redis_url, namespace="refused")


def test_the_net_reads_item_attributes(attributed: World) -> None:
    dataset = attributed.dataset
    blank = dataset.embedding.copy()
    blank[:, -3:] = 0.0
    without = dataclasses.replace(
        attributed.fitted, dataset=dataclasses.replace(dataset, embedding=blank)
    )
    rows = np.arange(50)
    tradeoffs = np.array([0.0, 1.0])

    assert not np.allclose(
        attributed.fitted.score_rows(rows, tradeoffs), without.score_rows(rows, tradeoffs)
    )
