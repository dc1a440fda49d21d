"""Who is shown to whom: the exposure of groups of items and users, by tradeoff."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from service.contract.attributes import Coding
from service.contract.card import Exposure, ItemExposure, UserExposure
from service.contract.front import Estimate
from training.arrays import Flags, Floats, Rows
from training.data.dataset import Dataset
from training.data.split import training_clicks, training_rows
from training.fitting.fitted_net import FittedNet, sample_users
from training.metrics.estimates import LEAST_USERS, mean_and_se
from training.metrics.exposure import average_popularity, percentile_rank, tail_share

COLD = "cold items (no training impressions)"
LACKING = "items without"  # a modality

_FEW = 5  # distinct values of a number that are groups of their own; more are four ranges
_RANGES = 4


def exposure_shares(fitted: FittedNet, tradeoffs: Floats) -> Exposure:
    """Return the exposure in the first 10 places of the catalogue, at ``tradeoffs`` (T,).

    The users are those of the front's ``shown``, so that its figures are the totals of these. The
    last tradeoff is 1, against which changes are measured.
    """
    dataset, split = fitted.dataset, fitted.split
    users = sample_users(dataset.impressions.user[split.test], len(dataset.item_ids))
    top, _ = fitted.rank_catalogue(users, tradeoffs)  # (T, U, K)
    clicks, rows = training_clicks(dataset, split), training_rows(dataset, split)
    items = tuple(
        _item_exposure(name, members, top, rows)
        for name, members in _item_groups(fitted, clicks)
        if members.any()
    )
    groups, small = [], 0
    for attribute, name, members in _user_groups(dataset):
        ranked = members[users]
        if ranked.sum() < LEAST_USERS:
            small += 1
            continue
        groups.append(_user_exposure(attribute, name, int(ranked.sum()), top[:, ranked], clicks))
    return Exposure(
        users=len(users),
        items=items,
        everyone=_user_exposure("everyone", "all ranked users", len(users), top, clicks),
        user_groups=tuple(groups),
        small_groups=small,
    )


def _item_groups(fitted: FittedNet, clicks: Floats) -> Iterator[tuple[str, Flags]]:
    """Yield the name and the members (I,) of each group of items; some may be empty.

    Items of equal clicks share a decile, and the tail is the first eight deciles: both go by the
    percentile.
    """
    decile = np.ceil(percentile_rank(clicks) / 10).astype(np.int64)  # (I,) from 1
    for place in range(1, 11):
        most = {1: " (least clicked)", 10: " (most clicked)"}.get(place, "")
        yield f"popularity decile {place}{most}", decile == place
    yield COLD, ~fitted.warm.cpu().numpy()
    dataset = fitted.dataset
    for modality, present in zip(dataset.modalities, dataset.modality_mask.T, strict=True):
        yield f"{LACKING} {modality.name}", ~present.astype(np.bool_)


def _item_exposure(name: str, members: Flags, top: Rows, rows: Floats) -> ItemExposure:
    """Return the exposure of ``members`` (I,) in lists (T, U, K) and in training rows (I,)."""
    shares = members[top].mean(axis=2)  # (T, U)
    return ItemExposure(
        group=name,
        items=int(members.sum()),
        catalogue=float(members.mean()),
        logged=float(rows[members].sum() / rows.sum()),
        shown=_estimates(shares),
        change=_estimates(shares - shares[-1]),
    )


def _user_exposure(
    attribute: str, name: str, users: int, top: Rows, clicks: Floats
) -> UserExposure:
    percentile = percentile_rank(clicks)
    return UserExposure(
        attribute=attribute,
        group=name,
        users=users,
        popularity_percentile=_estimates(
            np.stack([average_popularity(lists, percentile) for lists in top])
        ),
        tail_share=_estimates(np.stack([tail_share(lists, clicks) for lists in top])),
    )


def _estimates(values: Floats) -> tuple[Estimate, ...]:
    """Return the mean over users of values (T, U), with errors where the users suffice."""
    suffice = values.shape[1] >= LEAST_USERS
    return tuple(mean_and_se(row, users_suffice=suffice) for row in values)


def _user_groups(dataset: Dataset) -> Iterator[tuple[str, str, Flags]]:
    """Yield attribute, name and members (U,) of each group of users."""
    start = 0
    for coding in dataset.user_codings:
        values = dataset.user_attributes[:, start : start + coding.dim]
        start += coding.dim
        groups = _ranges(values[:, 0]) if coding.numeric else _categories(coding, values)
        for name, members in groups:
            yield coding.name, name, members


def _categories(coding: Coding, values: Floats) -> Iterator[tuple[str, Flags]]:
    """Yield the categories of one-hot values (U, dim), and the users of whom it is unknown."""
    names = [*coding.categories, *(["other"] if coding.other else [])]
    for name, column in zip(names, values.T, strict=True):
        yield name.strip() or "an empty text", np.asarray(column > 0)
    unknown = np.asarray(~(values > 0).any(axis=1))
    if unknown.any():
        yield "unknown", unknown


def _ranges(values: Floats) -> Iterator[tuple[str, Flags]]:
    """Yield the values of a number (U,), or four ranges of about equally many users.

    An unknown number is the mean.
    """
    distinct = np.unique(values)
    if len(distinct) <= _FEW:
        for value in distinct:
            yield f"{value:g}", np.asarray(values == value)
        return
    edges = np.unique(np.quantile(values, np.arange(1, _RANGES) / _RANGES, method="lower"))
    place = np.searchsorted(edges, values)  # (U,), 0 up to the first edge
    for index in np.unique(place):
        if index == 0:
            name = f"up to {edges[0]:g}"
        elif index == len(edges):
            name = f"above {edges[-1]:g}"
        else:
            name = f"above {edges[index - 1]:g}, up to {edges[index]:g}"
        yield name, np.asarray(place == index)
