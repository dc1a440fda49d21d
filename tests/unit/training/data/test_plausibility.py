from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from tests.datasets import MakeDataset
from training.data.dataset import Dataset
from training.data.plausibility import warn_of_implausible


def warnings_of(dataset: Dataset, caplog: pytest.LogCaptureFixture) -> list[str]:
    warn_of_implausible(Path("shop/log"), dataset.description, dataset.impressions)
    return [record.getMessage() for record in caplog.records if record.levelname == "WARNING"]


def test_a_plausible_dataset_has_no_warning(
    dataset: Dataset, caplog: pytest.LogCaptureFixture
) -> None:
    assert warnings_of(dataset, caplog) == []


@pytest.mark.parametrize(
    ("leak", "auc"),
    [
        (lambda label: label, "1.000"),
        (lambda label: 7 - 3 * label, "0.000"),
        (lambda label: np.where(np.arange(240) % 2, label, np.nan), "1.000"),
        (lambda label: label + np.where(np.arange(240) == 0, 1 - 2 * label, 0), "0.99"),
    ],
    ids=["equal", "falling", "half-known", "one-row-apart"],
)
def test_a_proxy_that_repeats_the_label_is_named(
    dataset: Dataset,
    caplog: pytest.LogCaptureFixture,
    leak: object,
    auc: str,
) -> None:
    proxies = dataset.impressions.proxies.copy()
    proxies[:, 1] = leak(dataset.impressions.label)  # type: ignore[operator]  # a parameter of the test

    (warning,) = warnings_of(dataset.with_proxies(proxies), caplog)

    assert warning.startswith(
        f"shop/log: the proxy 'age' ranks the labels of its own rows with AUC {auc}"
    )


def test_few_rows_may_be_separated_by_chance(
    make_dataset: MakeDataset, caplog: pytest.LogCaptureFixture
) -> None:
    label = (np.arange(240) < 29).astype(np.float32)
    dataset = make_dataset(label=label, proxies=np.repeat(label[:, None], 3, axis=1))

    assert warnings_of(dataset, caplog) == []


@pytest.mark.parametrize("other", [1e3, 1e6, 1e9], ids=["ms", "us", "ns"])
def test_mixed_units_of_time_are_named(
    make_dataset: MakeDataset, caplog: pytest.LogCaptureFixture, other: float
) -> None:
    seconds = 1.7e9 + 3600.0 * np.arange(240)
    mixed = np.where(np.arange(240) % 10 == 3, seconds * other, seconds)

    (warning,) = warnings_of(make_dataset(timestamp=mixed), caplog)

    assert warning == (
        f"shop/log: column 'timestamp': no time is between {seconds[239]:.0f} and "
        f"{seconds[3] * other:.0f}; are seconds and milliseconds mixed?"
    )


@pytest.mark.parametrize(
    "times",
    [
        np.arange(240.0),
        np.zeros(240),
        np.full(240, 1.7e12),
        np.linspace(0, 1e12, 240),  # a counter of nanoseconds, from the start
        np.linspace(1e8, 1.7e9, 240),  # seconds, from 1973 on
        np.linspace(-1e9, 1.7e9, 240),
        np.where(np.arange(240) < 120, 0.0, 1.7e9),  # some unknown
    ],
    ids=["rows", "constant", "constant-ms", "counter", "decades", "before-1970", "unknown"],
)
def test_times_of_one_unit_have_no_warning(
    make_dataset: MakeDataset, caplog: pytest.LogCaptureFixture, times: np.ndarray
) -> None:
    assert warnings_of(make_dataset(timestamp=times), caplog) == []
