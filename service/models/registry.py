"""The model repository as the service sees it: discover, verify, warm, swap, drop."""

from __future__ import annotations

import asyncio
import gc
import logging
import time
from pathlib import Path

import numpy as np

from service.catalog.catalog import Catalog
from service.contract.artifact import ArtifactError, open_artifact
from service.contract.keys import Keys
from service.contract.repository import CHAMPION, Repository
from service.errors import (
    ModelNotFoundError,
    NotReadyError,
    RankError,
    StoreError,
)
from service.exposure.monitor import ExposureMonitor
from service.models.loaded_model import LoadedModel
from service.models.scorer import Scorer
from service.settings import Settings
from service.store.records import RedisStore
from service.telemetry import Telemetry

_MAX_PAUSE_S = 15.0

log = logging.getLogger(__name__)


class Registry:
    """Holds every version that an alias names, and follows the aliases as they move.

    A new version serves once it is verified, has replayed its golden inputs and holds its
    catalogue; until then, and if it fails, the alias stays where it was.
    """

    def __init__(self, settings: Settings, store: RedisStore, telemetry: Telemetry) -> None:
        self._settings = settings
        self._store = store
        self._telemetry = telemetry
        self._repository = Repository(settings.models_dir)
        self._models: dict[str, LoadedModel] = {}
        self._aliases: dict[str, str] = {}  # name@alias -> name@version
        self._failures: dict[str, str] = {}  # name@version or name -> why it does not serve
        self._pause_s: dict[str, float] = {}
        self._retry_at: dict[str, float] = {}  # name@version -> when to try again

    async def watch(self) -> None:
        """Follow the repository for ever, whatever goes wrong with it."""
        while True:
            try:
                await self.refresh()
            except Exception:
                log.exception("looking for models failed; serving what is loaded")
            await asyncio.sleep(self._settings.models_poll_s)

    async def refresh(self) -> None:
        """Load what aliases newly name, then move the aliases, then drop what none names."""
        wanted = self._wanted(await asyncio.to_thread(self._read_aliases))
        for label in sorted(set(wanted.values()) - set(self._models)):
            if time.monotonic() >= self._retry_at.get(label, 0.0):
                await self._load(label)
        aliases = {
            alias: label if label in self._models else self._aliases.get(alias, "")
            for alias, label in wanted.items()
        }
        self._move({alias: label for alias, label in aliases.items() if label})
        for label in set(self._models) - set(self._aliases.values()):
            log.info("%s: no alias names it any more, dropped", label)
            self._models.pop(label).following.cancel()
            self._telemetry.forget_model(label)

    def report(self) -> None:
        """Bring the metrics of what is shown up to date."""
        for model in self._models.values():
            model.exposure.report(len(model.catalog))

    def _move(self, aliases: dict[str, str]) -> None:
        """Let ``aliases`` stand for what they name now, and show it."""
        for alias in set(self._aliases) - set(aliases):
            self._telemetry.alias_version.remove(*alias.split("@"))
        for alias, label in aliases.items():
            version = int(label.partition("@")[2])
            self._telemetry.alias_version.labels(*alias.split("@")).set(version)
        self._aliases = aliases

    async def close(self) -> None:
        """Stop following changes."""
        tasks = [model.following for model in self._models.values()]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    def resolve(self, reference: str | None) -> LoadedModel:
        """Return the model that ``name``, ``name@version`` or ``name@alias`` stands for.

        None stands for the configured model, or the only one. Raises ModelNotFoundError, or
        NotReadyError while nothing is loaded.
        """
        if not self._models:
            raise NotReadyError(self._waiting())
        reference = reference or self._settings.model or self._only_name()
        name, _, version = reference.partition("@")
        label = f"{name}@{version or CHAMPION}"
        model = self._models.get(self._aliases.get(label, label))
        if model is None:
            known = ", ".join(sorted([*self._models, *self._aliases]))
            message = f"model: {reference!r} is not loaded; loaded are {known}"
            raise ModelNotFoundError(message, field="model")
        return model

    def models(self) -> list[tuple[LoadedModel, list[str]]]:
        """Return all loaded models with the aliases that name them, sorted by name and version."""
        loaded = sorted(self._models.values(), key=lambda m: (m.manifest.name, m.version))
        return [
            (
                model,
                sorted(a.partition("@")[2] for a, v in self._aliases.items() if v == model.label),
            )
            for model in loaded
        ]

    def default_label(self) -> str | None:
        """Return ``name@version`` of the model that requests naming none get, if there is one."""
        try:
            return self.resolve(None).label
        except RankError:
            return None

    def _only_name(self) -> str:
        names = {model.manifest.name for model in self._models.values()}
        if len(names) > 1:
            message = f"model: name one of {', '.join(sorted(names))}, or set RANK_MODEL"
            raise ModelNotFoundError(message, field="model")
        return names.pop()

    def _waiting(self) -> str:
        if self._failures:
            return "; ".join(f"{label}: {why}" for label, why in sorted(self._failures.items()))
        return f"no model in {self._settings.models_dir} has an alias: train and publish one"

    def _read_aliases(self) -> dict[str, dict[str, int] | ArtifactError]:
        """Read each model's aliases, or why they cannot be read; touches the disk alone."""
        read: dict[str, dict[str, int] | ArtifactError] = {}
        for name in self._repository.names():
            try:
                read[name] = self._repository.aliases(name)
            except ArtifactError as error:
                read[name] = error
        return read

    def _wanted(self, read: dict[str, dict[str, int] | ArtifactError]) -> dict[str, str]:
        """Return name@alias -> name@version; what cannot be read stays as it was."""
        wanted: dict[str, str] = {}
        for name, aliases in read.items():
            if isinstance(aliases, ArtifactError):
                self._fail(name, aliases)
                kept = {a: v for a, v in self._aliases.items() if a.startswith(f"{name}@")}
                wanted.update(kept)
                continue
            self._failures.pop(name, None)
            wanted.update({f"{name}@{a}": f"{name}@{version}" for a, version in aliases.items()})
        for label in set(self._failures) - set(wanted.values()) - set(read):
            del self._failures[label]  # nobody wants it any more
        return wanted

    async def _load(self, label: str) -> None:
        name, _, version = label.partition("@")
        path = self._repository.path(name, int(version))
        try:
            scorer = await asyncio.to_thread(self._verify, path)
            exposure = await asyncio.to_thread(ExposureMonitor, scorer.artifact, self._telemetry)
            keys = Keys(self._settings.namespace, scorer.artifact.manifest.spaces)
            catalog = Catalog(
                self._store,
                scorer,
                keys,
                self._telemetry,
                chunk=self._settings.catalog_chunk,
                max_bytes=self._settings.catalog_max_bytes,
            )
            await catalog.preload()
            if not len(catalog):
                space = scorer.artifact.manifest.spaces.items
                raise StoreError(f"the store holds no items in space {space}: publish {label}")
        except (ArtifactError, StoreError) as error:
            self._fail(label, error)
            self._telemetry.forget_model(label)
            pause_s = self._pause_s.get(label, self._settings.models_poll_s)
            self._retry_at[label] = time.monotonic() + pause_s
            self._pause_s[label] = min(2 * pause_s, _MAX_PAUSE_S)
            return
        self._models[label] = LoadedModel(
            scorer=scorer,
            catalog=catalog,
            keys=keys,
            average_user=scorer.encode_user(
                np.zeros((0, scorer.artifact.manifest.state_dim), "f4")
            ),
            exposure=exposure,
            following=asyncio.create_task(catalog.follow(), name=f"follow {label}"),
        )
        for told in (self._failures, self._pause_s, self._retry_at):
            told.pop(label, None)
        _spare_the_collector()
        self._telemetry.model_loads["ok"].inc()
        self._telemetry.model_loaded.labels(label).set_to_current_time()
        created = scorer.artifact.manifest.created
        self._telemetry.model_created.labels(label).set(created.timestamp())
        log.info("%s: serves, %d items", label, len(catalog))

    def _verify(self, path: Path) -> Scorer:
        scorer = Scorer(open_artifact(path), threads=self._settings.ort_threads)
        scorer.replay()
        return scorer

    def _fail(self, label: str, error: Exception) -> None:
        if self._failures.get(label) != str(error):
            log.error("%s does not serve: %s", label, error)
        self._failures[label] = str(error)
        self._telemetry.model_loads["failed"].inc()


def _spare_the_collector() -> None:
    """Take what lives long out of Python's garbage collections, which stop every request."""
    gc.unfreeze()  # what was dropped since the last load is garbage by now
    gc.collect()
    gc.freeze()
