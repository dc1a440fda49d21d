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
from service.models.alias_reader import AliasReader
from service.models.loaded_model import LoadedModel
from service.models.scorer import Scorer
from service.settings import Settings
from service.store.records import RedisStore
from service.tasks import end, finish
from service.telemetry import Telemetry

_MAX_PAUSE_S = 15.0
_FOLLOWER_S = 5.0  # longest wait for a follower to end by itself; it waits a second for changes

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
        self._alias_reader = AliasReader(self._repository, telemetry)
        self._models: dict[str, LoadedModel] = {}
        self._followers: set[asyncio.Task[None]] = set()  # those of dropped models included
        self._aliases: dict[str, str] = {}  # name@alias -> name@version
        self._default: str | None = None  # the repository's default: name or name@alias
        self._failures: dict[str, str] = {}  # name@version -> reason why it does not serve
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
        wanted = await self._alias_reader.read(self._aliases)
        self._move_default()  # before a second model is loaded: then none can be inferred
        for label in set(self._failures) - set(wanted.values()):
            del self._failures[label]  # no alias names it any more
        for label in sorted(set(wanted.values()) - set(self._models)):
            if time.monotonic() >= self._retry_at.get(label, 0.0):
                await self._load(label)
        aliases = {
            alias: label if label in self._models else self._aliases.get(alias, "")
            for alias, label in wanted.items()
        }
        self._move({alias: label for alias, label in aliases.items() if label})
        self._move_default()
        for label in set(self._models) - set(self._aliases.values()):
            log.info("%s: dropped, no alias names it", label)
            await self._drop(self._models.pop(label))

    def report(self) -> None:
        """Bring the metrics of all exposure monitors up to date."""
        for model in self._models.values():
            model.exposure.report(len(model.catalog))

    async def close(self) -> None:
        """Stop following changes and end reads for requests that have left, within a bound."""
        for model in self._models.values():
            model.catalog.stop()
        await end(self._followers, _FOLLOWER_S)
        await asyncio.gather(*(model.catalog.close() for model in self._models.values()))
        gc.unfreeze()  # a process that goes on may collect what this service held

    @property
    def faults(self) -> tuple[str, ...]:
        """A sentence for each fault of the model repository; loaded models keep serving."""
        return self._alias_reader.faults

    def resolve(self, reference: str | None) -> LoadedModel:
        """Return the model of a reference ``name``, ``name@version`` or ``name@alias``.

        None refers to the configured model, else to the repository's default, else to the only one.
        Raises ModelNotFoundError, or NotReadyError while no model is loaded.
        """
        if not self._models:
            raise NotReadyError(self._why_not_ready())
        reference = reference or self._settings.model or self._default or self._only_name()
        model = self._find(reference)
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

    def _find(self, reference: str | None) -> LoadedModel | None:
        name, _, version = (reference or "").partition("@")
        label = f"{name}@{version or CHAMPION}"
        return self._models.get(self._aliases.get(label, label))

    def _move_default(self) -> None:
        """Follow the repository's default, once its model is loaded or the one before is not."""
        recorded = self._alias_reader.default
        if self._find(recorded) is not None or self._find(self._default) is None:
            if recorded != self._default:
                log.info("the default is now %s", recorded)
            self._default = recorded

    def _only_name(self) -> str:
        names = {model.manifest.name for model in self._models.values()}
        if len(names) > 1:
            message = (
                f"model: name one of {', '.join(sorted(names))}; to choose a default, run "
                "python -m training promote NAME@champion --default, or set RANK_MODEL"
            )
            raise ModelNotFoundError(message, field="model")
        return names.pop()

    def _why_not_ready(self) -> str:
        reasons = [f"{label}: {why}" for label, why in sorted(self._failures.items())]
        if reasons := [*self.faults, *reasons]:
            return "; ".join(reasons)
        return f"no model in {self._settings.models_dir} has an alias: train and publish one"

    async def _load(self, label: str) -> None:
        """Load a version and let it serve; if it fails, note the reason and the next attempt."""
        try:
            model = await self._loaded(label)
        except Exception as error:
            self._fail(label, error)
            self._telemetry.forget_model(label)
            pause_s = self._pause_s.get(label, self._settings.models_poll_s)
            self._retry_at[label] = time.monotonic() + pause_s
            self._pause_s[label] = min(2 * pause_s, _MAX_PAUSE_S)
            return
        self._models[label] = model
        for by_label in (self._failures, self._pause_s, self._retry_at):
            by_label.pop(label, None)
        gc.collect()  # a short one: what was alive at the last load is frozen
        gc.freeze()  # collections of large catalogues would stop every request
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
            read_queue=self._settings.item_queue,
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
            following=self._follow(catalog, label),
        )

    def _follow(self, catalog: Catalog, label: str) -> asyncio.Task[None]:
        following = asyncio.create_task(catalog.follow(), name=f"follow {label}")
        self._followers.add(following)
        following.add_done_callback(self._followers.discard)
        self._telemetry.catalog_followers.inc()
        following.add_done_callback(lambda _: self._telemetry.catalog_followers.dec())
        return following

    async def _drop(self, model: LoadedModel) -> None:
        """Let a model's follower end, so that nothing holds the model once its requests end."""
        self._telemetry.forget_model(model.label)
        model.catalog.stop()
        if not await finish([model.following], _FOLLOWER_S):
            gc.unfreeze()  # a cancelled follower is a cycle, which only a collection frees

    def _verified(self, path: Path) -> Scorer:
        """Return the scorer of an artifact that has replayed its golden inputs."""
        scorer = Scorer(open_artifact(path), threads=self._settings.ort_threads)
        scorer.replay()
        return scorer

    def _fail(self, label: str, error: Exception) -> None:
        """Note the reason why a version does not serve; log it once."""
        if self._failures.get(label) != str(error):
            unknown = not isinstance(error, ArtifactError | StoreError)
            log.error("%s does not serve: %s", label, error, exc_info=unknown and error)
        self._failures[label] = str(error)
        self._telemetry.model_loads["failed"].inc()
