"""Fronts by hand."""

from __future__ import annotations

import pytest

from service.contract.front import Front
from tests.fronts import make_front, make_front_with_shown


@pytest.fixture
def front() -> Front:
    """Return ``tests.fronts.make_front()``."""
    return make_front()


@pytest.fixture
def front_with_shown() -> Front:
    """Return ``tests.fronts.make_front_with_shown()``."""
    return make_front_with_shown()
