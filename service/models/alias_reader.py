"""Reads which versions the aliases of the model repository name, and which model is the default."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Mapping

from service.contract.artifact import ArtifactError
from service.contract.repository import CHAMPION, Repository
from service.telemetry import Telemetry

log = logging.getLogger(__name__)


class AliasReader:
    """Reads aliases and default. Only a readable ``aliases.json`` moves or removes an alias.

    What is missing or cannot be read is a fault: a lost volume is no order to stop serving.
    ``faults`` has a sentence for each fault of the last reading.
    """

    def __init__(self, repository: Repository, telemetry: Telemetry) -> None:
        self._repository = repository
        self._telemetry = telemetry
        self.default: str | None = None  # ``name`` or ``name@alias``, as last read
        self.faults: tuple[str, ...] = ()

    async def read(self, current: Mapping[str, str]) -> dict[str, str]:
        """Return name@alias -> name@version; those of ``current`` that have a fault stay."""
        wanted, faults = await asyncio.to_thread(self._read, current)
        for fault in faults:
            if fault not in self.faults:
                log.error("%s; loaded models keep serving", fault)
        if self.faults and not faults:
            log.info("the model repository has no faults any more")
        self.faults = faults
        self._telemetry.repository_faults.set(len(faults))
        return wanted

    def _read(self, current: Mapping[str, str]) -> tuple[dict[str, str], tuple[str, ...]]:
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
                if f"{name}@{version}" in current.values():  # a load checks the others
                    try:
                        self._repository.check_present(name, version)
                    except ArtifactError as error:
                        faults.append(str(error))
        # After the aliases: a writer records a default before an alias that needs it.
        try:
            self.default = self._read_default(wanted)
        except ArtifactError as error:
            faults.append(str(error))
        return wanted, tuple(faults)

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
