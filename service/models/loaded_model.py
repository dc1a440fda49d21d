"""A model that is ready to rank."""

from __future__ import annotations

import asyncio
import functools
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from service.catalog.catalog import Catalog
from service.contract.artifact import CardFiles
from service.contract.attributes import Coding, item_codings
from service.contract.keys import Keys
from service.contract.manifest import Manifest
from service.exposure.monitor import ExposureMonitor
from service.exposure.targets import Targets
from service.models.health import Health
from service.models.scorer import Scorer


@dataclass(frozen=True)
class LoadedModel:
    """A verified model with its catalogue in memory.

    ``average_user`` (1, U) is the user vector of unknown users. The task ``following`` keeps the
    catalogue up to date. ``card`` is None for an artifact of an earlier release.
    """

    scorer: Scorer
    catalog: Catalog
    keys: Keys
    average_user: NDArray[np.float32]
    exposure: ExposureMonitor
    targets: Targets
    following: asyncio.Task[None]
    card: CardFiles | None = None
    health: Health = field(default_factory=Health)

    @property
    def manifest(self) -> Manifest:
        """The artifact's manifest."""
        return self.scorer.artifact.manifest

    @functools.cached_property
    def label(self) -> str:
        """``name@version``."""
        return self.scorer.artifact.label

    @functools.cached_property
    def record_dim(self) -> int:
        """The length V of a user record."""
        return self.manifest.record_dim

    @functools.cached_property
    def user_dim(self) -> int:
        """The length U of a user vector, with which a record begins."""
        return self.manifest.user_dim

    @functools.cached_property
    def trained_until_ms(self) -> int:
        """The Unix time until which the user records hold what users engaged with."""
        until = self.manifest.trained_until or self.manifest.created
        return int(until.timestamp() * 1000)

    @property
    def version(self) -> int:
        """The artifact's version."""
        return self.scorer.artifact.version

    @functools.cached_property
    def item_codings(self) -> tuple[Coding, ...]:
        """How the model's item attributes became numbers; empty without any."""
        return item_codings(self.scorer.artifact)
