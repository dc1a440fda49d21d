"""The run store: results and checkpoints of runs, keyed by data, options, seed and sources."""

from __future__ import annotations

import contextlib
import hashlib
import io
import json
import logging
import zipfile
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ParamSpec, TypeVar

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ValidationError

from service.contract.files import locked, write_atomically
from training.config import Config
from training.data.dataset import Dataset
from training.errors import TrainingError
from training.fitting.provenance import source_digest

log = logging.getLogger(__name__)

Result = TypeVar("Result", bound=BaseModel)
Inputs = ParamSpec("Inputs")
Arrays = dict[str, NDArray[Any]]

_NOT_TRAINED = {"parity_tolerance", "default_tradeoff", "tuning", "warm_start"}


@dataclass(frozen=True)
class RunKey:
    """The key of a run: its ``options`` (JSON values), its seed and its data's fingerprint."""

    name: str
    seed: int
    fingerprint: str
    options: Mapping[str, Any]

    @classmethod
    def of(cls, dataset: Dataset, config: Config, start: str | None = None) -> RunKey:
        """Return the key of one training of ``config`` on ``dataset``.

        ``start`` is the digest of the artifact that it continues from.
        """
        name = config.net.architecture
        # None of these reaches the training: to change them repeats a run from its end.
        options = config.model_dump(mode="json", exclude=_NOT_TRAINED)
        if start is not None:
            options["from"] = start
        return cls(name, config.seed, dataset.fingerprint, options)


@dataclass(frozen=True)
class RunStore:
    """A folder of results; each is computed once for a key and its sources.

    The sources of a result are the module of the computing function and all that it imports
    (``source_digest``). A change of these makes the result stale; no other change does.
    """

    folder: Path

    def path(self, key: RunKey, result: str, module: str, suffix: str) -> Path:
        """Return the file of a result that ``module`` computes; equal inputs give equal paths."""
        identity = [key.fingerprint, dict(key.options), source_digest(module)]
        digest = hashlib.sha256(json.dumps(identity, sort_keys=True).encode()).hexdigest()[:16]
        return self.folder / f"{key.name}-{key.seed}-{digest}-{result}.{suffix}"

    def result(
        self,
        key: RunKey,
        name: str,
        schema: type[Result],
        compute: Callable[Inputs, Result],
        *inputs: Inputs.args,
        **options: Inputs.kwargs,
    ) -> Result:
        """Return the result ``name`` of a run, stored or else ``compute`` of the inputs."""
        path = self.path(key, name, compute.__module__, "json")
        if not path.exists():
            with self.lock(path):
                if not path.exists():  # else another run computed it meanwhile
                    log.info("%s of %s, seed %d", name, key.name, key.seed)
                    computed = compute(*inputs, **options)
                    write_atomically(path, computed.model_dump_json(indent=2).encode())
        try:
            return schema.model_validate_json(path.read_bytes())
        except ValidationError as error:
            raise _damaged(path) from error

    def arrays(self, key: RunKey, name: str, compute: Callable[[], Arrays]) -> Arrays:
        """Return the arrays ``name`` of a run, stored or else computed by ``compute``."""
        path = self.path(key, name, compute.__module__, "npz")
        if not path.exists():
            log.info("%s of %s, seed %d", name, key.name, key.seed)
            content = io.BytesIO()
            np.savez(content, **compute())  # type: ignore[arg-type]  # no array is named as its flag
            self.folder.mkdir(parents=True, exist_ok=True)
            write_atomically(path, content.getbuffer())
        try:
            with path.open("rb") as file, np.load(file) as arrays:
                return dict(arrays)
        except (EOFError, ValueError, zipfile.BadZipFile) as error:
            raise _damaged(path) from error

    @contextlib.contextmanager
    def lock(self, path: Path) -> Iterator[None]:
        """Let one process at a time work on ``path``, a file of the store; the others wait."""
        self.folder.mkdir(parents=True, exist_ok=True)
        with locked(path, _say_waiting):
            yield


def _damaged(path: Path) -> TrainingError:
    return TrainingError(f"{path}: the stored result cannot be read; remove it to compute it anew")


def _say_waiting(lock_file: Path) -> None:
    log.warning("another process works on the same run: waiting until it ends (%s)", lock_file)


def over_seeds(
    dataset: Dataset,
    config: Config,
    seeds: int,
    runs: RunStore,
    name: str,
    schema: type[Result],
    measure: Callable[[Config], Result],
) -> list[Result]:
    """Return the result ``name`` of ``seeds`` runs, at seeds from ``config.seed`` on."""
    results = []
    for seed in range(config.seed, config.seed + seeds):
        run = config.model_copy(update={"seed": seed})
        results.append(runs.result(RunKey.of(dataset, run), name, schema, measure, run))
    return results
