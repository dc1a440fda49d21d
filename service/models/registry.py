"""The models that serve: follows the aliases of the repository, loads and drops versions."""

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
from service.errors import ModelNotFoundError, NotReadyError, RankError, StoreError
from service.exposure.monitor import ExposureMonitor
from service.models.loaded_model import LoadedModel
from service.models.scorer import Scorer
from service.settings import Settings
from service.store.records import RedisStore
from service.telemetry import Telemetry

_MAX_PAUSE_S = 15.0

# The aliases of one model, or the error of reading them.
Aliases = dict[str, int] | ArtifactError

log = logging.getLogger(__name__)


class Registry:
    """Holds every version that an alias names, and follows the aliases as they move.

    A new version serves once it is verified, has replayed its golden inputs and holds its
    catalogue. Until then, and if it fails, its alias keeps naming the version before.
    """

    def __init__(self, settings: Settings, store: RedisStore, telemetry: Telemetry) -> None:
        self._settings = settings
        self._store = store
        self._telemetry = telemetry
        self._repository = Repository(settings.models_dir)
        self._models: dict[str, LoadedModel] = {}
        self._aliases: dict[str, str] = {}  # name@alias -> name@version
        self._failures: dict[str, str] = {}  # name@version or name -> reason why it does not serve
        self._pause_s: dict[str, float] = {}  # name@version -> pause after its next failure
        self._retry_at: dict[str, float] = {}  # name@version -> monotonic time of its next load

    async def watch(self) -> None:
        """Follow the repository without end. After any error the models in memory keep serving."""
        while True:
            try:
                await self.refresh()
            except Exception:
                log.exception("reading the model repository failed; loaded models keep serving")
            await asyncio.sleep(self._settings.models_poll_s)

    async def refresh(self) -> None:
        """Load the versions that aliases newly name, move the aliases, drop unnamed versions."""
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
            log.info("%s: dropped, no alias names it", label)
            self._models.pop(label).following.cancel()
            self._telemetry.forget_model(label)

    def report(self) -> None:
        """Bring the metrics of all exposure monitors up to date."""
        for model in self._models.values():
            model.exposure.report(len(model.catalog))

    async def close(self) -> None:
        """Stop following changes, and reads for requests that have left."""
        await asyncio.gather(*(model.catalog.close() for model in self._models.values()))
        tasks = [model.following for model in self._models.values()]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    def resolve(self, reference: str | None) -> LoadedModel:
        """Return the model of a reference ``name``, ``name@version`` or ``name@alias``.

        None refers to the configured model, or to the only one. Raises ModelNotFoundError, or
        NotReadyError while no model is loaded.
        """
        if not self._models:
            raise NotReadyError(self._why_not_ready())
        reference = reference or self._settings.model or self._only_name()
        name, _, version = reference.partition("@")
        label = f"{name}@{version or CHAMPION}"
        model = self._models.get(self._aliases.get(label, label))
        if model is None:
            loaded = ", ".join(sorted([*self._models, *self._aliases]))
            message = f"model: {reference!r} is not loaded; loaded are {loaded}"
            raise ModelNotFoundError(message, field="model")
        return model

    def models(self) -> list[tuple[LoadedModel, list[str]]]:
        """Return all loaded models with the aliases that name them, sorted by name and version."""
        aliases: dict[str, list[str]] = {label: [] for label in self._models}
        for alias, label in sorted(self._aliases.items()):
            aliases[label].append(alias.partition("@")[2])
        models = sorted(self._models.values(), key=lambda m: (m.manifest.name, m.version))
        return [(model, aliases[model.label]) for model in models]

    def default_label(self) -> str | None:
        """Return ``name@version`` of the model for requests that name none, if there is one."""
        try:
            return self.resolve(None).label
        except RankError:
            return None

    def _move(self, aliases: dict[str, str]) -> None:
        """Replace the aliases and report them in the metrics."""
        for alias in set(self._aliases) - set(aliases):
            self._telemetry.alias_version.remove(*alias.split("@"))
        for alias, label in aliases.items():
            version = int(label.partition("@")[2])
            self._telemetry.alias_version.labels(*alias.split("@")).set(version)
        self._aliases = aliases

    def _only_name(self) -> str:
        names = {model.manifest.name for model in self._models.values()}
        if len(names) > 1:
            message = f"model: name one of {', '.join(sorted(names))}, or set RANK_MODEL"
            raise ModelNotFoundError(message, field="model")
        return names.pop()

    def _why_not_ready(self) -> str:
        if self._failures:
            return "; ".join(f"{label}: {why}" for label, why in sorted(self._failures.items()))
        return f"no model in {self._settings.models_dir} has an alias: train and publish one"

    def _read_aliases(self) -> dict[str, Aliases]:
        """Return the aliases of each model; runs in a thread, reads only the disk."""
        aliases: dict[str, Aliases] = {}
        for name in self._repository.names():
            try:
                aliases[name] = self._repository.aliases(name)
            except ArtifactError as error:
                aliases[name] = error
        return aliases

    def _wanted(self, aliases_by_name: dict[str, Aliases]) -> dict[str, str]:
        """Return name@alias -> name@version; aliases that cannot be read stay as they were."""
        wanted: dict[str, str] = {}
        for name, aliases in aliases_by_name.items():
            if isinstance(aliases, ArtifactError):
                self._fail(name, aliases)
                prefix = f"{name}@"
                wanted.update({a: v for a, v in self._aliases.items() if a.startswith(prefix)})
                continue
            self._failures.pop(name, None)
            wanted.update({f"{name}@{a}": f"{name}@{version}" for a, version in aliases.items()})
        for label in set(self._failures) - set(wanted.values()) - set(aliases_by_name):
            del self._failures[label]  # no alias names it any more
        return wanted

    async def _load(self, label: str) -> None:
        """Load a version and let it serve; if it fails, note the reason and the next attempt."""
        try:
            model = await self._loaded(label)
        except (ArtifactError, StoreError) as error:
            self._fail(label, error)
            self._telemetry.forget_model(label)
            pause_s = self._pause_s.get(label, self._settings.models_poll_s)
            self._retry_at[label] = time.monotonic() + pause_s
            self._pause_s[label] = min(2 * pause_s, _MAX_PAUSE_S)
            return
        self._models[label] = model
        for by_label in (self._failures, self._pause_s, self._retry_at):
            by_label.pop(label, None)
        _freeze_memory()
        self._telemetry.model_loads["ok"].inc()
        self._telemetry.model_loaded.labels(label).set_to_current_time()
        self._telemetry.model_created.labels(label).set(model.manifest.created.timestamp())
        log.info("%s: serves, %d items", label, len(model.catalog))

    async def _loaded(self, label: str) -> LoadedModel:
        """Return a version, verified, with its catalogue; raises ArtifactError or StoreError."""
        name, _, version = label.partition("@")
        path = self._repository.path(name, int(version))
        scorer = await asyncio.to_thread(self._verified, path)
        exposure = await asyncio.to_thread(ExposureMonitor, scorer.artifact, self._telemetry)
        manifest = scorer.artifact.manifest
        keys = Keys(self._settings.namespace, manifest.spaces)
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
            space = manifest.spaces.items
            raise StoreError(f"the store holds no items in space {space}: publish {label}")
        return LoadedModel(
            scorer=scorer,
            catalog=catalog,
            keys=keys,
            average_user=scorer.encode_user(np.zeros((0, manifest.state_dim), np.float32)),
            exposure=exposure,
            following=asyncio.create_task(catalog.follow(), name=f"follow {label}"),
        )

    def _verified(self, path: Path) -> Scorer:
        """Return the scorer of an artifact that has replayed its golden inputs."""
        scorer = Scorer(open_artifact(path), threads=self._settings.ort_threads)
        scorer.replay()
        return scorer

    def _fail(self, label: str, error: Exception) -> None:
        """Note the reason why a version or a model does not serve; log it once."""
        if self._failures.get(label) != str(error):
            log.error("%s does not serve: %s", label, error)
        self._failures[label] = str(error)
        self._telemetry.model_loads["failed"].inc()


def _freeze_memory() -> None:
    """Exempt all live objects from garbage collections, which stop every request."""
    gc.unfreeze()  # models dropped since the last load are garbage by now
    gc.collect()
    gc.freeze()
