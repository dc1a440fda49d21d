"""Targets: solved from the front, held by what is shown."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any, cast

import numpy as np
import pytest

from service.contract.targets import Curve
from service.errors import InvalidRequestError
from service.exposure import targets
from service.exposure.monitor import ExposureMonitor
from service.exposure.targets import Target, Targets
from tests.fronts import make_front, make_front_with_shown

CURVE = Curve(np.linspace(0, 1, 11), 0.5 - 0.3 * np.linspace(0, 1, 11) ** 0.7)  # 0.5 to 0.2
SD = 0.17  # of the tail share of one ranking: of the tests' model


class Monitor:
    """Items are named by their percentile."""

    def percentiles(self, item_ids: list[str]) -> Any:
        return np.array([float(item_id) for item_id in item_ids])


MONITOR = cast(ExposureMonitor, Monitor())


def columns(*item_ids: str, missing: int = 0) -> dict[str, Any]:
    status = ["ok"] * len(item_ids) + ["missing"] * missing
    return {"item_ids": [*item_ids, *["99"] * missing], "status": status}


def served(shift: float, steepness: float, tradeoff: float) -> float:
    """Return what traffic shows at a tradeoff: the front turned and shifted."""
    middle = CURVE.value(0.5)
    return middle + steepness * (CURVE.value(tradeoff) - middle) + shift


def corrected(target: Target, rankings: int, shown: float) -> float:
    """Return the next tradeoff if rankings at the present one have shown this on average."""
    return target.corrected(rankings, rankings * (shown - target.curve.value(target.tradeoff)))


@pytest.mark.parametrize("each", [25, 100])
@pytest.mark.parametrize(
    ("shift", "steepness"), [(0.1, 1.0), (-0.1, 1.0), (0.05, 0.6), (0.0, 2.0), (-0.1, 2.0)]
)
def test_traffic_that_differs_from_the_front_is_at_the_target_within_1000_rankings(
    shift: float, steepness: float, each: int
) -> None:
    """Steps of ``each`` rankings; then traffic changes to the contrary, and again."""
    target = Target("tail_share", 0.35, CURVE, MONITOR)
    assert abs(served(shift, steepness, target.tradeoff) - 0.35) > 0.01 or shift == 0
    for now in (shift, -shift):
        for _ in range(1000 // each):
            shown = served(now, steepness, target.tradeoff)
            moved = corrected(target, each, shown)
            assert abs(moved - target.tradeoff) <= 0.1 + 1e-12
            target.follow(target.epoch + 1, moved)
        assert abs(served(now, steepness, target.tradeoff) - 0.35) < 0.02
        assert not target.missed


@pytest.mark.parametrize("steepness", [0.5, 1.0, 1.9])
def test_an_error_shrinks_without_a_change_of_its_sign(steepness: float) -> None:
    target = Target("tail_share", 0.4, CURVE, MONITOR)
    errors = []
    for _ in range(30):
        shown = served(0.08, steepness, target.tradeoff)
        errors.append(0.4 - shown)
        target.follow(target.epoch + 1, corrected(target, 500, shown))
    assert (np.sign(errors) == np.sign(errors[0])).all() or abs(errors[-1]) < 1e-9
    assert (np.diff(np.abs(errors)) <= 1e-12).all()


def test_noise_moves_a_held_target_by_less_than_a_point() -> None:
    rng = np.random.default_rng(0)
    target = Target("tail_share", 0.35, CURVE, MONITOR)
    at = []
    for _ in range(2000):
        shown = served(0.05, 1.0, target.tradeoff) + rng.normal(0, SD, 25).mean()
        target.follow(target.epoch + 1, corrected(target, 25, shown))
        at.append(served(0.05, 1.0, target.tradeoff))
    assert abs(np.mean(at[200:]) - 0.35) < 0.002
    assert np.std(at[200:]) < 0.01


def test_a_target_out_of_reach_takes_the_nearest_end_and_comes_back() -> None:
    beyond = Target("tail_share", 0.9, CURVE, MONITOR)
    assert (beyond.tradeoff, beyond.missed) == (0.0, True)
    target = Target("tail_share", 0.45, CURVE, MONITOR)
    assert not target.missed
    for _ in range(20):  # traffic has no such share
        moved = corrected(target, 100, served(-0.2, 1.0, target.tradeoff))
        target.follow(target.epoch + 1, moved)
    assert (target.tradeoff, target.missed) == (0.0, True)
    target.follow(target.epoch + 1, corrected(target, 100, served(0.0, 1.0, 0.0)))
    assert 0 < target.tradeoff <= 0.1  # nothing has wound up meanwhile
    assert not target.missed


def test_what_is_shown_is_the_mean_over_rankings_of_their_first_places() -> None:
    """By hand: shares of 2/4, 0 and 1; percentiles of 65.25, 95 and 0; the front gives 0.5, 0.2."""
    share = Target("tail_share", 0.3, CURVE, MONITOR)
    percentile = Target("popularity_percentile", 70.0, CURVE, MONITOR)
    for target in (share, percentile):
        target.follow(1, 0.0)
        target.add(columns("80", "81", "10", "90"))
        target.add(columns("95", missing=2))
        target.add(columns(missing=1))
        target.follow(2, 1.0)
        target.add(columns(*["0"] * 10, *["99"] * 10))
    rankings, excess = share.take()
    assert rankings == 3
    assert excess == pytest.approx(0.5 + 0 + 1 - 0.5 - 0.5 - 0.2)
    assert share.shown(rankings, excess) == pytest.approx(0.2 + 0.3 / 3)
    assert percentile.take()[1] == pytest.approx(65.25 + 95 - 0.5 - 0.5 - 0.2)
    assert share.take() == (0, 0.0)


def test_each_target_is_solved_once_and_a_lacking_measure_is_refused() -> None:
    of_model = Targets("toy@1", make_front_with_shown(), MONITOR)
    target = of_model.find("popularity_percentile", 77.5)
    assert of_model.find("popularity_percentile", 77.5000001) is target
    assert target.tradeoff == pytest.approx(0.375)
    assert of_model.held() == [target]
    cost = of_model.find("logged_auc_cost", 0.04)
    assert not cost.is_held
    assert cost.tradeoff == pytest.approx(0.25)
    with pytest.raises(
        InvalidRequestError, match=r"toy@1 has no front of tail_share; it has pop"
    ) as error:
        of_model.find("tail_share", 0.3)
    assert error.value.field == "target"
    assert "logged_auc_cost" in error.value.message
    bare = make_front().model_copy(update={"points": make_front_with_shown().points[:1] * 2})
    with pytest.raises(InvalidRequestError, match="it has none: name a tradeoff"):
        Targets("toy@1", bare, MONITOR).find("tail_share", 0.3)


@pytest.mark.parametrize("holds", [True, False])
def test_without_control_or_popularity_a_target_stays(holds: bool) -> None:
    monitor = (
        MONITOR if not holds else cast(ExposureMonitor, SimpleNamespace(percentiles=lambda _: None))
    )
    of_model = Targets("toy@1", make_front_with_shown(), monitor, holds=holds)
    target = of_model.find("popularity_percentile", 77.5)
    target.add(columns("1"))
    assert target.take() == (0, 0.0)
    assert of_model.held() == []


def test_targets_are_bounded_and_forgotten_once_idle(monkeypatch: pytest.MonkeyPatch) -> None:
    now_s = 100.0
    monkeypatch.setattr(targets, "time", SimpleNamespace(monotonic=lambda: now_s))
    of_model = Targets("toy@1", make_front_with_shown(), MONITOR)
    for number in range(70):
        of_model.find("popularity_percentile", 70 + number / 10)
    assert len(of_model.held()) == 64
    assert of_model.find("popularity_percentile", 76.9).tradeoff > 0.25  # solved all the same
    now_s += 3000
    kept = of_model.find("popularity_percentile", 75.0)
    now_s += 1000
    assert len(of_model.forget_idle()) == 63
    assert of_model.held() == [kept]
