"""Runs over seeds, each kept once done."""

from __future__ import annotations

import hashlib
import json
import logging
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

from pydantic import BaseModel

from service.contract.files import write_atomically
from training.config import Config
from training.data.dataset import Dataset
from training.fitting.provenance import code_version

log = logging.getLogger(__name__)

Measured = TypeVar("Measured", bound=BaseModel)


def over_seeds(
    dataset: Dataset,
    config: Config,
    seeds: int,
    runs: Path,
    what: str,
    schema: type[Measured],
    measure: Callable[[Config], Measured],
) -> list[Measured]:
    """Measure ``what`` for ``seeds`` seeds from ``config.seed`` on, each kept in ``runs``."""
    found = []
    for seed in range(config.seed, config.seed + seeds):
        run = config.model_copy(update={"seed": seed})
        path = runs / f"{run_key(dataset, run)}-{what}.json"
        if not path.exists():
            log.info("%s, seed %d", what, seed)
            measured = measure(run)
            path.parent.mkdir(parents=True, exist_ok=True)
            write_atomically(path, measured.model_dump_json(indent=2).encode())
        found.append(schema.model_validate_json(path.read_bytes()))
    return found


def run_key(dataset: Dataset, config: Config) -> str:
    """Name a run by its data, configuration and code: equal names are equal runs."""
    what = [dataset.fingerprint, config.model_dump(mode="json"), code_version()]
    text = json.dumps(what, sort_keys=True)
    return f"{config.model}-{config.seed}-{hashlib.sha256(text.encode()).hexdigest()[:16]}"
