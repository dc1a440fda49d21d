from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import pytest

from service.contract.manifest import Estimate, Front, FrontPoint
from training.config import FrontOptions
from training.evaluation.front import pool_fronts

OPTIONS = FrontOptions(points=3, reference=(0.5, 0.5), bootstrap=20)
RISING = {"logged": 1.0, "unbiased": -1.0}


def hand_made(logged: Sequence[float], unbiased: Sequence[float], seed: int) -> Front:
    points = tuple(
        FrontPoint(
            tradeoff=index / (len(logged) - 1),
            logged={"auc": Estimate(mean=x, se=0.5)},
            unbiased={"auc": Estimate(mean=y, se=0.5)},
            shown={"arp": Estimate(mean=100 * x)}
            | ({"rare": Estimate(mean=1.0)} if seed < 5 else {}),
        )
        for index, (x, y) in enumerate(zip(logged, unbiased, strict=True))
    )
    return Front(
        points=points,
        unbiased_kind="uniform exposure",
        axis="auc",
        hypervolume=Estimate(mean=9.0, se=9.0),
        reference=(0.5, 0.5),
        spearman=RISING,
        gain={"logged": Estimate(mean=9.0), "unbiased": Estimate(mean=9.0)},
        verdict="none",
        diagnostic="as measured",
        se_kind="bootstrap over users",
        seeds=(seed,),
        dataset="toy",
    )


def test_fronts_pool_over_seeds() -> None:
    fronts = [
        hand_made((0.60, 0.66, 0.70), (0.80, 0.76, 0.70), seed=3),
        hand_made((0.62, 0.66, 0.70), (0.80, 0.76, 0.68), seed=4),
        hand_made((0.64, 0.66, 0.70), (0.80, 0.76, 0.66), seed=5),
    ]

    pooled = pool_fronts(fronts, OPTIONS)

    first, middle, last = pooled.points
    assert first.logged["auc"].mean == pytest.approx(0.62)
    assert first.logged["auc"].se == pytest.approx(0.02 / math.sqrt(3))
    assert middle.logged["auc"].se == pytest.approx(0.0, abs=1e-12)
    assert last.unbiased["auc"].mean == pytest.approx(0.68)
    assert last.unbiased["auc"].se == pytest.approx(0.02 / math.sqrt(3))
    assert first.shown.keys() == {"arp"}  # what only some seeds have cannot be pooled
    assert first.shown["arp"].mean == pytest.approx(62.0)
    assert first.shown["arp"].se == pytest.approx(2 / math.sqrt(3))
    assert pooled.gain["logged"].mean == pytest.approx(0.08)  # .10, .08, .06
    assert pooled.gain["logged"].se == pytest.approx(0.02 / math.sqrt(3))
    assert pooled.gain["unbiased"].mean == pytest.approx(0.12)  # .10, .12, .14
    areas = [  # staircases above (.5, .5), from the right
        0.2 * 0.20 + 0.16 * 0.06 + 0.10 * 0.04,
        0.2 * 0.18 + 0.16 * 0.08 + 0.12 * 0.04,
        0.2 * 0.16 + 0.16 * 0.10 + 0.14 * 0.04,
    ]
    assert pooled.hypervolume.mean == pytest.approx(sum(areas) / 3)
    assert pooled.hypervolume.se == pytest.approx(np.std(areas, ddof=1) / math.sqrt(3))
    assert pooled.spearman == pytest.approx(RISING)
    assert (pooled.verdict, pooled.seeds) == ("clear", (3, 4, 5))
    assert (pooled.se_kind, pooled.diagnostic) == ("over seeds", "as measured")


def test_gains_are_paired_by_seed() -> None:
    # The levels differ by .2 between the seeds, the gains by nothing.
    fronts = [
        hand_made((0.50, 0.55, 0.58), (0.80, 0.76, 0.70), seed=0),
        hand_made((0.70, 0.75, 0.78), (0.60, 0.56, 0.50), seed=1),
    ]

    pooled = pool_fronts(fronts, OPTIONS)

    assert pooled.points[0].logged["auc"].se == pytest.approx(0.1)
    assert pooled.gain["logged"].se == pytest.approx(0.0, abs=1e-12)
    assert pooled.verdict == "clear"


def test_one_seed_has_no_error_and_no_verdict() -> None:
    front = hand_made((0.60, 0.66, 0.70), (0.80, 0.76, 0.70), seed=3)

    pooled = pool_fronts([front], OPTIONS)

    assert pooled.points[0].logged["auc"] == Estimate(mean=0.60, se=None)
    assert pooled.gain["logged"].se is None
    assert pooled.hypervolume.se is None
    assert pooled.verdict == "none"


def test_a_flat_curve_is_not_monotone() -> None:
    fronts = [hand_made((0.6, 0.6, 0.6), (0.8, 0.7, 0.6), seed) for seed in range(2)]

    assert pool_fronts(fronts, OPTIONS).spearman == {
        "logged": 0.0,
        "unbiased": pytest.approx(-1.0),
    }
