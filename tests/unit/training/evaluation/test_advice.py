from __future__ import annotations

import math

import numpy as np
import pytest

from service.contract.front import Estimate
from training.data.split import POPULARITY_SHIFT
from training.evaluation.advice import Curves, advise, best_trade, recommend, share

UNIFORM = "uniform exposure"


def curves(
    logged: tuple[float, ...],
    unbiased: tuple[float, ...],
    se: float = 0.001,
    chance: float = 0.5,
    gain_se: float | None = None,
) -> Curves:
    points = len(logged)
    return Curves(
        np.linspace(0, 1, points),
        np.array(logged),
        np.array(unbiased),
        np.full(points, se),
        np.full(points, se if gain_se is None else gain_se),
        chance,
    )


def say(front: Curves, verdict: str, axis: str = "auc", kind: str = UNIFORM) -> str:
    recommended, _ = recommend(front, verdict)  # type: ignore[arg-type]  # a parameter of the test  # one of three words
    return advise(
        front,
        verdict,  # type: ignore[arg-type]  # a parameter of the test
        recommended,
        axis=axis,
        unbiased_kind=kind,
        matched_gain=None,
    )


def test_a_trade_bounds_the_cost_and_not_the_gain() -> None:
    front = curves((0.60, 0.679, 0.681, 0.70), (0.80, 0.78, 0.74, 0.72))

    five, ten, fifty = (best_trade(front, most_cost) for most_cost in (0.05, 0.10, 0.50))

    assert five.tradeoff == 1.0  # 10 % of .20 above chance is more than it may cost
    assert (five.gain.mean, five.cost.mean, five.gain_share) == (0.0, 0.0, 0.0)
    assert ten.tradeoff == pytest.approx(2 / 3)
    assert ten.cost_share == pytest.approx(0.095)
    assert ten.gain_share == pytest.approx(0.02 / 0.22)
    assert fifty.tradeoff == 0.0


def test_a_side_at_chance_has_no_shares() -> None:
    trade = best_trade(curves((0.5, 0.5), (0.6, 0.45)), 0.05)

    assert (trade.tradeoff, trade.gain_share, trade.cost_share) == (0.0, None, None)


def test_of_equal_gains_the_one_nearest_the_log_is_best() -> None:
    assert best_trade(curves((0.7, 0.7, 0.7), (0.6, 0.6, 0.6)), 0.05).tradeoff == 1.0


@pytest.mark.parametrize("verdict", ["clear", "weak"])
def test_clear_and_weak_fronts_name_gain_and_cost(verdict: str) -> None:
    front = curves((0.0919, 0.0921, 0.0960), (0.0118, 0.0126, 0.0076), chance=0.0)

    assert say(front, verdict, "recall_at_20", POPULARITY_SHIFT) == (
        "Serve w = 0.5: +66 % recall of less popular items (0.0076 to 0.0126) for 4.1 % of all "
        "recall (0.0960 to 0.0921), against w = 1."
    )


def test_the_less_popular_half_is_named_as_what_it_is() -> None:
    text = say(curves((0.699, 0.70), (0.65, 0.60)), "weak", kind=POPULARITY_SHIFT)

    assert "AUC above chance on the less popular half of the logged test (0.6000 to 0.65" in text


def test_a_gain_within_its_error_is_not_recommended() -> None:
    text = say(curves((0.699, 0.70), (0.65, 0.60), gain_se=0.03), "weak")

    assert text == (
        "Serve w = 1: no tradeoff has a proven gain at a cost of at most 5 % of the AUC above "
        "chance on logged traffic."
    )


def test_where_w_1_is_at_chance_there_is_no_percentage() -> None:
    text = say(curves((0.01, 0.01), (0.02, 0.0), chance=0.0), "weak", "recall_at_20")

    assert text == (
        "Serve w = 0: more recall (0.0000 to 0.0200) at no cost of all recall, against w = 1."
    )


@pytest.mark.parametrize(
    ("logged", "unbiased", "expected"),
    [
        ((0.69, 0.70), (0.60, 0.61), "Serve w = 1: it is the better end on both sides, so debias"),
        ((0.71, 0.70), (0.62, 0.61), "Serve w = 0: it is better than w = 1 on both sides."),
        (
            (0.69, 0.70),
            (0.6115, 0.61),
            "Serve w = 1: that w = 0 has more AUC above chance on unbia",
        ),
        ((0.699, 0.70), (0.64, 0.61), "Serve w = 0: +27 % AUC above chance on unbiased traffic"),
        ((0.65, 0.70), (0.64, 0.61), "Serve w = 1: w = 0 has +27 % AUC above chance on unbiased"),
        ((0.71, 0.70), (0.60, 0.61), "Serve w = 1: that w = 0 has more AUC above chance on unbia"),
    ],
)
def test_without_a_front_the_better_end_is_served(
    logged: tuple[float, ...], unbiased: tuple[float, ...], expected: str
) -> None:
    assert say(curves(logged, unbiased), "none").startswith(expected)


def test_without_errors_the_log_s_own_ranking_is_served() -> None:
    text = say(curves((0.71, 0.70), (0.62, 0.61), se=math.nan), "none")

    assert text == "Serve w = 1: the log's own ranking, because the error is unknown."


@pytest.mark.parametrize(
    ("gain", "se", "expected"),
    [
        (0.02, 0.005, "w = 0 orders items of similar popularity better (matched AUC +0.0200 ± "
         "0.0050): it knows taste better."),
        (0.02, 0.015, "w = 0 orders items of similar popularity no better (matched AUC +0.0200 ± "
         "0.0150): it demotes popular items, it does not know taste better."),
        (-0.02, 0.005, "w = 0 orders items of similar popularity worse (matched AUC -0.0200 ± "
         "0.0050): it demotes popular items, it does not know taste better."),
        (0.02, None, "Whether w = 0 knows taste better is unknown."),
    ],
)  # fmt: skip
def test_the_matched_auc_says_whether_taste_or_popularity_moved(
    gain: float, se: float | None, expected: str
) -> None:
    front = curves((0.699, 0.70), (0.65, 0.60))

    text = advise(
        front,
        "weak",
        0.0,
        axis="auc",
        unbiased_kind=UNIFORM,
        matched_gain=Estimate(mean=gain, se=se),
    )

    assert text.endswith(f", against w = 1. {expected}")


def test_a_share_has_two_digits() -> None:
    assert [share(x) for x in (0.05, 0.0432, 0.663, 1.234, 0.0)] == [
        "5 %", "4.3 %", "66 %", "120 %", "0 %"
    ]  # fmt: skip
