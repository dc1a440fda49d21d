"""Estimates of the Open Bandit Pipeline; runs in its environment: obp_side.py CASES.npz."""

from __future__ import annotations

import json
import sys
import warnings
from typing import Any

import numpy as np

warnings.simplefilter("ignore")

Case = dict[str, Any]


def bandit(case: Case) -> dict[str, Any]:
    """Return IPW, SNIPW and DR of a deterministic policy over single places."""
    from obp import ope

    reward, action, position = case["reward"], case["action"], case["position"]
    rows, actions, places = len(reward), int(case["actions"]), int(position.max()) + 1
    chosen = np.zeros((rows, actions, places))
    for place in range(places):
        chosen[np.arange(rows), case["target"][:, place], place] = 1.0
    known = {
        "reward": reward,
        "action": action,
        "position": position,
        "pscore": case["pscore"],
        "action_dist": chosen,
    }
    estimated = np.repeat(case["expected"][None], rows, axis=0)
    interval = ope.InverseProbabilityWeighting().estimate_interval(
        n_bootstrap_samples=2000, random_state=1, **known
    )
    return {
        "ips": ope.InverseProbabilityWeighting().estimate_policy_value(**known),
        "snips": ope.SelfNormalizedInverseProbabilityWeighting().estimate_policy_value(**known),
        "dr": ope.DoublyRobust().estimate_policy_value(
            estimated_rewards_by_reg_model=estimated, **known
        ),
        "ips_interval": [interval["95.0% CI (lower)"], interval["95.0% CI (upper)"]],
    }


def slate(case: Case) -> dict[str, Any]:
    """Return the item-position estimators and that of whole rankings, over slates."""
    from obp import ope

    rows, places = case["reward"].shape
    flat = {
        "slate_id": np.repeat(np.arange(rows), places),
        "position": np.tile(np.arange(places), rows),
        "reward": case["reward"].ravel(),
    }
    by_place = {
        **flat,
        "pscore_item_position": case["pscore"].ravel(),
        "evaluation_policy_pscore_item_position": case["match"].ravel().astype(float),
    }
    whole = {
        **flat,
        "pscore": np.repeat(case["ranking_pscore"], places),
        "evaluation_policy_pscore": np.repeat(case["match"].all(axis=1), places).astype(float),
    }
    normalised = ope.SelfNormalizedSlateIndependentIPS(len_list=places)
    standard = ope.SelfNormalizedSlateStandardIPS(len_list=places)
    return {
        "ips": ope.SlateIndependentIPS(len_list=places).estimate_policy_value(**by_place),
        "snips": normalised.estimate_policy_value(**by_place),
        "whole_ranking": standard.estimate_policy_value(**whole),
    }


if __name__ == "__main__":
    with np.load(sys.argv[1]) as cases:
        parts: dict[str, Case] = {}
        for name, array in cases.items():
            kind, field = name.split("/")
            parts.setdefault(kind, {})[field] = array
    json.dump({"bandit": bandit(parts["bandit"]), "slate": slate(parts["slate"])}, sys.stdout)
