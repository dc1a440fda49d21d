from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import pytest

from service.contract.manifest import Estimate, Front, FrontPoint
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


def test_one_seed_has_no_error_and_no_verdict() -> None:
    front = hand_made((0.60, 0.66, 0.70), (0.80, 0.76, 0.70), seed=3)

    pooled = pool_fronts([front], OPTIONS)

    assert pooled.points[0].logged["auc"] == Estimate(mean=0.60, se=None)
    assert pooled.gain["logged"].se is None
    assert pooled.hypervolume.se is None
    assert pooled.verdict == "none"
    assert pooled.diagnostic == "only 1 seed: the error is unknown; as measured"


def test_a_flat_curve_is_not_monotone() -> None:
    fronts = [hand_made((0.6, 0.6, 0.6), (0.8, 0.7, 0.6), seed) for seed in range(2)]

    assert pool_fronts(fronts, OPTIONS).spearman == {
        "logged": 0.0,
        "unbiased": pytest.approx(-1.0),
    }
