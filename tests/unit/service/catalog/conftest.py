"""Both implementations of ``service.catalog.lookup``."""

from __future__ import annotations

import pytest

from service.catalog import lookup


@pytest.fixture(params=["compiled", "numpy"])
def implementation(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """Run a test over both; the compiled one is skipped where it was not built."""
    chosen: str = request.param
    if chosen == "numpy":
        monkeypatch.setattr(lookup, "find", lookup.find_in_numpy)
        monkeypatch.setattr(lookup, "copy_rows", lookup.copy_rows_in_numpy)
    elif not lookup.COMPILED:
        pytest.skip("service/catalog/_lookup.c is not compiled: see docs/development.md")
    return chosen
