"""Packaged training configurations, and one to lay over them with --config."""

from __future__ import annotations

from importlib import resources
from typing import Any

from training.toml import parse


def _packaged() -> dict[str, dict[str, Any]]:
    """Return the complete packaged configurations by name: those that name an architecture.

    The others are partial: --config lays them over a complete one.
    """
    files = resources.files("training.configs").iterdir()
    texts = {f.name[:-5]: f.read_text() for f in files if f.name.endswith(".toml")}
    tables = {name: parse(texts[name]) for name in sorted(texts)}
    return {name: table for name, table in tables.items() if "architecture" in table.get("net", {})}


PACKAGED = _packaged()
MODELS = tuple(PACKAGED)
