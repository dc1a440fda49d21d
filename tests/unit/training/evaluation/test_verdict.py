from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest

from tests.datasets import MakeDataset
from training.data.dataset import Dataset
from training.evaluation.verdict import diagnose, too_few_positives, verdict

ENOUGH = {"logged": 100, "unbiased": 100}


@pytest.mark.parametrize(
    ("gain", "se", "spearman", "expected"),
    [
        ((0.02, 0.03), (0.001, 0.001), (1.0, -1.0), "clear"),
        ((0.005, 0.005), (0.001, 0.001), (0.9, -0.9), "clear"),
        ((0.0049, 0.03), (0.001, 0.001), (1.0, -1.0), "weak"),
        ((0.02, 0.0049), (0.001, 0.001), (1.0, -1.0), "weak"),
        ((0.02, 0.03), (0.001, 0.001), (0.89, -1.0), "weak"),
        ((0.02, 0.03), (0.001, 0.001), (1.0, -0.89), "weak"),
        ((0.02, 0.03), (0.011, 0.001), (1.0, -1.0), "none"),
        ((0.02, 0.03), (0.001, 0.016), (1.0, -1.0), "none"),
        ((0.02, 0.03), (0.010, 0.001), (1.0, -1.0), "none"),  # exactly 2 standard errors
        ((-0.02, 0.03), (0.001, 0.001), (1.0, -1.0), "none"),
        ((0.0, 0.0), (0.0, 0.0), (0.0, 0.0), "none"),
        ((0.02, 0.03), (0.0, 0.0), (1.0, -1.0), "none"),  # nothing varied: the error is unknown
        ((0.02, 0.03), (0.001, 0.0), (1.0, -1.0), "none"),
        ((0.02, 0.03), (math.nan, math.nan), (1.0, -1.0), "none"),
        ((0.02, 0.03), (0.001, math.nan), (1.0, -1.0), "none"),
        ((math.nan, 0.03), (0.001, 0.001), (1.0, -1.0), "none"),
    ],
)
def test_verdict(
    gain: tuple[float, float],
    se: tuple[float, float],
    spearman: tuple[float, float],
    expected: str,
) -> None:
    table = dict(zip(("logged", "unbiased"), spearman, strict=True))

    assert verdict(np.array(gain), np.array(se), table, ENOUGH) == expected


def test_a_front_of_few_positives_is_not_clear() -> None:
    gain, se = np.array([0.02, 0.03]), np.array([0.001, 0.001])
    rising = {"logged": 1.0, "unbiased": -1.0}

    assert verdict(gain, se, rising, {"logged": 99, "unbiased": 100}) == "weak"
    assert verdict(gain, se, rising, {"logged": 100, "unbiased": 99}) == "weak"
    assert too_few_positives({"logged": 100, "unbiased": 99}) == (
        "; only 99 test clicks on the unbiased side, a clear front needs 100"
    )


def test_the_diagnostic_gives_each_proxy_alone_on_both_axes(make_dataset: MakeDataset) -> None:
    nan = math.nan
    label = np.array([1, 0, 1, 0, 1, 0, 1, 0], np.float32)
    proxies = np.array(
        [  # popularity ranks logged clicks first, unbiased ones last; age is known of one row
            [9, nan, 0], [2, nan, 1], [8, 1, 0], [nan, nan, 0],
            [1, nan, 0], [5, nan, nan], [2, nan, 1], [6, nan, nan],
        ],
        np.float32,
    )  # fmt: skip
    dataset = make_dataset(8, label=label, proxies=proxies)

    # Click rates on logged rows: style 0 two of 3, style 1 none of 1, unknown none of 0.
    # Unbiased clicks have rates 2/3 and 0, skips 0 and 0: 3 of 4 pairs with ties as halves.
    assert diagnose(dataset, np.arange(4), np.arange(4, 8)).endswith(
        "; popularity alone: AUC 1.000 logged, 0.000 unbiased; "
        "age alone: AUC nan logged, nan unbiased; "
        "style alone: AUC 0.750 logged, 0.750 unbiased"
    )


def test_without_proxies_nothing_separates_the_heads(dataset: Dataset) -> None:
    description = dataset.description.model_copy(update={"proxies": ()})

    text = diagnose(replace(dataset, description=description), np.arange(5), np.arange(5))

    assert "; the dataset has no proxies" in text


def test_the_diagnostic_names_a_side_with_too_few_users(make_dataset: MakeDataset) -> None:
    user = np.arange(240) % 60
    label = (user < 29).astype(np.float32)
    dataset = make_dataset(users=60, user=user, label=label)

    few = diagnose(dataset, np.arange(60), np.arange(180))
    enough = diagnose(make_dataset(users=60, user=user, label=1 - label), *[np.arange(60)] * 2)

    assert few.startswith(
        "only 29 users with a click on the logged side, 30 are needed: the error is unknown; "
        "only 29 users with a click on the unbiased side, 30 are needed: the error is unknown; "
        "popularity alone"
    )
    assert "only 29 users with a skip on the logged side" in enough
    assert "with a click" not in enough
