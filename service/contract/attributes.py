"""How the attributes of items become numbers: as in the model's training."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field, TypeAdapter

from service.contract.artifact import Artifact

ATTRIBUTES = "attributes"  # the modality of item attributes
CODINGS_FILE = "attributes.json"  # of an artifact whose model has item attributes
_MOST_DEVIATIONS = 10.0  # of a numeric item attribute: one far value must not flood a score

Floats = NDArray[np.float64]


class Coding(BaseModel):
    """How a column becomes numbers, learned from the dataset that a model is trained on.

    A numeric column is one number; ``mean`` and ``deviation`` standardise it. A categorical one has
    a number for each of ``categories`` and, if there are more than those, one for all others.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: str
    mean: float = 0.0
    deviation: float = Field(default=1.0, gt=0)
    categories: tuple[str, ...] = ()
    other: bool = False

    @property
    def numeric(self) -> bool:
        """Whether the column holds numbers."""
        return not self.categories

    @property
    def dim(self) -> int:
        """The numbers that a value becomes."""
        return 1 if self.numeric else len(self.categories) + self.other

    def codes(self) -> dict[str, int]:
        """Return the number of each category; all others have the number after the last."""
        return {category: code for code, category in enumerate(self.categories)}

    def standardised(self, values: Floats) -> Floats:
        """Return an item's numbers, bounded by ten deviations; an unknown one (NaN) is 0."""
        scaled = (values - self.mean) / self.deviation
        bounded: Floats = np.nan_to_num(np.clip(scaled, -_MOST_DEVIATIONS, _MOST_DEVIATIONS))
        return bounded

    def one_hot(self, codes: NDArray[np.int64], known: NDArray[np.bool_]) -> Floats:
        """Return codes (n,) as (n, dim); rows that are not ``known`` (n,) are zeros."""
        return np.asarray((codes[:, None] == np.arange(self.dim)) & known[:, None], np.float64)


CODINGS = TypeAdapter(tuple[Coding, ...])


def item_codings(artifact: Artifact) -> tuple[Coding, ...]:
    """Return how the model's item attributes became numbers; empty without any."""
    if CODINGS_FILE not in artifact.manifest.files:
        return ()
    return CODINGS.validate_json((artifact.path / CODINGS_FILE).read_bytes())
