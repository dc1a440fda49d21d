"""Warnings about a valid dataset that is hardly what its owner meant."""

from __future__ import annotations

import logging
from pathlib import Path

import numpy as np
from scipy.stats import mannwhitneyu

from training.arrays import Floats, Rows
from training.data.impressions import Impressions
from training.data.schema import Description

_SAMPLE = 100_000  # rows, evenly spaced: enough for any leak or mixture that changes a result
_LEAST_ROWS = 30  # of each label: fewer may be separated by chance
_LEAK = 0.99  # AUC from which, or from 1 minus which, a proxy repeats the label
# Seconds since 1970 are above the first number from 1973 on; milliseconds are 1,000 times as many,
# and no log spans a factor of the second.
UNIX_TIME, _JUMP = 1e8, 100.0

log = logging.getLogger(__name__)


def warn_of_implausible(path: Path, description: Description, impressions: Impressions) -> None:
    """Log each sentence of ``implausible``; ``path`` is the file of the impressions."""
    for sentence in implausible(description, impressions):
        log.warning("%s: %s", path, sentence)


def implausible(description: Description, impressions: Impressions) -> list[str]:
    """Return a sentence for each proxy that repeats the label, and one where times mix units.

    Only a sample of the rows is looked at.
    """
    sentences = []
    rows = sample_rows(impressions)
    label, proxies = impressions.label[rows], impressions.proxies[rows]
    for proxy, value in zip(description.proxies, proxies.T, strict=True):
        auc = sampled_auc(label, value)
        if auc is not None and max(auc, 1 - auc) >= _LEAK:
            sentences.append(
                f"the proxy {proxy.name!r} ranks the labels of its own rows with AUC {auc:.3f}; "
                "a proxy must not contain the row's own outcome"
            )
    times = np.unique(impressions.timestamp[rows])
    times = times[times >= UNIX_TIME]
    jumps = np.flatnonzero(times[1:] > _JUMP * times[:-1])
    if len(jumps):
        before, after = times[jumps[0]], times[jumps[0] + 1]
        sentences.append(
            f"column 'timestamp': no time is between {before:.0f} and {after:.0f}; are seconds "
            "and milliseconds mixed?"
        )
    return sentences


def sample_rows(impressions: Impressions) -> Rows:
    """Return up to 100,000 evenly spaced rows, ascending."""
    return np.linspace(0, len(impressions) - 1, min(len(impressions), _SAMPLE)).astype(np.int64)


def sampled_auc(label: Floats, value: Floats) -> float | None:
    """Return the AUC of known values (R,); None for too few rows of a label."""
    known = ~np.isnan(value)
    clicks, skips = value[known & (label > 0)], value[known & (label == 0)]
    if min(len(clicks), len(skips)) < _LEAST_ROWS:
        return None
    wins = mannwhitneyu(clicks, skips, method="asymptotic").statistic
    return float(wins / (len(clicks) * len(skips)))
