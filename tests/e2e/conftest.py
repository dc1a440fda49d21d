"""The commands a user types, as processes of their own."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]


def training(*arguments: str, cwd: Path, timeout_s: float = 240) -> str:
    """Run ``python -m training`` and return what it printed."""
    done = subprocess.run(
        [sys.executable, "-m", "training", *arguments],
        cwd=cwd,
        capture_output=True,
        text=True,
        timeout=timeout_s,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-4000:]
    return done.stdout


def processes_that_know(text: str) -> list[int]:
    """Return the processes whose command line or environment mentions ``text``."""
    found = []
    for folder in Path("/proc").iterdir():
        if not folder.name.isdigit() or int(folder.name) == os.getpid():
            continue
        try:
            said = (folder / "cmdline").read_bytes() + (folder / "environ").read_bytes()
        except OSError:  # ended meanwhile, or not ours
            continue
        if text.encode() in said:
            found.append(int(folder.name))
    return found
