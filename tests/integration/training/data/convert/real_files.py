"""Owners' files that this repository may not hold; tests of them are skipped without them."""

from __future__ import annotations

from pathlib import Path

import pytest

DATA = Path(__file__).parents[6] / "shared" / "data"


def needs(name: str) -> pytest.MarkDecorator:
    """Skip without the owners' files of the dataset ``name``."""
    return pytest.mark.skipif(
        not (DATA / name).is_dir(),
        reason=f"needs the {name} files of their owners in ../shared/data/{name} "
        "(relative to the repository)",
    )
