"""How a report comes about: this process's command, its sources and its configuration."""

from __future__ import annotations

import shlex
import sys

import tomli_w

from training.config import Config
from training.evaluation.report.schema import Origin
from training.fitting.provenance import commit


def origin(config: Config) -> Origin:
    """Return how this command's report comes about."""
    code = commit()
    source = None if code is None else f"{code.sha}{' with changes' if code.dirty else ''}"
    return Origin(
        command=shlex.join(["python", "-m", "training", *sys.argv[1:]]),
        commit=source,
        configuration=as_toml(config),
    )


def as_toml(config: Config) -> str:
    """Return a configuration as a file for ``--config``."""
    return tomli_w.dumps(config.model_dump(mode="json", exclude_none=True))
