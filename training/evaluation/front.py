"""Fronts from their points, with gains, verdict and advice: of one training, or pooled."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Literal

import numpy as np
from scipy.stats import spearmanr

from service.contract.front import Estimate, Front, FrontPoint, UserGroup
from training.arrays import Floats
from training.config import FrontOptions
from training.data.dataset import Dataset
from training.evaluation.advice import Curves, advise, recommend
from training.evaluation.user_groups import pool_user_groups
from training.evaluation.verdict import too_few_positives, verdict
from training.metrics.accuracy import MATCHED
from training.metrics.estimates import (
    all_known,
    finite,
    mean_and_se,
    mean_over_seeds,
    standard_error,
)
from training.metrics.full_ranking import RECALL
from training.metrics.hypervolume import hypervolume

_Side = Literal["logged", "unbiased"]
_CHANCE = {"auc": 0.5, RECALL: 0.0}
# The side and the name of the matched AUC, by axis.
_MATCHED: dict[str, tuple[_Side, str]] = {
    "auc": ("unbiased", MATCHED),
    RECALL: ("logged", "matched_auc"),
}


def one_front(
    points: tuple[FrontPoint, ...],
    replicates: Sequence[Floats],
    matched: Floats,
    *,
    axis: str,
    options: FrontOptions,
    unbiased_kind: str,
    positives: Mapping[str, int],
    user_groups: tuple[UserGroup, ...] = (),
    diagnostic: str,
    seed: int,
    dataset: Dataset,
) -> Front:
    """Return the front of one training, spanned by the metric ``axis``.

    replicates: the values (B, T) of ``axis`` on the logged and on the unbiased side. A row is one
    redraw of the users, the same at every tradeoff. matched (B, T): those of the matched AUC at
    the ends.
    positives: test clicks of each side.
    """
    center = _curve(points, "logged", axis), _curve(points, "unbiased", axis)
    return _front(
        points,
        center,
        axis=axis,
        change_se=_changes(*replicates).std(axis=1, ddof=1),
        matched_se=(matched[:, 0] - matched[:, -1]).std(ddof=1),
        hypervolume=Estimate(
            mean=_hypervolumes((center[0][None], center[1][None]), options.reference)[0],
            se=finite(_hypervolumes(replicates, options.reference).std(ddof=1)),
        ),
        options=options,
        unbiased_kind=unbiased_kind,
        positives=positives,
        user_groups=user_groups,
        diagnostic=diagnostic + too_few_positives(positives),
        se_kind="bootstrap over users",
        seeds=(seed,),
        dataset=dataset.description.name,
    )


def pool_fronts(fronts: Sequence[Front], options: FrontOptions) -> Front:
    """Pool the fronts of several seeds: means, standard errors over seeds, and one verdict.

    An error that is unknown in a seed, for lack of users, is unknown over seeds too. One seed has
    no error over seeds: its front stays as it was measured.
    """
    first = fronts[0]
    if len(fronts) == 1:
        return first
    sides: tuple[_Side, _Side] = ("logged", "unbiased")
    curves = [
        np.array([_curve(front.points, side, first.axis) for front in fronts]) for side in sides
    ]  # (S, T) each
    points = tuple(
        FrontPoint(
            tradeoff=first.points[t].tradeoff,
            logged=_over_seeds([front.points[t].logged for front in fronts]),
            unbiased=_over_seeds([front.points[t].unbiased for front in fronts]),
            shown=_over_seeds([front.points[t].shown for front in fronts], of_users=False),
        )
        for t in range(len(first.points))
    )
    users_suffice = [
        all_known([front.gain[side] for front in fronts]) for side in ("logged", "unbiased")
    ]
    areas = _hypervolumes(curves, options.reference)
    change_se = standard_error(_changes(*curves).swapaxes(0, 1))  # (2, T)
    matched = [front.matched_gain for front in fronts if front.matched_gain is not None]
    matched_se = (
        standard_error(np.array([gain.mean for gain in matched]))
        if matched and all_known(matched)
        else np.nan
    )
    return _front(
        points,
        (curves[0].mean(axis=0), curves[1].mean(axis=0)),
        axis=first.axis,
        change_se=np.where(np.array(users_suffice)[:, None], change_se, np.nan),
        matched_se=matched_se,
        hypervolume=mean_and_se(areas, users_suffice=all(users_suffice)),
        options=options,
        unbiased_kind=first.unbiased_kind,
        positives={side: min(front.positives[side] for front in fronts) for side in sides},
        user_groups=pool_user_groups([front.user_groups for front in fronts]),
        diagnostic=first.diagnostic,
        se_kind="over seeds",
        seeds=tuple(seed for front in fronts for seed in front.seeds),
        dataset=first.dataset,
    )


def _front(
    points: tuple[FrontPoint, ...],
    center: tuple[Floats, Floats],
    *,
    axis: str,
    change_se: Floats,
    matched_se: Floats | float,
    hypervolume: Estimate,
    options: FrontOptions,
    unbiased_kind: str,
    positives: Mapping[str, int],
    user_groups: tuple[UserGroup, ...],
    diagnostic: str,
    se_kind: Literal["bootstrap over users", "over seeds"],
    seeds: tuple[int, ...],
    dataset: str,
) -> Front:
    """Return the front; ``change_se`` (2, T) are the errors of ``_changes``."""
    tradeoffs = [point.tradeoff for point in points]
    cost_se, gain_se = change_se
    curves = Curves(np.array(tradeoffs), *center, cost_se, gain_se, _CHANCE[axis])
    gain, end_se = np.array([curves.cost[0], curves.gain[0]]), change_se[:, 0]
    spearman = {
        side: _spearman(tradeoffs, curve)
        for side, curve in zip(("logged", "unbiased"), center, strict=True)
    }
    matched_gain = _matched_gain(points, axis, matched_se)
    judgement = verdict(gain, end_se, spearman, positives)
    recommended, trades = recommend(curves, judgement)
    return Front(
        points=points,
        unbiased_kind=unbiased_kind,
        axis=axis,
        hypervolume=hypervolume,
        reference=options.reference,
        spearman=spearman,
        gain={
            side: Estimate(mean=float(mean), se=finite(se))
            for side, mean, se in zip(("logged", "unbiased"), gain, end_se, strict=True)
        },
        positives=dict(positives),
        trades=trades,
        matched_gain=matched_gain,
        verdict=judgement,
        recommended=recommended,
        advice=advise(
            curves,
            judgement,
            recommended,
            axis=axis,
            unbiased_kind=unbiased_kind,
            matched_gain=matched_gain,
        ),
        user_groups=user_groups,
        diagnostic=diagnostic,
        se_kind=se_kind,
        seeds=seeds,
        dataset=dataset,
    )


def _curve(points: Sequence[FrontPoint], side: _Side, axis: str) -> Floats:
    return np.array([getattr(point, side)[axis].mean for point in points])


def _changes(logged: Floats, unbiased: Floats) -> Floats:
    """Return costs and gains (2, B, T) of curves (B, T), both against w = 1; see ``Curves``."""
    return np.stack([logged[:, -1:] - logged, unbiased - unbiased[:, -1:]])


def _matched_gain(points: Sequence[FrontPoint], axis: str, se: Floats | float) -> Estimate | None:
    """Return the matched AUC of w = 0 less that of w = 1; None where it is undefined."""
    side, name = _MATCHED[axis]
    ends = [getattr(point, side).get(name) for point in (points[0], points[-1])]
    if None in ends:
        return None
    return Estimate(mean=ends[0].mean - ends[1].mean, se=finite(np.asarray(se)))


def _hypervolumes(curves: Sequence[Floats], reference: tuple[float, float]) -> Floats:
    """Return the hypervolumes (B,) of the logged and the unbiased curves (B, T)."""
    return np.array(
        [
            hypervolume(list(zip(x.tolist(), y.tolist(), strict=True)), reference)
            if np.isfinite([x, y]).all()
            else np.nan
            for x, y in zip(*curves, strict=True)
        ]
    )


def _spearman(tradeoffs: Sequence[float], curve: Floats) -> float:
    if np.ptp(curve) == 0:
        return 0.0
    return float(spearmanr(tradeoffs, curve).statistic)


def _over_seeds(
    tables: Sequence[dict[str, Estimate]], *, of_users: bool = True
) -> dict[str, Estimate]:
    """Return means over seeds of the metrics that all ``tables`` (one per seed) contain.

    Not ``of_users``: inequality and coverage have no error over users, however many there are.
    """
    return {
        name: mean_over_seeds([table[name] for table in tables], of_users=of_users)
        for name in tables[0]
        if all(name in table for table in tables)
    }
