"""Measuring a front: accuracy on logged against accuracy on unbiased rows, by tradeoff."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.stats import spearmanr
from sklearn.linear_model import LogisticRegression
from tqdm import tqdm

from service.contract.manifest import Calibration, Front, FrontPoint, Metric
from training.accuracy import Sample, log_examination, logged_metrics, row_metrics
from training.config import FrontOptions
from training.data.dataset import Dataset
from training.data.split import Split
from training.data.storage import spans
from training.estimates import finite, mean_and_se, standard_error
from training.metrics import auc, hypervolume
from training.nets.base import FrontNet, with_learned
from training.shown import sample_users, shown_metrics, top_items

_CHUNK_ROWS = 65_536
_CALIBRATION_ROWS = 200_000
_SCALES = np.linspace(0.0, 2.0, 41)
UNCALIBRATED = Calibration(slope=1.0, intercept=0.0, meaning="a rank score everywhere")
_MONOTONE = 0.9  # Spearman correlation from which a front counts as monotone
_SPAN = 0.005  # of the axis, that each end must win

Rows = NDArray[np.int64]
Floats = NDArray[np.floating]


@torch.inference_mode()
def score_rows(
    net: FrontNet,
    dataset: Dataset,
    known: torch.Tensor,
    rows: Rows,
    tradeoffs: Floats,
    users: torch.Tensor | None = None,
) -> Floats:
    """Return logits (T, R) of impressions ``rows``, with proxies as of each row's time.

    ``known`` (I,) says which items keep what was learned of their id. The modules are those
    that get exported. ``users`` (users, U) stand in for the net's own user vectors.
    """
    net.eval()
    users = net.user_vectors() if users is None else users
    learned = net.learned_items()
    embedding = torch.from_numpy(dataset.embedding)
    mask = torch.from_numpy(dataset.modality_mask).float()
    impressions = dataset.impressions
    logits = np.empty((len(tradeoffs), len(rows)), np.float32)
    for start in range(0, len(rows), _CHUNK_ROWS):
        chunk = rows[start : start + _CHUNK_ROWS]
        item = torch.from_numpy(impressions.item[chunk])
        inputs = with_learned(embedding[item], mask[item], learned[item], known[item])
        state = net.item_encoder(*inputs, torch.from_numpy(impressions.proxies[chunk]))
        user = users[torch.from_numpy(impressions.user[chunk])]
        for index, w in enumerate(tradeoffs):
            tradeoff = torch.tensor([w], dtype=torch.float32)
            pairwise = net.ranker.pairwise(user, state, tradeoff)
            logits[index, start : start + len(chunk)] = pairwise.numpy()
    return logits


def calibrate(label: Floats, logit: Floats) -> Calibration:
    """Fit ``sigmoid(slope * logit + intercept)`` to logged rows at w = 1 (Platt scaling)."""
    label, logit = label[:_CALIBRATION_ROWS], logit[:_CALIBRATION_ROWS]
    meaning = "click probability at tradeoff 1 on logged traffic; a rank score elsewhere"
    fit = LogisticRegression(C=np.inf).fit(logit[:, None], label)
    slope, intercept = float(fit.coef_[0, 0]), float(fit.intercept_[0])
    if slope <= 0:  # a model worse than chance: keep its order
        return UNCALIBRATED
    return Calibration(slope=slope, intercept=intercept, meaning=meaning)


def exposure_scale(label: Floats, debiased: Floats, logged: Floats) -> float:
    """Return how much of the exposure term (logged - debiased) ranks held-out logged rows best.

    The multiple in [0, 2], in steps of .05, with the greatest AUC; 1 where there is no term.
    Popularity learned on past days tends to be worth less on later ones; with the term at its
    worth, w = 1 is where logged accuracy is best. Our reconstruction.
    """
    label, debiased = label[:_CALIBRATION_ROWS], debiased[:_CALIBRATION_ROWS]
    term = logged[:_CALIBRATION_ROWS] - debiased
    if term.std() < 1e-6:
        return 1.0
    aucs = [auc(label, debiased + scale * term) for scale in _SCALES]
    return float(_SCALES[int(np.argmax(aucs))])


def unbiased_rows(dataset: Dataset, split: Split) -> tuple[Rows, str]:
    """Return the rows of the unbiased axis and what they are.

    Uniformly exposed rows where the dataset has them; else a shift of the logged test: its rows
    whose item has at most the median training count of a test row.
    """
    if len(split.unbiased):
        return split.unbiased, dataset.description.unbiased_kind
    count = _per_item(dataset, split.train)[dataset.impressions.item[split.test]]
    return split.test[count <= np.median(count)], "popularity<=median"


def training_clicks(dataset: Dataset, split: Split) -> Floats:
    """Return the clicks (I,) of each item among the training rows."""
    return _per_item(dataset, split.train, dataset.impressions.label)


def _per_item(dataset: Dataset, rows: Rows, weight: Floats | None = None) -> Floats:
    """Return how many of ``rows`` show each item (I,), or the sums of their ``weight`` (R,)."""
    total = np.zeros(len(dataset.item_ids))
    for span in spans(len(rows)):
        chunk = rows[span]
        share = None if weight is None else weight[chunk]
        total += np.bincount(dataset.impressions.item[chunk], share, minlength=len(total))
    return total


def measure_front(
    net: FrontNet,
    dataset: Dataset,
    known: torch.Tensor,
    split: Split,
    calibration: Calibration,
    options: FrontOptions,
    seed: int,
) -> Front:
    """Measure both axes and what is shown, at evenly spaced tradeoffs.

    Errors are by bootstrap over users; the metrics are those of ``FrontPoint``.
    """
    tradeoffs = np.linspace(0, 1, options.points)
    unbiased, kind = unbiased_rows(dataset, split)
    rng = np.random.default_rng(seed)
    tables: list[list[dict[str, Metric]]] = []
    replicates: list[Floats] = []
    for axis, rows in (("logged", split.test), ("unbiased", unbiased)):
        logits = score_rows(net, dataset, known, rows, tradeoffs)  # (T, R)
        sample = Sample.draw(dataset, rows, options.bootstrap, rng)
        log_theta = log_examination(net, dataset, rows)
        tables.append([])
        aucs = []
        for logit in tqdm(logits, desc=f"measure {axis}", leave=False):
            table, draws = row_metrics(sample, logit, calibration)
            if axis == "logged":
                table |= logged_metrics(sample, logit, calibration, log_theta)
            tables[-1].append(table)
            aucs.append(draws)
        replicates.append(np.stack(aucs, axis=1))  # (B, T)
    users = sample_users(dataset.impressions.user[split.test], len(dataset.item_ids))
    top = top_items(net, dataset, known, users, tradeoffs)  # (T, U, K)
    clicks = training_clicks(dataset, split)
    points = tuple(
        FrontPoint(tradeoff=float(w), logged=logged, unbiased=random, shown=shown)
        for w, logged, random, shown in zip(
            tradeoffs, *tables, [shown_metrics(lists, clicks) for lists in top], strict=True
        )
    )
    return one_front(
        points,
        replicates,
        axis="auc",
        options=options,
        unbiased_kind=kind,
        diagnostic=diagnose(dataset, split.test, unbiased),
        seed=seed,
        dataset=dataset,
    )


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

    ``replicates`` (B, T) of its logged, then its unbiased values are paired: a redraw of the users
    at every tradeoff.
    """
    center = _curve(points, "logged", axis), _curve(points, "unbiased", axis)
    return _front(
        points,
        center,
        axis=axis,
        gain_se=_gains(*replicates).std(axis=0, ddof=1),
        hypervolume=Metric(
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
    """Pool one front a seed: means and standard errors over seeds, and the verdict of them all."""
    first = fronts[0]
    curves = [
        np.array([_curve(front.points, axis, first.axis) for front in fronts])
        for axis in ("logged", "unbiased")
    ]  # (S, T) each
    points = tuple(
        FrontPoint(
            tradeoff=first.points[t].tradeoff,
            logged=_over_seeds([front.points[t].logged for front in fronts]),
            unbiased=_over_seeds([front.points[t].unbiased for front in fronts]),
            shown=_over_seeds([front.points[t].shown for front in fronts]),
        )
        for t in range(len(first.points))
    )
    return _front(
        points,
        (curves[0].mean(axis=0), curves[1].mean(axis=0)),
        axis=first.axis,
        gain_se=standard_error(_gains(*curves)),
        hypervolume=mean_and_se(_hypervolumes(curves, options.reference)),
        options=options,
        unbiased_kind=first.unbiased_kind,
        diagnostic=first.diagnostic,
        se_kind="over seeds",
        seeds=tuple(seed for front in fronts for seed in front.seeds),
        dataset=first.dataset,
    )


def diagnose(dataset: Dataset, logged: Rows, unbiased: Rows) -> str:
    """Say whether each proxy tells clicks apart differently on the two axes.

    A front needs that: where a proxy ranks clicks equally well on both, leaving it out or in
    moves both axes together.
    """
    impressions = dataset.impressions
    lines = []
    for index, proxy in enumerate(dataset.proxy_fields):
        score: Floats = impressions.proxies[:, index]
        if proxy.kind == "categorical":  # a category scores as its click rate on logged rows
            code = np.nan_to_num(score, nan=len(proxy.categories)).astype(np.int64)
            clicks = np.bincount(code[logged], impressions.label[logged], len(proxy.categories) + 1)
            count = np.bincount(code[logged], minlength=len(proxy.categories) + 1)
            score = (clicks / np.maximum(count, 1))[code]
        aucs = []
        for rows in (logged, unbiased):
            rows = rows[~np.isnan(score[rows])]  # that have the proxy
            aucs.append(auc(impressions.label[rows], score[rows]) if len(rows) else float("nan"))
        lines.append(f"{proxy.name} alone: AUC {aucs[0]:.3f} logged, {aucs[1]:.3f} unbiased")
    return "; ".join(lines) or "the dataset has no proxies, so nothing separates the two heads"


def _front(
    points: tuple[FrontPoint, ...],
    center: tuple[Floats, Floats],
    *,
    axis: str,
    gain_se: Floats,
    hypervolume: Metric,
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
            side: Metric(mean=float(mean), se=finite(se))
            for side, mean, se in zip(("logged", "unbiased"), gain, gain_se, strict=True)
        },
        verdict=verdict(gain, gain_se, spearman),
        diagnostic=diagnostic,
        se_kind=se_kind,
        seeds=seeds,
        dataset=dataset,
    )


def verdict(
    gain: Floats, gain_se: Floats, spearman: dict[str, float]
) -> Literal["clear", "weak", "none"]:
    """Judge a front by its gains (logged, unbiased), their standard errors and monotonicity.

    none: a gain is within 2 standard errors of nothing. clear: both gains are at least .005
    and the front is monotone (|Spearman| >= .9 on both axes). weak: the rest.
    """
    if not (gain > 2 * gain_se).all():  # also where an error is unknown
        return "none"
    monotone = spearman["logged"] >= _MONOTONE and spearman["unbiased"] <= -_MONOTONE
    return "clear" if monotone and (gain >= _SPAN).all() else "weak"


def _curve(points: Sequence[FrontPoint], side: Literal["logged", "unbiased"], axis: str) -> Floats:
    return np.array([getattr(point, side)[axis].mean for point in points])


def _gains(logged: Floats, unbiased: Floats) -> Floats:
    """Return paired gains (B, 2) of curves (B, T): what each end wins on its own axis."""
    return np.stack([logged[:, -1] - logged[:, 0], unbiased[:, 0] - unbiased[:, -1]], axis=1)


def _hypervolumes(curves: Sequence[Floats], reference: tuple[float, float]) -> Floats:
    """Return hypervolumes (B,) of the logged and the unbiased curves (B, T)."""
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


def _over_seeds(tables: Sequence[dict[str, Metric]]) -> dict[str, Metric]:
    """Pool tables, one a seed, of the metrics that every seed has."""
    return {
        name: mean_and_se(np.array([table[name].mean for table in tables]))
        for name in tables[0]
        if all(name in table for table in tables)
    }
