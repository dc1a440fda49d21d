"""Writes the JSON of the dashboards; with ``--check``, compares it: ``python -m docker.grafana``.

In a healthy stack every query has a value, if only zero: an empty panel is a fault.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from pathlib import Path

from docker.grafana.definitions import DASHBOARDS

FOLDER = Path(__file__).parent / "dashboards"


def files() -> dict[str, str]:
    """Return the text of each dashboard's JSON by the name of its file."""
    return {f"{board.uid}.json": json.dumps(board.json(), indent=2) + "\n" for board in DASHBOARDS}


def write(folder: Path) -> None:
    """Write every dashboard into ``folder``."""
    for name, text in files().items():
        (folder / name).write_text(text)


def differences(folder: Path) -> list[str]:
    """Return the names of JSON files in ``folder`` that are missing, stale or unknown."""
    expected = files()
    present = {path.name: path.read_text() for path in folder.glob("*.json")}
    names = sorted(expected.keys() | present.keys())
    return [name for name in names if expected.get(name) != present.get(name)]


def main(arguments: Sequence[str]) -> int:
    """Write the dashboards, or with ``--check`` name the files that differ."""
    if "--check" not in arguments:
        write(FOLDER)
    different = differences(FOLDER)
    for name in different:
        sys.stderr.write(f"{FOLDER / name} differs: run python -m docker.grafana\n")
    return 1 if different else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
