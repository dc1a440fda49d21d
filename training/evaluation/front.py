"""Fronts from their points, with gains, hypervolume and verdict: of one training, or pooled."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import numpy as np
from scipy.stats import spearmanr

from service.contract.manifest import Estimate, Front, FrontPoint
from training.arrays import Floats
from training.config import FrontOptions
from training.data.dataset import Dataset
from training.evaluation.verdict import verdict
from training.metrics.estimates import (
    all_known,
    finite,
    mean_and_se,
    mean_over_seeds,
    standard_error,
)
from training.metrics.hypervolume import hypervolume


def one_front(
    points: tuple[FrontPoint, ...],
    replicates: Sequence[Floats],
    *,
    axis: str,
    options: FrontOptions,
    unbiased_kind: str,
    diagnostic: str,
    seed: int,
    dataset: Dataset,
) -> Front:
    """Return the front of one training, spanned by the metric ``axis``.

    replicates: the values (B, T) of ``axis`` on the logged and on the unbiased side. A row is one
    redraw of the users, the same at every tradeoff.
    """
    center = _curve(points, "logged", axis), _curve(points, "unbiased", axis)
    return _front(
        points,
        center,
        axis=axis,
        gain_se=_gains(*replicates).std(axis=0, ddof=1),
        hypervolume=Estimate(
            mean=_hypervolumes((center[0][None], center[1][None]), options.reference)[0],
            se=finite(_hypervolumes(replicates, options.reference).std(ddof=1)),
        ),
        options=options,
        unbiased_kind=unbiased_kind,
        diagnostic=diagnostic,
        se_kind="bootstrap over users",
        seeds=(seed,),
        dataset=dataset.description.name,
    )


def pool_fronts(fronts: Sequence[Front], options: FrontOptions) -> Front:
    """Pool the fronts of several seeds: means, standard errors over seeds, and one verdict.

    An error that is unknown in a seed, for lack of users, is unknown over seeds too.
    """
    first = fronts[0]
    curves = [
        np.array([_curve(front.points, side, first.axis) for front in fronts])
        for side in ("logged", "unbiased")
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
    one_seed = "only 1 seed: the error is unknown; " if len(fronts) == 1 else ""
    return _front(
        points,
        (curves[0].mean(axis=0), curves[1].mean(axis=0)),
        axis=first.axis,
        gain_se=np.where(users_suffice, standard_error(_gains(*curves)), np.nan),
        hypervolume=mean_and_se(areas, users_suffice=all(users_suffice)),
        options=options,
        unbiased_kind=first.unbiased_kind,
        diagnostic=one_seed + first.diagnostic,
        se_kind="over seeds",
        seeds=tuple(seed for front in fronts for seed in front.seeds),
        dataset=first.dataset,
    )


def _front(
    points: tuple[FrontPoint, ...],
    center: tuple[Floats, Floats],
    *,
    axis: str,
    gain_se: Floats,
    hypervolume: Estimate,
    options: FrontOptions,
    unbiased_kind: str,
    diagnostic: str,
    se_kind: Literal["bootstrap over users", "over seeds"],
    seeds: tuple[int, ...],
    dataset: str,
) -> Front:
    gain = _gains(center[0][None], center[1][None])[0]
    tradeoffs = [point.tradeoff for point in points]
    spearman = {
        side: _spearman(tradeoffs, curve)
        for side, curve in zip(("logged", "unbiased"), center, strict=True)
    }
    return Front(
        points=points,
        unbiased_kind=unbiased_kind,
        axis=axis,
        hypervolume=hypervolume,
        reference=options.reference,
        spearman=spearman,
        gain={
            side: Estimate(mean=float(mean), se=finite(se))
            for side, mean, se in zip(("logged", "unbiased"), gain, gain_se, strict=True)
        },
        verdict=verdict(gain, gain_se, spearman),
        diagnostic=diagnostic,
        se_kind=se_kind,
        seeds=seeds,
        dataset=dataset,
    )


def _curve(points: Sequence[FrontPoint], side: Literal["logged", "unbiased"], axis: str) -> Floats:
    return np.array([getattr(point, side)[axis].mean for point in points])


def _gains(logged: Floats, unbiased: Floats) -> Floats:
    """Return the gains (B, 2) of curves (B, T): of w = 1 on logged, of w = 0 on unbiased."""
    return np.stack([logged[:, -1] - logged[:, 0], unbiased[:, 0] - unbiased[:, -1]], axis=1)


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
