"""Which code a run is of."""

from __future__ import annotations

import functools
import os
import subprocess
from importlib.metadata import version
from pathlib import Path


@functools.cache
def git_commit() -> str | None:
    """Return the commit of the code that trains: of its image or checkout, if it has one."""
    built_from = os.environ.get("PARETORANK_COMMIT")
    if built_from:
        return built_from
    command = ["git", "-C", str(Path(__file__).parent), "rev-parse", "HEAD"]
    try:
        found = subprocess.run(command, capture_output=True, text=True, check=False)  # noqa: S603  # fixed words
    except FileNotFoundError:
        return None
    return found.stdout.strip() or None


def code_version() -> str:
    """Return what names the code: the commit of a checkout, else the installed version."""
    return git_commit() or version("paretorank")
