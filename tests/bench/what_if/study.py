"""Coverage, bias and promises of the estimators, over simulated logs whose truth is known."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator

import numpy as np
from scipy.stats import norm

from tests.simulated_rankings import GRID, DrawnLog, Feed, ranked_again
from training.evaluation.off_policy.advice import TAIL_SHARE, Candidate, order_of
from training.evaluation.off_policy.estimators import (
    Estimated,
    Shown,
    doubly_robust,
    fitted_scores,
    per_place_ips,
    per_place_snips,
    whole_ranking,
)
from training.evaluation.off_policy.from_slots import estimators

Row = tuple[str, float, float, float, float]  # name, bias, spread, error, coverage

_ARMS = {"no mail": (0.106, 0.0057), "men's": (0.183, 0.0125), "women's": (0.151, 0.0088)}
_SURE = float(norm.ppf(1 - 0.05 / 4))  # of two pairs of neighbours
_SPEND = (4.6, 0.6)  # of the logarithm, of those who buy


def tradeoffs(logs: int, users: int, visits: int) -> Iterator[Row]:
    """Yield each estimator's figures for every tradeoff, from randomised tradeoffs."""
    feed = Feed()
    truth = {w: feed.truth(w) for w in GRID}
    seen = defaultdict[str, list[Estimated]](list)
    for seed in range(logs):
        log = feed.drawn_log(np.random.default_rng(seed), users, visits)
        for t, w in enumerate(GRID):
            for name, estimated in _estimates(log, t).items():
                seen[f"w = {w:g}, {name}"].append(estimated)
    for name, values in seen.items():
        yield _row(name, values, truth[float(name.split(",")[0][4:])])


def slots(logs: int, users: int, visits: int) -> Iterator[Row]:
    """Yield each estimator's figures for every tradeoff, ranked again from uniform slots."""
    feed = Feed()
    seen = defaultdict[str, list[Estimated]](list)
    for seed in range(logs):
        drawn, taste, item = feed.slot_log(np.random.default_rng(seed), users, visits)
        for w in GRID:
            for name, estimated in estimators(drawn, ranked_again(feed, taste, item, w)).items():
                seen[f"w = {w:g}, {name}"].append(estimated)
    truth = {w: feed.truth(w) for w in GRID}
    for name, values in seen.items():
        yield _row(name, values, truth[float(name.split(",")[0][4:])])


def arms(logs: int, customers: int) -> Iterator[Row]:
    """Yield figures for randomised arms like those of Hillstrom's e-mails: visits and spend."""
    visits, buys = np.array(list(_ARMS.values())).T
    spend = buys * np.exp(_SPEND[0] + _SPEND[1] ** 2 / 2)
    seen = defaultdict[str, list[Estimated]](list)
    for seed in range(logs):
        rng = np.random.default_rng(seed)
        arm = rng.integers(3, size=customers)
        bought = rng.random(customers) < buys[arm]
        outcomes = {
            "visits": (rng.random(customers) < visits[arm]).astype(np.float64),
            "spend": bought * np.exp(rng.normal(*_SPEND, size=customers)),
        }
        column = np.full((customers, 1), 1 / 3)
        for metric, outcome in outcomes.items():
            shown = Shown(
                outcome[:, None], column, np.ones_like(column, np.bool_), np.arange(customers)
            )
            for number, name in enumerate(_ARMS):
                match = (arm == number)[:, None]
                seen[f"{metric}, {name}, snips"].append(per_place_snips(shown, match))
                seen[f"{metric}, {name}, ips"].append(per_place_ips(shown, match))
    for name, values in seen.items():
        metric, arm_name, _ = name.split(", ")
        truth = (visits if metric == "visits" else spend)[list(_ARMS).index(arm_name)]
        yield _row(name, values, float(truth))


def promises(pilots: int, users: int) -> Iterator[tuple[str, int, float, float]]:
    """Yield, for each pair of neighbours, the median promise, and how often it is kept.

    Each pilot log says how many decisions would tell its neighbours apart; with so many more, at
    most 40 times the pilot's, the log then does or does not: is its order right, and is it sure?
    """
    feed = Feed()
    truth = {f"w = {w:g}": feed.truth(w) for w in GRID}
    kept = defaultdict[str, list[tuple[int, bool, bool]]](list)
    for seed in range(pilots):
        pilot = feed.drawn_log(np.random.default_rng(seed), users, 1)
        for pair in order_of(candidates(pilot), "clicks", users):
            if not pair.more or pair.more > 40 * users:
                continue
            log = joined(pilot, feed.drawn_log(np.random.default_rng(10_000 + seed), pair.more, 1))
            found = candidates(log)
            names = sorted((pair.better, pair.worse), key=lambda name: -truth[name])
            better, worse = (c for name in names for c in found if c.name == name)
            difference = better.measures["clicks"].less(worse.measures["clicks"])
            z = difference.mean / difference.se if difference and difference.se else 0.0
            kept[" > ".join(names)].append((pair.more, z > 0, z > _SURE))
    for name, results in kept.items():
        more, rights, sures = np.array(results, np.float64).T
        median = int(np.median(more))
        yield f"{name} ({len(results)} pilots)", median, float(rights.mean()), float(sures.mean())


def joined(first: DrawnLog, second: DrawnLog) -> DrawnLog:
    """Return both logs as one; their users are different ones."""
    a, b = first.shown, second.shown
    shown = Shown(
        np.concatenate([a.outcome, b.outcome]),
        np.concatenate([a.propensity, b.propensity]),
        np.concatenate([a.present, b.present]),
        np.concatenate([a.cluster, b.cluster + a.cluster.max() + 1]),
    )
    arrays = (
        np.concatenate([getattr(first, name), getattr(second, name)], axis=1)
        for name in ("match", "whole", "scores")
    )
    return DrawnLog(shown, *arrays)


def candidates(log: DrawnLog) -> list[Candidate]:
    """Return the tradeoffs of a log; their tail share does not matter here."""
    return [
        Candidate(
            f"w = {w:g}",
            w,
            {
                "clicks": per_place_snips(log.shown, log.match[t]),
                TAIL_SHARE: per_place_snips(log.shown, log.match[t]),
            },
        )
        for t, w in enumerate(GRID)
    ]


def _estimates(log: DrawnLog, t: int) -> dict[str, Estimated]:
    match = log.match[t]
    fitted = fitted_scores(log.shown, match, log.scores[t], log.scores[t])
    return {
        "snips": per_place_snips(log.shown, match),
        "ips": per_place_ips(log.shown, match),
        "dr": doubly_robust(log.shown, match, fitted),
        "whole_ranking": whole_ranking(log.shown, log.whole[t]),
    }


def _row(name: str, estimates: list[Estimated], truth: float) -> Row:
    """Return the relative bias, the spread and mean error over logs, and the coverage of 95 %."""
    values = np.array([estimated.value for estimated in estimates])
    errors = np.array([(e.estimate.se if e.estimate else None) or np.nan for e in estimates])
    inside = np.abs(values - truth) < 1.96 * errors
    return (
        name,
        float(values.mean() / truth - 1),
        float(values.std() / truth),
        float(np.nanmean(errors) / truth),
        float(inside[~np.isnan(errors)].mean()),
    )
