"""Compares a lock file with published advisories, through pip-audit.

``audit.py PIP_AUDIT LOCK...`` exits with 0 if every package was compared and none has an advisory,
with 1 if one has, and with 3 if some could not be compared, so that nothing is known about them.
pip-audit itself exits with 0 where it has skipped every package.
"""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

_LONGEST_S = 600
FOUND, UNKNOWN = 1, 3


def verdict(name: str, report: str) -> tuple[int, str]:
    """Return the exit code and the lines for pip-audit's JSON ``report`` of a lock file."""
    try:
        packages: list[dict[str, Any]] = json.loads(report)["dependencies"]
    except (ValueError, KeyError, TypeError):
        return UNKNOWN, f"{name}: not compared, the advisories cannot be reached here"
    known = [package for package in packages if "vulns" in package]
    found = [
        f"{name}: {package['name']} {package['version']}: {advisory['id']}, mended in "
        f"{', '.join(advisory['fix_versions']) or 'no version yet'}"
        for package in known
        for advisory in package["vulns"]
    ]
    lines = [*found, f"{name}: {len(known)} of {len(packages)} packages compared"]
    complete = bool(packages) and len(known) == len(packages)
    return (FOUND if found else 0 if complete else UNKNOWN), "\n".join(lines)


def main() -> int:
    """Compare all lock files; returns the exit code of the worst."""
    program, *locks = sys.argv[1:]
    codes = []
    for lock in locks:
        options = ["--format=json", "--progress-spinner=off", "--no-deps", "--disable-pip"]
        command = [program, *options, "--requirement", lock]
        try:
            done = subprocess.run(  # noqa: S603  # the Makefile's program
                command, capture_output=True, text=True, timeout=_LONGEST_S, check=False
            )
            report = done.stdout
        except (OSError, subprocess.TimeoutExpired):
            report = ""
        code, lines = verdict(Path(lock).name, report)
        codes.append(code)
        print(lines)  # noqa: T201  # for people
    return FOUND if FOUND in codes else max(codes, default=UNKNOWN)


if __name__ == "__main__":
    sys.exit(main())
