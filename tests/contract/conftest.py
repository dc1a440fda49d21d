"""Nets of every architecture, built once for all conformance tests."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.contract.architectures import VARIANTS, LoggedRows, Variant
from tests.short_inference import short_inference
from training.data.dataset import Dataset


@pytest.fixture(autouse=True, scope="session")
def environments_are_inferred_quickly() -> Iterator[None]:
    """Conformance does not depend on good environments."""
    with short_inference():
        yield


@pytest.fixture(scope="session")
def logged_rows(toy_dataset: Dataset) -> LoggedRows:
    """Batch the logged rows of the toy dataset."""
    return LoggedRows.of(toy_dataset)


@pytest.fixture(scope="session", params=list(VARIANTS))
def variant(request: pytest.FixtureRequest, logged_rows: LoggedRows) -> Variant:
    """Build a net; a test that changes it must change a copy."""
    return Variant.of(VARIANTS[request.param], logged_rows)
