"""Loads versions: verified, with their catalogue, followed until they are dropped."""

from __future__ import annotations

import asyncio
import gc
from collections.abc import Iterable
from pathlib import Path

import numpy as np

from service.catalog.catalog import Catalog
from service.contract.artifact import open_artifact
from service.contract.keys import Keys
from service.contract.repository import Repository
from service.errors import StoreError
from service.exposure.monitor import ExposureMonitor
from service.exposure.targets import Targets
from service.models.loaded_model import LoadedModel
from service.models.scorer import Scorer
from service.settings import Settings
from service.store.records import RedisStore
from service.tasks import end, finish
from service.telemetry import Telemetry

_FOLLOWER_S = 5.0  # longest wait for a follower to end by itself; it waits a second for changes


class Loader:
    """Loads and drops versions, and keeps the garbage collector off what they hold."""

    def __init__(
        self, settings: Settings, repository: Repository, store: RedisStore, telemetry: Telemetry
    ) -> None:
        self._settings = settings
        self._repository = repository
        self._store = store
        self._telemetry = telemetry
        self._followers: set[asyncio.Task[None]] = set()  # those of dropped models included

    async def load(self, label: str) -> LoadedModel:
        """Return a version that can serve; raises ArtifactError or StoreError."""
        model = await self._loaded(label)
        gc.collect()  # a short one: what was alive at the last load is frozen
        gc.freeze()  # collections of large catalogues would stop every request
        self._telemetry.model_loaded.labels(label).set_to_current_time()
        self._telemetry.model_created.labels(label).set(model.manifest.created.timestamp())
        return model

    async def drop(self, model: LoadedModel) -> None:
        """Let a model's follower end, so that nothing holds the model once its requests end."""
        self._telemetry.forget_model(model.label)
        model.catalog.stop()
        if not await finish([model.following], _FOLLOWER_S):
            gc.unfreeze()  # a cancelled follower is a cycle, which only a collection frees

    async def close(self, models: Iterable[LoadedModel]) -> None:
        """Stop following changes and end reads for requests that have left, within a bound."""
        loaded = list(models)
        for model in loaded:
            model.catalog.stop()
        await end(self._followers, _FOLLOWER_S)
        await asyncio.gather(*(model.catalog.close() for model in loaded))
        gc.unfreeze()  # a process that goes on may collect what this service held

    async def _loaded(self, label: str) -> LoadedModel:
        name, _, version = label.partition("@")
        path = self._repository.path(name, int(version))
        scorer = await asyncio.to_thread(self._verified, path)
        exposure = await asyncio.to_thread(ExposureMonitor, scorer.artifact, self._telemetry)
        card = await asyncio.to_thread(scorer.artifact.card)
        manifest = scorer.artifact.manifest
        keys = Keys(self._settings.namespace, manifest.spaces)
        catalog = Catalog(
            self._store,
            scorer,
            keys,
            self._telemetry,
            chunk=self._settings.catalog_chunk,
            max_bytes=self._settings.catalog_max_bytes,
            read_queue=self._settings.item_queue,
            traced=self._settings.user_histories,
        )
        await catalog.preload()
        if not len(catalog):
            space = manifest.spaces.items
            raise StoreError(f"the store holds no items in space {space}: publish {label}")
        return LoadedModel(
            scorer=scorer,
            catalog=catalog,
            keys=keys,
            average_user=scorer.encode_user(np.zeros((0, manifest.state_dim), np.float32)),
            exposure=exposure,
            targets=Targets(label, manifest.front, exposure, holds=self._settings.target_control),
            following=self._follow(catalog, label),
            card=card,
        )

    def _follow(self, catalog: Catalog, label: str) -> asyncio.Task[None]:
        following = asyncio.create_task(catalog.follow(), name=f"follow {label}")
        self._followers.add(following)
        following.add_done_callback(self._followers.discard)
        self._telemetry.catalog_followers.inc()
        following.add_done_callback(lambda _: self._telemetry.catalog_followers.dec())
        return following

    def _verified(self, path: Path) -> Scorer:
        """Return the scorer of an artifact that has replayed its golden inputs."""
        scorer = Scorer(open_artifact(path), threads=self._settings.ort_threads)
        scorer.replay()
        return scorer
