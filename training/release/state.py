"""The training state of an artifact: written for ``train --from``, and read by it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import torch
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict

from service.contract.artifact import MANIFEST, Artifact, ArtifactError
from service.contract.attributes import Coding, item_codings
from service.contract.files import sha256
from service.contract.manifest import Predecessor
from training.config import Config, continued
from training.data.dataset import Dataset
from training.errors import ConfigError
from training.fitting.row_adagrad import Past
from training.fitting.warm_start import TrainingState, WarmStart
from training.release.parts import ITEMS, STATE, USERS
from training.release.safeguards import check_modalities_and_proxies

# Prefixes of the names of arrays; what follows is the name of a weight.
_WEIGHT, _SQUARES = "weight/", "squares/"


class _Facts(BaseModel):
    """The part of a state that is no array, one of which holds it as JSON."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    steps: dict[str, int]
    user_codings: tuple[Coding, ...]
    trained_until: float


def write_state(state: TrainingState, path: Path) -> None:
    """Write a state as ``.npz`` without pickle.

    Ids are not written again: rows are in the order of the tables of published values.
    """
    facts = _Facts(
        steps={name: past.steps for name, past in state.past.items()},
        user_codings=state.user_codings,
        trained_until=state.trained_until,
    )
    arrays: dict[str, NDArray[Any]] = {
        "facts": np.frombuffer(facts.model_dump_json().encode(), np.uint8),
        "attributes": state.attributes,
        **{_WEIGHT + name: weight.numpy() for name, weight in state.weights.items()},
        **{_SQUARES + name: past.squares.numpy() for name, past in state.past.items()},
    }
    np.savez(path, **arrays)  # type: ignore[arg-type]  # no array is named as its flag


def read_state(artifact: Artifact) -> TrainingState:
    """Return the training state of an artifact.

    Raises ConfigError if it holds none, ArtifactError if the file is damaged.
    """
    expected, path = artifact.manifest.training_files.get(STATE), artifact.path / STATE
    if expected is None or not path.exists():
        raise ConfigError(
            f"--from: {artifact.label} holds no training state ({STATE}): train without --from"
        )
    if (actual := sha256(path)) != expected:
        raise ArtifactError(path, f"SHA-256 is {actual}, not {expected} as in the manifest")
    with path.open("rb") as file, np.load(file, allow_pickle=False) as arrays:
        facts = _Facts.model_validate_json(arrays["facts"].tobytes())
        squares = dict(_named(arrays, _SQUARES))
        return TrainingState(
            items=_ids(artifact.path / ITEMS, "item_id"),
            users=_ids(artifact.path / USERS, "user_id"),
            weights=dict(_named(arrays, _WEIGHT)),
            past={name: Past(squares[name], steps) for name, steps in facts.steps.items()},
            user_codings=facts.user_codings,
            attributes=arrays["attributes"],
            trained_until=facts.trained_until,
        )


def _named(arrays: Mapping[str, NDArray[Any]], prefix: str) -> Iterator[tuple[str, torch.Tensor]]:
    for name in arrays:
        if name.startswith(prefix):
            yield name.removeprefix(prefix), torch.from_numpy(arrays[name])


def _ids(path: Path, column: str) -> list[str]:
    return list(pl.read_parquet(path, columns=[column], glob=False)[column])


@dataclass(frozen=True)
class Continuation:
    """A training that goes on from ``artifact``; ``config`` is its configuration."""

    artifact: Artifact
    start: WarmStart
    config: Config

    @property
    def codings(self) -> tuple[tuple[Coding, ...], tuple[Coding, ...]]:
        """How attributes of items and of users became numbers."""
        return item_codings(self.artifact), self.start.state.user_codings

    @property
    def predecessor(self) -> Predecessor:
        """The artifact, as the manifest of the next one names it."""
        return Predecessor(
            name=self.artifact.manifest.name,
            version=self.artifact.version,
            sha256=self.start.digest,
        )

    def check(self, dataset: Dataset) -> None:
        """Raise ConfigError unless the dataset has the artifact's modalities and columns."""
        check_modalities_and_proxies(self.artifact, dataset, ConfigError)
        if dataset.user_codings != self.start.state.user_codings:
            names = [coding.name for coding in self.start.state.user_codings]
            raise ConfigError(
                f"{self.artifact.label} was trained on user attributes {names}, --data has others"
            )


def continue_from(artifact: Artifact, config: Config) -> Continuation:
    """Return the continuation of ``artifact`` by ``config``, with the schedule of a warm start.

    Of alternatives of the net's options, those of the artifact are taken. Raises ConfigError if
    the options differ, or if the artifact holds no training state.
    """
    net = _net_options(artifact, config)
    digest = sha256(artifact.path / MANIFEST)
    start = WarmStart(artifact.label, digest, read_state(artifact))
    return Continuation(artifact, start, continued(config.model_copy(update={"net": net})))


def _net_options(artifact: Artifact, config: Config) -> Any:
    """Return the alternative of the net's options that the artifact was trained with."""
    before = artifact.manifest.config["net"]
    differences = []
    for net in config.net.alternatives():
        now = config.model_copy(update={"net": net}).model_dump(mode="json")["net"]
        keys = (*now, *(key for key in before if key not in now))
        different = [key for key in keys if now.get(key) != before.get(key)]
        if not different:
            return net
        differences.append((different[0], now.get(different[0])))
    key, value = differences[0]
    raise ConfigError(
        f"--from: net.{key} is {value} and in {artifact.label} {before.get(key)}: "
        f"add --set net.{key}={before.get(key)}, or train without --from"
    )
