from __future__ import annotations

import numpy as np
import pytest

from service.contract.front import Estimate
from training.metrics.exposure import (
    average_popularity,
    coverage,
    percentile_rank,
    shown_metrics,
    tail_share,
)


def test_the_metrics_of_lists_by_hand() -> None:
    clicks = np.array([90.0, 10.0, 40.0, 0.0, 60.0])  # percentiles 90, 30, 50, 10, 70

    rows = np.array([99.0, 20.0, 2.0, 0.0, 3.0])

    table = shown_metrics(np.array([[0, 4], [0, 2]] * 15), clicks, rows)

    assert table["arp"].mean == 70.0  # 75 and 65
    assert table["arp"].se == pytest.approx(5 / np.sqrt(29))
    assert table["popularity_percentile"].mean == 75.0
    assert table["popularity_percentile"].se == pytest.approx(5 / np.sqrt(29))
    assert table["tail_share"] == Estimate(mean=0.5, se=0.0)
    assert table["coverage"] == Estimate(mean=3 / 5)
    # Places 0, 0, 1, 1, 2, all times 15: (1 * 0 + 2 * 0 ...), weights -4, -2, 0, 2, 4 over 5 * 4.
    assert table["exposure_gini"].mean == pytest.approx((2 * 1 + 4 * 2) / 20)
    assert table["exposure_gini"].se is None
    assert table["rare_share"].mean == 0.25  # item 2 has fewer than 3 training rows, item 4 has 3
    assert table["rare_items"] == Estimate(mean=1.0)  # item 3 is not shown


def test_lists_of_too_few_users_have_no_error() -> None:
    counts = np.arange(5.0)
    table = shown_metrics(np.array([[0, 4], [0, 2]] * 14 + [[0, 4]]), counts, counts)

    assert [estimate.se for estimate in table.values()] == [None] * 7


def test_percentile_rank_by_hand() -> None:
    assert percentile_rank(np.array([30.0, 10.0, 20.0, 20.0])).tolist() == [87.5, 12.5, 50.0, 50.0]


def test_popularity_tail_and_coverage_by_hand() -> None:
    popularity = np.array([100.0, 5.0, 40.0, 0.0, 7.0])
    shown = np.array([[0, 2], [0, 4], [4, 2]])

    assert average_popularity(shown, popularity).tolist() == [70.0, 53.5, 23.5]
    # Percentile ranks are 90, 30, 70, 10, 50: the tail is all but item 0.
    assert tail_share(shown, popularity).tolist() == [0.5, 0.5, 1.0]
    assert coverage(shown, 5) == 3 / 5


def test_items_of_one_popularity_are_in_the_tail_together() -> None:
    popularity = np.array([0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 3.0, 3.0, 3.0])

    # Seven zeros rank 35 on average, the others 85.
    assert tail_share(np.arange(10)[:, None], popularity).tolist() == [1.0] * 7 + [0.0] * 3
