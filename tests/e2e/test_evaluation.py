"""``evaluate --probes --cold``: segments of a trained model, and the command that prints them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from typer.testing import CliRunner

from tests.conftest import World
from training.arrays import Rows
from training.cli.app import app
from training.evaluation.report.schema import Report, Segment
from training.evaluation.segments import measure_segments
from training.fitting.runs import RunStore


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> RunStore:
    return RunStore(tmp_path_factory.mktemp("runs"))


def test_every_row_is_warm_or_cold(world: World, runs: RunStore) -> None:
    measured = measure_segments(world.dataset, world.config, 1, runs, 0.2)
    segments: dict[tuple[str, str], Segment] = {(each.side, each.name): each for each in measured}

    split = world.fitted.split
    for side, rows in (("logged", split.test), ("unbiased", split.unbiased)):
        warm, cold = segments[side, "warm items"], segments[side, "cold items"]
        assert warm.rows + cold.rows == len(rows)
        assert warm.clicks + cold.clicks == world.dataset.impressions.label[rows].sum()
        assert warm.items == len(np.unique(warm_items(world, rows)))
        assert cold.auc["click rate"].mean == 0.5  # no item has one of its own
        assert (side, "new users") not in segments
        trained, history, nothing = (
            segments[side, f"hidden users: {how}"]
            for how in ("trained on", "by history", "by nothing")
        )
        counts = [(s.rows, s.clicks, s.users, s.items) for s in (trained, history, nothing)]
        assert counts[0] == counts[1] == counts[2]
        assert trained.users == round(0.2 * 62)
        assert trained.auc["click rate"] == nothing.auc["click rate"]
        assert trained.auc["w = 1"] != history.auc["w = 1"] != nothing.auc["w = 1"]


def warm_items(world: World, rows: Rows) -> Rows:
    items = world.dataset.impressions.item[rows]
    warm: NDArray[np.bool_] = world.fitted.warm.numpy()
    return items[warm[items]]


def test_no_hidden_users_on_request(world: World, runs: RunStore) -> None:
    segments = measure_segments(world.dataset, world.config, 1, runs, 0.0)

    assert segments
    assert not [segment for segment in segments if segment.name.startswith("hidden")]


def test_the_command_prints_and_writes_them(world: World, tmp_path: Path) -> None:
    folders = ("--build", str(tmp_path / "build"), "--results", str(tmp_path / "results"))
    settings = ("train.epochs=1", "net.exposure_weight=1", "front.bootstrap=20")
    options = ["--data", str(world.dataset.path), "--seeds", "1", "--probes", "--cold"]
    options += [word for setting in settings for word in ("--set", setting)]
    done = CliRunner().invoke(app, ["evaluate", "quick", *options, *folders])

    assert done.exit_code == 0, done.output
    report = Report.model_validate_json(
        (tmp_path / "results" / world.dataset.description.name / "quick.json").read_bytes()
    )
    first = report.points[0]
    assert "shown arp" in done.output
    assert 0 < first.shown["popularity_percentile"].mean < 100
    assert first.logged["auc_with_position"].mean > first.logged["auc"].mean
    assert {probe.proxy for probe in report.purification} == {"popularity", "age_days"}
    assert "| popularity | R2 of its rank | " in done.output
    assert "| unbiased | hidden users: by history | " in done.output
    assert {segment.side for segment in report.segments} == {"logged", "unbiased"}
