"""Causal statistics of items, expressed once for every engine that Narwhals drives.

A row's statistics count logged rows of earlier clock values alone: of earlier days, for a clock of
days. Rows with exposure ``uniform`` never count.
"""

from __future__ import annotations

from typing import Any

import narwhals as nw

from service.contract.manifest import Proxy

POPULARITY, POSITIVE_RATE = "popularity", "positive_rate"
STATISTICS = (Proxy(name=POPULARITY), Proxy(name=POSITIVE_RATE))

Frame = nw.LazyFrame[Any]


def statistics_before(rows: Frame, clock: str, prior_rows: int = 0) -> Frame:
    """Return the ``STATISTICS`` of each item_id before each of its values of ``clock``.

    ``rows`` has item_id, label (0 or 1), exposure and ``clock``, a day or another time. popularity:
    number of the item's earlier logged rows; positive_rate: the share of label 1 among them (the
    CTR), shrunk as if ``prior_rows`` more had the share of all items so far; null if there are
    none. Both are null up to the first logged clock, because nothing was recorded before it.
    """
    so_far = _so_far(rows, clock, prior_rows)
    first = rows.filter(nw.col("exposure") == "logged").select(first=nw.col(clock).min())
    earlier = [
        nw.col(name).shift(1).over("item_id", order_by=clock)
        for name in (POPULARITY, POSITIVE_RATE)
    ]
    recorded = nw.col(clock) > nw.col("first")
    return (
        so_far.with_columns(*earlier)
        .join(first, how="cross")
        .select(
            "item_id",
            clock,
            nw.when(recorded).then(nw.col(POPULARITY).fill_null(0)).alias(POPULARITY),
            POSITIVE_RATE,
        )
    )


def statistics_at_end(rows: Frame, clock: str, prior_rows: int = 0) -> Frame:
    """Return the ``STATISTICS`` of each item_id after its last row; see ``statistics_before``."""
    so_far = _so_far(rows, clock, prior_rows)
    last = nw.col(clock) == nw.col(clock).max().over("item_id")
    return so_far.filter(last).select("item_id", POPULARITY, POSITIVE_RATE)


def _so_far(rows: Frame, clock: str, prior_rows: int) -> Frame:
    """Return item_id, ``clock`` and the item's statistics up to and including that clock."""
    logged = (nw.col("exposure") == "logged").cast(nw.Int64)
    counted = rows.select("item_id", clock, rows=logged, positives=logged * nw.col("label"))
    sums = nw.col("rows", "positives").sum()
    totals = nw.col("rows", "positives").cum_sum()
    table = counted.group_by("item_id", clock).agg(sums)
    items = table.with_columns(totals.over("item_id", order_by=clock))
    prior: nw.Expr | int = 0
    if prior_rows:
        shares = (
            table.group_by(clock)
            .agg(sums)
            .with_columns(totals.over(order_by=clock))
            .select(clock, share=nw.col("positives") / nw.col("rows"))
        )
        items = items.join(shares, on=clock, how="left")
        prior = prior_rows * nw.col("share")
    rate = (nw.col("positives") + prior) / (nw.col("rows") + prior_rows)
    return items.select(
        "item_id",
        clock,
        nw.col("rows").alias(POPULARITY),
        nw.when(nw.col("rows") > 0).then(rate).alias(POSITIVE_RATE),
    )
