"""Candidates and new champions: whose requests they get, and whether they have to go back."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime

from service.contract import CHAMPION
from service.contract.assignment import unit_hash
from service.contract.rollout import CANDIDATE, Rollout, moved_at, stack
from service.models.alias_reader import AliasReader
from service.models.loaded_model import LoadedModel
from service.models.returns import Returns, Verdict


@dataclass(frozen=True)
class Trial:
    """A loaded candidate with its shares of the traffic of the champion ``against``."""

    model: LoadedModel
    against: str
    salt: str
    shadow: float
    canary: float

    def has_user(self, user_id: str) -> bool:
        """Return whether the candidate serves this user."""
        return unit_hash(self.salt, user_id) < self.canary


class Rollouts:
    """Follows the rollouts of the repository, and returns versions that pass their limits.

    ``trials`` has the candidate of each model that has traffic, by the model's name.
    """

    def __init__(self, reader: AliasReader, returns: Returns, *, judges: bool) -> None:
        self._reader = reader
        self._returns = returns
        self._judges = judges
        self._watched: dict[str, tuple[str, datetime | None]] = {}  # alias -> label, time of move
        self.trials: dict[str, Trial] = {}

    async def targets(
        self, wanted: Mapping[str, str], served: Mapping[str, LoadedModel]
    ) -> dict[str, str]:
        """Return the versions to serve: those ``wanted``, except returned champions.

        ``served`` has the model that each alias serves now.
        """
        moves = {
            alias: (_version(label), self._moved(alias, label)) for alias, label in wanted.items()
        }
        found = self._judge(wanted, served) if self._judges else []
        await self._returns.follow(moves, found)
        return {alias: self._target(alias, label) for alias, label in wanted.items()}

    def verdict(self, alias: str) -> Verdict | None:
        """Return why the version of ``name@alias`` does not serve, None if it may."""
        return self._returns.verdict(alias)

    def move(self, served: Mapping[str, LoadedModel]) -> None:
        """Give traffic to the candidates among the models that serve now."""
        trials = {}
        for alias, model in served.items():
            name, _, suffix = alias.partition("@")
            champion = served.get(f"{name}@{CHAMPION}")
            rollout = self._reader.rollouts.get(name, Rollout())
            if suffix != CANDIDATE or champion is None or champion is model:
                continue
            canary = 0.0 if self.verdict(alias) else rollout.canary
            if rollout.version == model.version and (rollout.shadow or canary):
                trials[name] = Trial(model, champion.label, rollout.salt, rollout.shadow, canary)
        self.trials = trials

    def _judge(self, wanted: Mapping[str, str], served: Mapping[str, LoadedModel]) -> list[Verdict]:
        """Return the verdicts on canaries, and on champions that are new and can go back."""
        verdicts, watched = [], {}
        for alias, label in wanted.items():
            name, _, suffix = alias.partition("@")
            limits = self._reader.rollouts.get(name, Rollout()).limits
            model, moved = served.get(alias), self._moved(alias, label)
            if model is None or model.label != label or self.verdict(alias):
                continue
            if suffix == CHAMPION:
                is_new = moved is not None and _age_s(moved) < limits.watch_s
                is_tried = is_new and self._former(alias, label) is not None
            else:
                trial = self.trials.get(name)
                is_tried = suffix == CANDIDATE and trial is not None and trial.canary > 0
            if not is_tried:
                continue
            watched[alias] = (label, moved)
            if self._watched.get(alias) != watched[alias]:
                model.health.reset()
            elif verdict := self._returns.judge(alias, model, moved, limits):
                verdicts.append(verdict)
        self._watched = watched
        return verdicts

    def _target(self, alias: str, label: str) -> str:
        """Return the version before where a champion is returned, else the wanted one."""
        if self.verdict(alias) is None or not alias.endswith(f"@{CHAMPION}"):
            return label
        return self._former(alias, label) or label

    def _former(self, alias: str, label: str) -> str | None:
        name, _, suffix = alias.partition("@")
        before = stack(self._reader.histories.get(name, ()), suffix, _version(label))
        return f"{name}@{before[-1]}" if before else None

    def _moved(self, alias: str, label: str) -> datetime | None:
        name, _, suffix = alias.partition("@")
        return moved_at(self._reader.histories.get(name, ()), suffix, _version(label))


def _version(label: str) -> int:
    return int(label.partition("@")[2])


def _age_s(moved: datetime) -> float:
    return (datetime.now(UTC) - moved).total_seconds()
