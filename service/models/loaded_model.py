"""A model in memory, ready to rank."""

from __future__ import annotations

import asyncio
import functools
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from service.catalog.catalog import Catalog
from service.contract.keys import Keys
from service.contract.manifest import Manifest
from service.errors import (
    InvalidRequestError,
)
from service.exposure.monitor import ExposureMonitor
from service.models.scorer import Scorer


@dataclass(frozen=True)
class LoadedModel:
    """A verified, warm model with its catalogue; ``average_user`` (1, U) stands in for unknowns."""

    scorer: Scorer
    catalog: Catalog
    keys: Keys
    average_user: NDArray[np.float32]
    exposure: ExposureMonitor
    following: asyncio.Task[None]

    @property
    def manifest(self) -> Manifest:
        """The artifact's manifest."""
        return self.scorer.artifact.manifest

    @functools.cached_property
    def label(self) -> str:
        """``name@version``."""
        return self.scorer.artifact.label

    @property
    def version(self) -> int:
        """The artifact's version."""
        return self.scorer.artifact.version

    def context(self, values: Mapping[str, float]) -> NDArray[np.float32] | None:
        """Return the context vector (1, C), neutral where ``values`` are silent."""
        fields = self.manifest.context
        names = [field.name for field in fields]
        for name in values:
            if name not in names:
                known = ", ".join(names) or "no context fields"
                message = f"context.{name}: {self.label} does not know it; it has {known}"
                raise InvalidRequestError(message, field=f"context.{name}")
        if not fields:
            return None
        return np.array([[values.get(field.name, field.neutral) for field in fields]], np.float32)
