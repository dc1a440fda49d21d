"""Converters from a public dataset, in its owners' files, to a dataset folder."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from training.data.convert.coat import prepare_coat
from training.data.convert.jester import prepare_jester
from training.data.convert.kuairand import prepare_kuairand
from training.data.convert.kuairec import prepare_kuairec
from training.data.convert.movielens import prepare_movielens
from training.data.convert.movielens_latest import prepare_movielens_latest
from training.data.convert.open_bandit import prepare_open_bandit
from training.data.convert.piki import prepare_piki
from training.data.convert.tiktok import prepare_tiktok

CONVERTERS: dict[str, Callable[[Path, Path], None]] = {
    "coat": prepare_coat,
    "jester": prepare_jester,
    "kuairand": prepare_kuairand,
    "kuairec": prepare_kuairec,
    "movielens": prepare_movielens,
    "movielens_latest": prepare_movielens_latest,
    "open_bandit": prepare_open_bandit,
    "piki": prepare_piki,
    "tiktok": prepare_tiktok,
}

__all__ = [
    "CONVERTERS",
    "prepare_coat",
    "prepare_jester",
    "prepare_kuairand",
    "prepare_kuairec",
    "prepare_movielens",
    "prepare_movielens_latest",
    "prepare_open_bandit",
    "prepare_piki",
    "prepare_tiktok",
]
