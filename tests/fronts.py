"""Fronts by hand."""

from __future__ import annotations

from service.contract.front import Estimate, Front, FrontPoint


def front_point(w: float, logged: float, unbiased: float, se: float | None) -> FrontPoint:
    return FrontPoint(
        tradeoff=w,
        logged={"auc": Estimate(mean=logged, se=se), "gauc": Estimate(mean=0.55)},
        unbiased={"auc": Estimate(mean=unbiased, se=se)},
    )


def make_front() -> Front:
    """Return a front of four tradeoffs."""
    return Front(
        points=(
            front_point(0.0, 0.61, 0.76, 0.001),
            front_point(0.25, 0.65, 0.75, 0.001),
            front_point(0.5, 0.68, 0.72, None),
            front_point(1.0, 0.69, 0.65, 0.002),
        ),
        unbiased_kind="uniform exposure",
        axis="auc",
        hypervolume=Estimate(mean=0.0184321, se=0.00012345),
        reference=(0.5, 0.5),
        spearman={"logged": 1.0, "unbiased": -0.987},
        gain={"logged": Estimate(mean=0.08, se=0.002), "unbiased": Estimate(mean=0.11)},
        verdict="clear",
        diagnostic="popularity alone: AUC 0.600 logged, 0.500 unbiased",
        se_kind="over seeds",
        seeds=(3, 4),
        dataset="toy",
    )


def make_front_with_shown() -> Front:
    """Return the front with popularity percentiles of 70, 75, 80 and 90."""
    front = make_front()
    points = tuple(
        point.model_copy(
            update={
                "logged": {**point.logged, "ndcg_at_10": Estimate(mean=0.4)},
                "shown": {
                    "popularity_percentile": Estimate(mean=percentile, se=0.25),
                    "coverage": Estimate(mean=0.25),
                },
            }
        )
        for point, percentile in zip(front.points, (70.0, 75.0, 80.0, 90.0), strict=True)
    )
    return front.model_copy(update={"points": points})
