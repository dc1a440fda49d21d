"""The same data for this project's estimators and for the Open Bandit Pipeline."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

from tests.simulated_rankings import CHANCES, GRID, Feed
from training.evaluation.off_policy.estimators import (
    Shown,
    doubly_robust,
    per_place_ips,
    per_place_snips,
    whole_ranking,
)

Case = dict[str, NDArray[Any]]
_SIDE = Path(__file__).with_name("obp_side.py")


def open_bandit_case(folder: Path, rows: int | None = None) -> Case:
    """Return impressions of the Open Bandit sample under its random policy, and a target.

    The target shows at each place, to each third of the users by their first feature, the item that
    was clicked most, second most or third most often there in the same rows, for its arithmetic
    alone is compared. The regression expects each item's click rate under Bernoulli Thompson
    sampling.
    """
    random, bts = (
        pl.read_csv(folder / f"{name}/men/men.csv.gz", n_rows=rows, glob=False)
        for name in ("random", "bts")
    )
    actions, places = 34, 3
    clicks = np.zeros((actions, places))
    shown = np.ones((actions, places))
    np.add.at(
        clicks, (bts["item_id"].to_numpy(), bts["position"].to_numpy() - 1), bts["click"].to_numpy()
    )
    np.add.at(shown, (bts["item_id"].to_numpy(), bts["position"].to_numpy() - 1), 1)
    here = np.zeros((actions, places))
    at = random["item_id"].to_numpy(), random["position"].to_numpy() - 1
    np.add.at(here, at, random["click"].to_numpy())
    order = np.argsort(-here, axis=0, kind="stable")  # (A, 3)
    group = random["user_feature_0"].rank("dense").to_numpy().astype(np.int64) % 3
    return {
        "reward": random["click"].to_numpy().astype(np.float64),
        "action": random["item_id"].to_numpy(),
        "position": random["position"].to_numpy() - 1,
        "pscore": random["propensity_score"].to_numpy(),
        "target": order[group],  # (N, 3)
        "expected": clicks / shown,
        "actions": np.array(actions),
    }


def slate_case(users: int) -> Case:
    """Return rankings at drawn tradeoffs; the target is the last one of the grid."""
    log = Feed(items=30, places=4).drawn_log(np.random.default_rng(3), users, 2)
    together = np.array(CHANCES) @ log.match.all(axis=2)
    return {
        "reward": log.shown.outcome,
        "pscore": log.shown.propensity,
        "match": log.match[len(GRID) - 1],
        "ranking_pscore": together,
    }


def ours(bandit: Case, slate: Case) -> dict[str, dict[str, Any]]:
    """Return this project's estimates of both cases."""
    rows = np.arange(len(bandit["reward"]))
    target = bandit["target"][rows, bandit["position"]]
    shown = Shown(
        bandit["reward"][:, None],
        bandit["pscore"][:, None],
        np.ones((len(rows), 1), np.bool_),
        rows,
    )
    match = (bandit["action"] == target)[:, None]
    expected = bandit["expected"][target, bandit["position"]][:, None]
    ips = per_place_ips(shown, match)
    spread = 1.96 * (ips.estimate.se or np.nan) if ips.estimate else np.nan
    present = np.ones(slate["match"].shape, np.bool_)
    slates = Shown(slate["reward"], slate["pscore"], present, np.arange(len(present)))
    weight = slate["match"].all(axis=1) / slate["ranking_pscore"]
    return {
        "bandit": {
            "ips": ips.value,
            "snips": per_place_snips(shown, match).value,
            "dr": doubly_robust(shown, match, expected).value,
            "ips_interval": [ips.value - spread, ips.value + spread],
        },
        "slate": {
            "ips": per_place_ips(slates, slate["match"]).value,
            "snips": per_place_snips(slates, slate["match"]).value,
            "whole_ranking": whole_ranking(slates, weight).value,
        },
    }


def theirs(interpreter: Path, bandit: Case, slate: Case, scratch: Path) -> dict[str, Any]:
    """Return the estimates of the Open Bandit Pipeline."""
    path = scratch / "cases.npz"
    arrays: dict[str, Any] = {}
    for kind, case in (("bandit", bandit), ("slate", slate)):
        arrays |= {f"{kind}/{field}": array for field, array in case.items()}
    np.savez(path, **arrays)
    command = [str(interpreter), str(_SIDE), str(path)]
    result: dict[str, Any] = json.loads(subprocess.check_output(command))
    return result
