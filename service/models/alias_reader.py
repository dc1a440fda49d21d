"""Reads the model repository: aliases, the default, rollouts, histories and experiments."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Container, Mapping
from typing import TypeVar

from service.contract import CHAMPION
from service.contract.artifact import ArtifactError
from service.contract.experiments import Experiments, read_experiments
from service.contract.repository import Repository
from service.contract.rollout import Move, Rollout, read_history, read_rollout

T = TypeVar("T")

log = logging.getLogger(__name__)


class AliasReader:
    """Reads aliases and default. Only a readable ``aliases.json`` moves or removes an alias.

    What is missing or cannot be read is a fault: a lost volume is no order to stop serving.
    ``faults`` has a sentence for each fault of the last reading. ``rollouts`` and ``histories`` are
    those of each model, as last read; so are the ``experiments``.
    """

    def __init__(self, repository: Repository) -> None:
        self._repository = repository
        self.default: str | None = None  # ``name`` or ``name@alias``, as last read
        self.faults: tuple[str, ...] = ()
        self.rollouts: dict[str, Rollout] = {}
        self.histories: dict[str, tuple[Move, ...]] = {}
        self.experiments = Experiments()

    async def read(self, current: Mapping[str, str], loaded: Container[str]) -> dict[str, str]:
        """Return name@alias -> name@version; those of ``current`` that have a fault stay.

        The versions ``loaded`` have to be there; a load looks for the others.
        """
        wanted, faults = await asyncio.to_thread(self._read, current, loaded)
        for fault in faults:
            if fault not in self.faults:
                log.error("%s; loaded models keep serving", fault)
        if self.faults and not faults:
            log.info("the model repository has no faults any more")
        self.faults = faults
        return wanted

    def _read(
        self, current: Mapping[str, str], loaded: Container[str]
    ) -> tuple[dict[str, str], tuple[str, ...]]:
        """Return the aliases and the faults; runs in a thread, reads only the disk."""
        wanted: dict[str, str] = {}
        faults: list[str] = []
        names = {alias.partition("@")[0] for alias in current}
        try:
            found = self._repository.folders()
        except ArtifactError as error:
            found = []
            faults.append(str(error))
        for name in sorted({*names, *found}):
            try:
                aliases = self._repository.aliases(name, required=name in names)
            except ArtifactError as error:
                faults.append(str(error))
                wanted |= {a: v for a, v in current.items() if a.startswith(f"{name}@")}
                continue
            wanted |= {f"{name}@{alias}": f"{name}@{v}" for alias, v in aliases.items()}
            for version in sorted(set(aliases.values())):
                if f"{name}@{version}" in loaded:
                    try:
                        self._repository.check_present(name, version)
                    except ArtifactError as error:
                        faults.append(str(error))
            # After the aliases: a writer records a move and a rollout before it moves the alias.
            self._follow(name, read_rollout, self.rollouts, Rollout(), faults)
            self._follow(name, read_history, self.histories, (), faults)
        # After the aliases: a writer records a default before an alias that needs it.
        try:
            self.default = self._read_default(wanted)
        except ArtifactError as error:
            faults.append(str(error))
        try:
            self.experiments = read_experiments(
                self._repository.root, required=self.experiments != Experiments()
            )
        except ArtifactError as error:
            faults.append(str(error))
        return wanted, tuple(faults)

    def _follow(
        self, name: str, read: Callable[..., T], known: dict[str, T], absent: T, faults: list[str]
    ) -> None:
        """Update what is known of a model; what was there before may not be missing."""
        try:
            required = known.get(name, absent) != absent
            known[name] = read(self._repository.root / name, required=required)
        except ArtifactError as error:
            faults.append(str(error))

    def _read_default(self, wanted: Mapping[str, str]) -> str | None:
        """Return the recorded default; None without one, or if its model is retired."""
        default = self._repository.default(required=self.default is not None)
        if default is None:
            return None
        name, _, alias = default.partition("@")
        if f"{name}@{alias or CHAMPION}" in wanted:
            return default
        try:
            self._repository.aliases(name, required=True)
        except ArtifactError:
            return default  # lost, or not yet published
        return None
