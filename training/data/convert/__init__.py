"""Converters from a public dataset, in its owners' files, to a dataset folder."""

from __future__ import annotations

from collections.abc import Callable
from importlib import import_module
from pathlib import Path

CONVERTERS = (
    "coat",
    "jester",
    "kuairand",
    "kuairec",
    "movielens",
    "movielens_latest",
    "open_bandit",
    "piki",
    "tiktok",
)


def converter(name: str) -> Callable[[Path, Path], None]:
    """Return the function ``prepare_NAME`` of the module ``NAME``, imported now."""
    function: Callable[[Path, Path], None] = getattr(
        import_module(f"{__name__}.{name}"), f"prepare_{name}"
    )
    return function
