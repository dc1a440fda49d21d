"""The benchmark of warm starts runs; its figures are not asserted."""

from __future__ import annotations

import re

import pytest

from tests.bench import warm_start
from tests.conftest import World


def test_compares_a_chain_of_warm_starts_with_a_full_training(
    world: World, capsys: pytest.CaptureFixture[str]
) -> None:
    options = ("train.epochs=1", "net.exposure_weight=0", "front.bootstrap=20", "front.points=2")
    sets = [word for option in options for word in ("--set", option)]

    warm_start.main(["--data", str(world.dataset.path), "--days", "2", "--seeds", "2", *sets])

    printed, number = capsys.readouterr().out, r"\d\.\d{4}"
    for measure in ("logged AUC, w = 1", "unbiased AUC, w = 0", "hypervolume"):
        cells = rf"\| {measure} \| {number} \| {number} \| [+-]{number} ± {number} \|"
        assert re.search(rf"^{cells}$", printed, re.MULTILINE), measure
