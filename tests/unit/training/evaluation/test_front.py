from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import pytest

from service.contract.front import Estimate, Front, FrontPoint
from tests.datasets import MakeDataset
from tests.fitted_nets import fitted_net
from training.config import FrontOptions
from training.evaluation.front import pool_fronts
from training.evaluation.measure import measure_front

OPTIONS = FrontOptions(points=3, reference=(0.5, 0.5), bootstrap=20)
RISING = {"logged": 1.0, "unbiased": -1.0}


def hand_made(
    logged: Sequence[float], unbiased: Sequence[float], seed: int, se: float | None = 0.5
) -> Front:
    """Return the front of one seed; ``se`` is the error over users of all that it measured."""
    points = tuple(
        FrontPoint(
            tradeoff=index / (len(logged) - 1),
            logged={"auc": Estimate(mean=x, se=se)},
            unbiased={"auc": Estimate(mean=y, se=se)},
            shown={"arp": Estimate(mean=100 * x)}
            | ({"rare": Estimate(mean=1.0)} if seed < 5 else {}),
        )
        for index, (x, y) in enumerate(zip(logged, unbiased, strict=True))
    )
    return Front(
        points=points,
        unbiased_kind="uniform exposure",
        axis="auc",
        hypervolume=Estimate(mean=9.0, se=se),
        reference=(0.5, 0.5),
        spearman=RISING,
        gain={side: Estimate(mean=9.0, se=se) for side in RISING},
        positives={"logged": 100 + seed, "unbiased": 200 - seed},
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
    assert pooled.positives == {"logged": 103, "unbiased": 195}


def test_gains_are_paired_by_seed() -> None:
    # The levels differ by .2 between the seeds, the gains by .002.
    fronts = [
        hand_made((0.50, 0.55, 0.58), (0.80, 0.76, 0.70), seed=0),
        hand_made((0.70, 0.75, 0.782), (0.60, 0.56, 0.498), seed=1),
    ]

    pooled = pool_fronts(fronts, OPTIONS)

    assert pooled.points[0].logged["auc"].se == pytest.approx(0.1)
    assert pooled.gain["logged"].se == pytest.approx(0.001)
    assert pooled.verdict == "clear"


def test_seeds_do_not_make_up_for_users(make_dataset: MakeDataset) -> None:
    fitted = fitted_net(make_dataset(2000, users=1))
    measured = [measure_front(fitted, OPTIONS, seed) for seed in range(2)]
    curves = ((0.60, 0.66, 0.70), (0.80, 0.76, 0.70)), ((0.62, 0.67, 0.71), (0.81, 0.76, 0.69))
    for fronts in (measured, [hand_made(*curve, seed=5, se=None) for curve in curves]):
        pooled = pool_fronts(fronts, OPTIONS)

        assert pooled.verdict == "none"
        assert [estimate.se for estimate in pooled.gain.values()] == [None, None]
        assert pooled.hypervolume.se is None
        assert pooled.points[0].logged["auc"].se is None
        assert pooled.points[0].unbiased["auc"].se is None


def test_one_seed_is_judged_as_its_training_was(make_dataset: MakeDataset) -> None:
    front = measure_front(fitted_net(make_dataset(1920, users=60)), OPTIONS, seed=3)

    pooled = pool_fronts([front], OPTIONS)

    assert pooled == front
    assert pooled.se_kind == "bootstrap over users"
    assert pooled.gain["logged"].se


def test_the_front_recommends_the_greatest_gain_at_most_5_percent_cost() -> None:
    fronts = [  # of the .20 above chance that w = 1 has, w = .5 costs .01: 5 %
        hand_made((0.60, 0.69, 0.70), (0.80, 0.76, 0.70), seed=3),
        hand_made((0.62, 0.6902, 0.70), (0.80, 0.76, 0.68), seed=4),
    ]

    pooled = pool_fronts(fronts, OPTIONS)

    assert (pooled.verdict, pooled.recommended) == ("clear", 0.5)
    five, ten = pooled.trades
    assert (five.most_cost, five.tradeoff, ten.most_cost, ten.tradeoff) == (0.05, 0.5, 0.1, 0.5)
    assert five.gain.mean == pytest.approx(0.07)
    assert five.gain.se == pytest.approx(0.01)  # .06 and .08
    assert five.cost.mean == pytest.approx(0.0099)
    assert five.cost.se == pytest.approx(0.0001)
    assert five.gain_share == pytest.approx(0.07 / 0.19)
    assert five.cost_share == pytest.approx(0.0099 / 0.20)
    assert pooled.advice.startswith(
        "Serve w = 0.5: +37 % AUC above chance on unbiased traffic (uniform exposure) "
        "(0.6900 to 0.7600) for 5 % of the AUC above chance on logged traffic "
        "(0.7000 to 0.6901), against w = 1."
    )


def test_the_matched_gain_is_paired_by_seed() -> None:
    fronts = [
        hand_made((0.6, 0.65, 0.7), (0.8, 0.7, 0.6), seed).model_copy(
            update={"matched_gain": Estimate(mean=gain, se=0.5)}
        )
        for seed, gain in enumerate((0.02, 0.03))
    ]
    matched = [
        front.model_copy(
            update={
                "points": tuple(
                    point.model_copy(
                        update={"unbiased": {**point.unbiased, "matched_row_auc": Estimate(mean=x)}}
                    )
                    for point, x in zip(front.points, values, strict=True)
                )
            }
        )
        for front, values in zip(fronts, ((0.62, 0.61, 0.60), (0.73, 0.71, 0.70)), strict=True)
    ]

    pooled = pool_fronts(matched, OPTIONS)

    assert pooled.matched_gain is not None
    assert pooled.matched_gain.mean == pytest.approx(0.025)
    assert pooled.matched_gain.se == pytest.approx(0.005)
    assert pooled.advice.endswith("(matched AUC +0.0250 ± 0.0050): it knows taste better.")


def test_a_flat_curve_is_not_monotone() -> None:
    fronts = [hand_made((0.6, 0.6, 0.6), (0.8, 0.7, 0.6), seed) for seed in range(2)]

    assert pool_fronts(fronts, OPTIONS).spearman == {
        "logged": 0.0,
        "unbiased": pytest.approx(-1.0),
    }
