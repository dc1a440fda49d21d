"""``evaluate --probes --cold``: measured over seeds, kept, and printed."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

import training.evaluation.probes
import training.evaluation.segments
from tests.conftest import World
from tests.e2e.conftest import training as run_training
from training.arrays import Rows
from training.evaluation.probes import measure_probes
from training.evaluation.report.schema import Report, Segment
from training.evaluation.segments import measure_cold


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("runs")


def test_every_row_is_warm_or_cold(world: World, runs: Path) -> None:
    measured = measure_cold(world.dataset, world.config, 1, runs, 0.2)
    parts: dict[tuple[str, str], Segment] = {(part.axis, part.who): part for part in measured}

    split = world.trained.split
    for axis, rows in (("logged", split.test), ("unbiased", split.unbiased)):
        warm, cold = parts[axis, "warm items"], parts[axis, "cold items"]
        assert warm.rows + cold.rows == len(rows)
        assert warm.clicks + cold.clicks == world.dataset.impressions.label[rows].sum()
        assert warm.items == len(np.unique(seen(world, rows)))
        assert cold.auc["click rate"].mean == 0.5  # no item has one of its own
        assert (axis, "new users") not in parts
        same, history, nothing = (
            parts[axis, f"hidden users: {how}"]
            for how in ("trained on", "by history", "by nothing")
        )
        counts = [(p.rows, p.clicks, p.users, p.items) for p in (same, history, nothing)]
        assert counts[0] == counts[1] == counts[2]
        assert same.users == round(0.2 * 62)
        assert same.auc["click rate"] == nothing.auc["click rate"]
        assert same.auc["w = 1"] != history.auc["w = 1"] != nothing.auc["w = 1"]


def seen(world: World, rows: Rows) -> Rows:
    items = world.dataset.impressions.item[rows]
    known: NDArray[np.bool_] = world.trained.known.numpy()
    return items[known[items]]


def test_nothing_is_trained_twice(
    world: World, runs: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    cold = measure_cold(world.dataset, world.config, 1, runs, 0.2)
    probes = measure_probes(world.dataset, world.config, 1, runs)

    def refuse(*_: object) -> None:
        raise AssertionError("trained again")

    monkeypatch.setattr(training.evaluation.segments, "train_net", refuse)
    monkeypatch.setattr(training.evaluation.probes, "train_net", refuse)
    assert measure_cold(world.dataset, world.config, 1, runs, 0.2) == cold
    assert measure_probes(world.dataset, world.config, 1, runs) == probes


def test_no_hidden_users_on_request(world: World, runs: Path) -> None:
    parts = measure_cold(world.dataset, world.config, 1, runs, 0.0)

    assert not [part for part in parts if part.who.startswith("hidden")]
    assert all(isinstance(part, Segment) for part in parts)


def test_the_command_prints_and_keeps_them(world: World, tmp_path: Path) -> None:
    printed = run_training(
        "evaluate", "quick", "--data", str(world.dataset.path), "--seeds", "2", "--set",
        "train.epochs=1", "--set", "front.bootstrap=20", "--probes", "--cold", cwd=tmp_path,
    )  # fmt: skip

    report = Report.model_validate_json(
        (tmp_path / "results" / world.dataset.description.name / "quick.json").read_bytes()
    )
    first = report.points[0]
    assert "shown arp" in printed
    assert 0 < first.shown["popularity_percentile"].mean < 100
    assert first.logged["auc_with_position"].mean > first.logged["auc"].mean
    assert {probe.proxy for probe in report.purification} == {"popularity", "age_days"}
    assert "| popularity | R2 of its rank | " in printed
    assert "| unbiased | hidden users: by history | " in printed
    assert {part.axis for part in report.cold} == {"logged", "unbiased"}
