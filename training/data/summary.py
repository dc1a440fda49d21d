"""What a dataset folder was understood to hold, and what in it looks wrong."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta

import numpy as np

from service.contract.attributes import ATTRIBUTES
from service.contract.dataset_summary import (
    Counts,
    DatasetSummary,
    ModalitySummary,
    ProxySummary,
)
from service.contract.manifest import Modality, Proxy
from training.arrays import Floats
from training.data.dataset import Dataset
from training.data.plausibility import UNIX_TIME, implausible, sample_rows, sampled_auc
from training.data.split import Split
from training.data.storage import spans

_UNITS = ("s", "ms", "us", "ns")  # each a thousandth of the one before
_LATEST = 4.2e9  # in seconds since 1970: the year 2103
_UNUSUAL = 10.0  # times the median norm, or its inverse
_MOST = 0.5  # share of the rows


def summarise(dataset: Dataset, split: Split) -> DatasetSummary:
    """Return the summary of an opened dataset and its split."""
    impressions = dataset.impressions
    rows = len(impressions)
    logged, clicks, first, last = 0, np.zeros(2), np.inf, -np.inf
    by_user, by_item = np.zeros(len(dataset.user_ids)), np.zeros(len(dataset.item_ids))
    for span in spans(rows):
        uniform = impressions.uniform[span]
        label, times = impressions.label[span], impressions.timestamp[span]
        logged += int(np.count_nonzero(~uniform))
        clicks += label[~uniform].sum(), label[uniform].sum()
        first, last = min(first, times.min()), max(last, times.max())
        by_user += np.bincount(impressions.user[span], minlength=len(by_user))
        by_item += np.bincount(impressions.item[span], minlength=len(by_item))
    timed = first < last
    by_time = "time" if timed else "random"
    return DatasetSummary(
        rows=rows,
        logged=logged,
        uniform=rows - logged,
        users=len(dataset.user_ids),
        items=len(dataset.item_ids),
        click_rate=clicks[0] / logged if logged else None,
        uniform_click_rate=clicks[1] / (rows - logged) if rows > logged else None,
        first=_date(first) if timed else None,
        last=_date(last) if timed else None,
        split_by=by_time if impressions.split is None else "column 'split'",
        splits={name: len(part) for name, part in vars(split).items()},
        proxies=tuple(_proxies(dataset)),
        modalities=tuple(_modalities(dataset)),
        user_attributes=dataset.user_attributes.shape[1],
        rows_by_user=_counts(by_user),
        rows_by_item=_counts(by_item),
        suspicious=(
            *implausible(dataset.description, impressions),
            *_concentrated("user", by_user, dataset.user_ids),
            *_concentrated("item", by_item, dataset.item_ids),
            *_unusual_norms(dataset),
            *_constant_columns(dataset),
            *(f"{column}: is not read: dataset.toml does not name it" for column in dataset.unread),
        ),
    )


def _date(time: float) -> str:
    """Return a Unix time of any unit as a date in UTC; another number as it is."""
    for power, unit in enumerate(_UNITS):
        seconds = time / 1000**power
        if UNIX_TIME <= seconds <= _LATEST:
            date = datetime(1970, 1, 1, tzinfo=UTC) + timedelta(seconds=seconds)
            return f"{date:%Y-%m-%d %H:%M} UTC (in {unit})"
    return f"{time:g}"


def _proxies(dataset: Dataset) -> Iterator[ProxySummary]:
    impressions = dataset.impressions
    rows = sample_rows(impressions)
    label = impressions.label[rows]
    for proxy, value in zip(dataset.proxy_fields, impressions.proxies[rows].T, strict=True):
        known = ~np.isnan(value)
        numeric = proxy.kind == "numeric"
        yield ProxySummary(
            name=proxy.name,
            kind=proxy.kind,
            missing=float(1 - known.mean()),
            auc=sampled_auc(label, value if numeric else _click_rates(proxy, value, label)),
            correlation=_correlation(value[known], label[known]) if numeric else None,
        )


def _click_rates(proxy: Proxy, code: Floats, label: Floats) -> Floats:
    """Return the click rate of each row's category (R,), NaN where it is unknown."""
    known = ~np.isnan(code)
    index = code[known].astype(np.int64)
    size = len(proxy.categories)
    count = np.bincount(index, minlength=size)
    rate = np.bincount(index, label[known], size) / np.maximum(count, 1)
    values = np.full(len(code), np.nan)
    values[known] = rate[index]
    return values


