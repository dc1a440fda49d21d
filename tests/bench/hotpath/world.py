"""Tiny models, trained once, and catalogues of any size made from their items."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import polars as pl
import redis
import torch
from numpy.typing import NDArray

from service.contract.artifact import Artifact, open_artifact
from service.contract.keys import Keys
from service.contract.records import encode
from service.contract.repository import Repository
from tests.bench.common import log
from training.config import load_config
from training.data.dataset import Dataset, open_dataset
from training.data.simulate.simulate import simulate
from training.fitting.provenance import source_digest
from training.fitting.runs import RunStore
from training.pipeline import train
from training.release.parts import USERS
from training.release.publish import item_values

# Configuration by ranker: mlp is a network with learned interactions, the others one product.
MODELS = {"mlp": "cp2rec-front", "decomposed": "cp2rec", "painvrl": "painvrl"}
NAME = "bench"
NAMESPACE = "bench"
CONTENT_DIM = 256  # of each of the two modalities, as in encoders of images and sounds
_IMPRESSIONS = 20_000
_OVERRIDES = ("train.epochs=1", "front.bootstrap=20")
_DRAWS = ("exposure.draws=2",)
_USERS = 10_000
_CHUNK = 2_000
_NOISE = 0.2

Floats = NDArray[np.float32]


@dataclass(frozen=True)
class Items:
    """A chunk of the catalogue: embedding (N, D), mask (N,) bits, proxies (N, P)."""

    ids: list[str]
    embedding: Floats
    mask: NDArray[np.uint64]
    proxies: Floats


@dataclass(frozen=True)
class World:
    """A model and its training dataset."""

    artifact: Artifact
    dataset: Dataset

    @property
    def models(self) -> Path:
        """The repository, which holds only this model."""
        return self.artifact.path.parents[1]

    @property
    def keys(self) -> Keys:
        """The keys of the model's records."""
        return Keys(NAMESPACE, self.artifact.manifest.spaces)

    def items(self, count: int) -> Iterator[Items]:
        """Make items like the dataset's: each is one of its items with noise."""
        embedding, mask = item_values(self.artifact, self.dataset)
        for start in range(0, count, _CHUNK):
            rng = np.random.default_rng((1, start))
            size = min(_CHUNK, count - start)
            rows = rng.integers(len(embedding), size=size)
            noise = 1 + _NOISE * rng.standard_normal((size, embedding.shape[1]), np.float32)
            yield Items(
                ids=[f"i{n:07d}" for n in range(start, start + size)],
                embedding=embedding[rows] * noise,
                mask=mask[rows],
                proxies=self.dataset.proxies[rows].astype(np.float32),
            )

    def users(self) -> tuple[list[str], Floats]:
        """Make records of users like the training users: each is one of them with noise."""
        records = pl.read_parquet(self.artifact.path / USERS, glob=False)["vector"].to_numpy()
        rng = np.random.default_rng(2)
        rows = rng.integers(len(records), size=_USERS)
        noise = 1 + _NOISE * rng.standard_normal((_USERS, records.shape[1]), np.float32)
        return [f"u{n:05d}" for n in range(_USERS)], records[rows] * noise


def open_world(build: Path, ranker: str) -> World:
    """Return the world of a ranker; trains it unless the same sources already did."""
    folder = build / "hotpath-data" / _sources()
    data = folder / "dataset"
    if not data.exists():
        log("simulating a feed")
        simulate(data, impressions=_IMPRESSIONS)
        _widen(data)
    dataset = open_dataset(data)
    repository = Repository(folder / f"models-{ranker}")
    if not repository.versions(NAME):
        log(f"training {MODELS[ranker]}")
        torch.set_num_threads(1)
        overrides = _OVERRIDES + (_DRAWS if ranker == "mlp" else ())
        config = load_config(MODELS[ranker], overrides=overrides)
        train(dataset, config, repository, NAME, RunStore(folder / f"training-{ranker}"))
    repository.promote(NAME, 1)
    return World(open_artifact(repository.path(NAME, 1)), dataset)


def fill(client: redis.Redis, world: World, count: int) -> None:
    """Write users, ``count`` items and their proxies as ``publish`` does, and announce them."""
    keys = world.keys
    user_ids, values = world.users()
    client.mset(dict(zip(map(keys.user, user_ids), encode(values), strict=True)))
    for items in world.items(count):
        pipeline = client.pipeline(transaction=True)
        write_items(pipeline, keys, items)
        pipeline.execute()


def write_items(pipeline: redis.client.Pipeline, keys: Keys, items: Items) -> None:
    """Add what ``publish`` does for new or changed items."""
    proxies = encode(items.proxies)
    records = encode(items.embedding, items.mask)
    pipeline.mset(dict(zip(keys.proxies(items.ids), proxies, strict=True)))
    pipeline.mset(dict(zip(keys.items(items.ids), records, strict=True)))
    pipeline.sadd(keys.catalog, *items.ids)
    for stream in (keys.proxy_changes, keys.item_changes):
        pipeline.xadd(stream, {"ids": "\n".join(items.ids)}, maxlen=10_000, approximate=True)


def _widen(data: Path) -> None:
    """Widen content to ``CONTENT_DIM`` by a fixed random projection."""
    for path in sorted((data / "embeddings").glob("*.npy")):
        values = np.load(path)
        rng = np.random.default_rng(values.shape[1])
        basis = rng.standard_normal((values.shape[1], CONTENT_DIM)) / np.sqrt(values.shape[1])
        np.save(path, (values @ basis).astype(np.float32))


def _sources() -> str:
    """Return a digest of the sources that determine dataset and artifact."""
    modules = ("training.pipeline", "training.data.simulate.simulate")
    digest = hashlib.sha256(Path(__file__).read_bytes())
    for module in modules:
        digest.update(source_digest(module).encode())
    return digest.hexdigest()[:12]
