"""The models that serve: follows the aliases of the repository, loads and drops versions."""

from __future__ import annotations

import asyncio
import logging
import time
from dataclasses import dataclass

from service.contract import CHAMPION
from service.contract.artifact import ArtifactError
from service.contract.repository import Repository
from service.errors import ModelNotFoundError, NotReadyError, RankError, StoreError
from service.models.alias_reader import AliasReader
from service.models.experiments import Experiments
from service.models.loaded_model import LoadedModel
from service.models.loader import Loader
from service.models.returns import Returns
from service.models.rollouts import Rollouts, Trial
from service.settings import Settings
from service.store.records import RedisStore
from service.telemetry import Telemetry

_MAX_PAUSE_S = 15.0

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class AliasState:
    """The version that the repository wants behind ``name@alias``, and the one that serves.

    ``target`` is the one that should serve: the wanted one, unless that is returned. ``reason``
    says why they differ.
    """

    alias: str
    wanted: str
    target: str
    served: str | None
    reason: str | None
    returned: bool


class Registry:
    """Holds every version that an alias names, and follows the aliases as they move.

    A new version serves once it is verified, has replayed its golden inputs and holds its
    catalogue. Until then, and if it fails, its alias keeps naming the version before.
    """

    def __init__(self, settings: Settings, store: RedisStore, telemetry: Telemetry) -> None:
        self._settings = settings
        self._telemetry = telemetry
        repository = Repository(settings.models_dir)
        self._alias_reader = AliasReader(repository)
        self._loader = Loader(settings, repository, store, telemetry)
        judges = settings.automatic_return
        self._rollouts = Rollouts(self._alias_reader, Returns(store), judges=judges)
        self.experiments = Experiments(self._alias_reader, settings, telemetry)
        self._models: dict[str, LoadedModel] = {}
        self._wanted: dict[str, str] = {}  # name@alias -> name@version, as the repository says
        self._targets: dict[str, str] = {}  # the same, with champions returned
        self._aliases: dict[str, str] = {}  # the same, as far as they are loaded
        self._reported: set[str] = set()  # name@alias of those in the metrics
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
        wanted = await self._alias_reader.read(self._wanted, self._models)
        targets = await self._rollouts.targets(wanted, self._served())
        self._wanted, self._targets = wanted, targets
        self._report_aliases()
        self._move_default()  # before a second model is loaded: then none can be inferred
        labels = set(targets.values())
        for label in set(self._failures) - labels:
            del self._failures[label]  # no alias names it any more
        for label in sorted(labels - set(self._models)):
            if time.monotonic() >= self._retry_at.get(label, 0.0):
                await self._load(label)
        aliases = {
            alias: label if label in self._models else self._aliases.get(alias, "")
            for alias, label in targets.items()
        }
        self._aliases = {alias: label for alias, label in aliases.items() if label}
        self._move_default()
        self._rollouts.move(self._served())
        self.experiments.follow(lambda reference: self._find(reference) is not None)
        self._report_aliases()
        for label in set(self._models) - set(self._aliases.values()):
            log.info("%s: dropped, no alias names it", label)
            await self._loader.drop(self._models.pop(label))

    def report(self) -> None:
        """Bring the metrics of all exposure monitors up to date."""
        for model in self._models.values():
            model.exposure.report(len(model.catalog))

    async def close(self) -> None:
        """Stop following changes and end reads for requests that have left, within a bound."""
        await self._loader.close(self._models.values())

    @property
    def faults(self) -> tuple[str, ...]:
        """A sentence for each fault of the model repository; loaded models keep serving."""
        return self._alias_reader.faults + self.experiments.faults

    @property
    def trials(self) -> dict[str, Trial]:
        """The candidate of each model that has traffic, by the model's name."""
        return self._rollouts.trials

    def route(self, reference: str | None, user_id: str | None) -> LoadedModel:
        """Return the model that ranks for a user; None: one who is not profiled.

        A reference that names neither version nor alias leads to a candidate for the users of its
        canary. Raises as ``resolve``.
        """
        model = self.resolve(reference)
        if self._rollouts.trials and user_id is not None and self._names_champion(reference):
            trial = self._rollouts.trials.get(model.manifest.name)
            if trial is not None and trial.canary and trial.has_user(user_id):
                self._telemetry.canary_rankings.labels(trial.model.label).inc()
                return trial.model
        return model

    def resolve(self, reference: str | None) -> LoadedModel:
        """Return the model of a reference ``name``, ``name@version`` or ``name@alias``.

        None refers to the configured model, else to the repository's default, else to the only one.
        Raises ModelNotFoundError, or NotReadyError while no model is loaded.
        """
        if not self._models:
            raise NotReadyError(self._why_not_ready())
        reference = reference or self._default_reference() or self._only_name()
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

    def aliases(self) -> list[AliasState]:
        """Return the state of every alias that the repository has, sorted."""
        return [self._alias_state(alias) for alias in sorted(self._wanted)]

    def default_label(self) -> str | None:
        """Return ``name@version`` of the model for requests that name none, if there is one."""
        try:
            return self.resolve(None).label
        except RankError:
            return None

    def _served(self) -> dict[str, LoadedModel]:
        """Return the model that each alias serves."""
        return {alias: self._models[label] for alias, label in self._aliases.items()}

    def _alias_state(self, alias: str) -> AliasState:
        wanted, target = self._wanted[alias], self._targets[alias]
        verdict = self._rollouts.verdict(alias)
        served = self._aliases.get(alias)
        reasons = [f"{wanted} is returned: {verdict.reason}"] if verdict else []
        if served != target:
            reasons.append(f"{target} does not serve: {self._failures.get(target, 'it loads')}")
        reason = "; ".join(reasons) or None
        return AliasState(alias, wanted, target, served, reason, verdict is not None)

    def _report_aliases(self) -> None:
        """Report aliases and faults in the metrics, and forget aliases that are gone."""
        self._telemetry.repository_faults.set(len(self.faults))
        states = {state.alias: state for state in self.aliases()}
        for alias in self._reported - states.keys():
            for metric in self._telemetry.by_alias:
                metric.remove(*alias.split("@"))
        self._reported = set(states)
        for state in states.values():
            labels = state.alias.split("@")
            if state.served is not None:
                version = int(state.served.partition("@")[2])
                self._telemetry.alias_version.labels(*labels).set(version)
            version = int(state.wanted.partition("@")[2])
            self._telemetry.alias_wanted.labels(*labels).set(version)
            self._telemetry.converged.labels(*labels).set(state.served == state.target)
            self._telemetry.returned.labels(*labels).set(state.returned)

    def _find(self, reference: str | None) -> LoadedModel | None:
        name, _, version = (reference or "").partition("@")
        label = f"{name}@{version or CHAMPION}"
        return self._models.get(self._aliases.get(label, label))

    def _default_reference(self) -> str | None:
        return self._settings.model or self._default

    def _names_champion(self, reference: str | None) -> bool:
        """Return whether a reference leaves the version to the alias champion."""
        return "@" not in (reference or self._default_reference() or "")

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
            model = await self._loader.load(label)
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
        self._telemetry.model_loads["ok"].inc()
        log.info(
            "%s: serves, %d items, ranked by %s", label, len(model.catalog), model.scorer.ranker
        )

    def _fail(self, label: str, error: Exception) -> None:
        """Note the reason why a version does not serve; log it once."""
        if self._failures.get(label) != str(error):
            unknown = not isinstance(error, ArtifactError | StoreError)
            log.error("%s does not serve: %s", label, error, exc_info=unknown and error)
        self._failures[label] = str(error)
        self._telemetry.model_loads["failed"].inc()
