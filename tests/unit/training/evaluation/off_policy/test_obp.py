"""The estimates of the Open Bandit Pipeline on the same data, part of it the Open Bandit sample.

``python -m tests.bench.what_if --fixture`` wrote them.
"""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from tests.bench.what_if.obp_cases import ours


def test_estimates_are_those_of_the_open_bandit_pipeline() -> None:
    document = json.loads(Path(__file__).with_name("obp.json").read_text())
    bandit, slate = (
        {name: np.array(values) for name, values in document["cases"][kind].items()}
        for kind in ("bandit", "slate")
    )
    mine = ours(bandit, slate)
    assert mine["bandit"].pop("ips_interval")
    document["obp"]["bandit"].pop("ips_interval")  # by bootstrap
    for kind, estimates in document["obp"].items():
        assert mine[kind] == pytest.approx(estimates, rel=1e-12)