def _correlation(value: Floats, label: Floats) -> float | None:
    value = value.astype(np.float64)
    if not len(value) or not np.ptp(value) or not np.ptp(label):
        return None
    return float(np.corrcoef(value, label)[0, 1])


def _blocks(dataset: Dataset) -> Iterator[tuple[Modality, Floats]]:
    """Yield each modality and its rows (n, dim): those of the n items that have it."""
    start = 0
    for index, modality in enumerate(dataset.modalities):
        columns = slice(start, start + modality.dim)
        yield modality, dataset.embedding[dataset.modality_mask[:, index], columns]
        start += modality.dim


def _modalities(dataset: Dataset) -> Iterator[ModalitySummary]:
    for modality, rows in _blocks(dataset):
        norms = np.linalg.norm(rows, axis=1)
        norms = np.nan_to_num(norms)  # one beyond the range of 32-bit floats is the largest
        median, p99, most = np.quantile(norms, [0.5, 0.99, 1.0]) if len(norms) else np.zeros(3)
        yield ModalitySummary(
            name=modality.name,
            dim=modality.dim,
            missing=1 - len(rows) / len(dataset.item_ids),
            norm_median=median,
            norm_p99=p99,
            norm_max=most,
        )


def _counts(rows: Floats) -> Counts:
    least, median, p90, p99, most = np.quantile(rows, [0.0, 0.5, 0.9, 0.99, 1.0])
    return Counts(least=least, median=median, p90=p90, p99=p99, most=most)


def _concentrated(kind: str, rows: Floats, ids: list[str]) -> Iterator[str]:
    """Yield a sentence where one user or item has most rows."""
    most = int(rows.argmax())
    share = rows[most] / rows.sum()
    if share == 1:
        yield f"all rows are of one {kind}, {ids[most]!r}"
    elif share > _MOST:
        yield f"{share:.0%} of the rows are of one {kind}, {ids[most]!r}"


def _unusual_norms(dataset: Dataset) -> Iterator[str]:
    for modality, rows in _blocks(dataset):
        norms = np.linalg.norm(rows, axis=1)
        zeros = norms == 0
        if modality.name == ATTRIBUTES or zeros.all():
            continue
        median = np.median(norms[~zeros])
        of = f"of the {len(norms)} rows of the modality {modality.name!r}"
        if zeros.any():
            yield f"{zeros.sum()} {of} are zeros: leave out items that lack it"
        if small := int(np.count_nonzero(~zeros & (norms < median / _UNUSUAL))):
            yield f"{small} {of} have less than a tenth of its median norm: do they lack content?"
        if large := int(np.count_nonzero(norms > median * _UNUSUAL)):
            yield f"{large} {of} have more than ten times its median norm"


def _constant_columns(dataset: Dataset) -> Iterator[str]:
    for modality, rows in _blocks(dataset):
        constant = int(np.count_nonzero(np.ptp(rows, axis=0) == 0)) if len(rows) > 1 else 0
        if constant:
            of = f"of the {modality.dim} columns of the modality {modality.name!r}"
            yield f"{constant} {of} are constant"
    values = dataset.impressions.proxies[sample_rows(dataset.impressions)]
    for proxy, value in zip(dataset.proxy_fields, values.T, strict=True):
        known = value[~np.isnan(value)]
        if not len(known):
            yield f"the proxy {proxy.name!r} is never known"
        elif not np.ptp(known):
            yield f"the proxy {proxy.name!r} is constant"
    constant = int(np.count_nonzero(np.ptp(dataset.user_attributes, axis=0) == 0))
    if constant:
        number = dataset.user_attributes.shape[1]
        yield f"{constant} of the {number} numbers of users' attributes are constant"
