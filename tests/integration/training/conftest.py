"""The packaged encoders, exported once for all processes of a test run."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.sharing import shared


@pytest.fixture(scope="session")
def encoder_cache(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """Let encoders be exported into one folder, by the process that needs them first."""
    folder = shared(tmp_path_factory, "encoder-cache", lambda folder: folder)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_CACHE_HOME", str(folder))
        yield folder
