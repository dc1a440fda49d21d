"""Baselines: measured on the same rows, sharing equal trainings, done once."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

import training.evaluation.baselines.reranking
from tests.conftest import World
from training.evaluation.baselines.reranking import BASELINES, measure_baseline
from training.evaluation.report.schema import Curve
from training.evaluation.report.tables import baseline_table
from training.fitting.runs import RunStore
from training.nets.cp2rec.rivals import RivalOptions

Measure = Callable[[str], Curve]


@pytest.fixture(scope="module")
def measure(world: World, tmp_path_factory: pytest.TempPathFactory) -> Measure:
    runs = RunStore(tmp_path_factory.mktemp("runs"))
    return lambda name: measure_baseline(name, world.dataset, world.config, 1, runs)


def test_curves_end_where_the_points_are(measure: Measure) -> None:
    plain, ips = measure("plain"), measure("ips")
    assert (plain.tradeoffs, ips.tradeoffs) == ((1.0,), (0.0,))
    for curve in (measure("backdoor"), measure("penalty")):
        assert curve.tradeoffs[-1] == 1.0
        assert curve.logged[-1].mean == pytest.approx(plain.logged[0].mean, abs=1e-6)
        assert curve.unbiased[-1].mean == pytest.approx(plain.unbiased[0].mean, abs=1e-6)
        assert curve.logged[0].mean != pytest.approx(plain.logged[0].mean, abs=1e-3)
    mix = measure("two-head")
    assert mix.logged[0].mean == pytest.approx(ips.logged[0].mean, abs=1e-6)
    assert mix.unbiased[0].mean == pytest.approx(ips.unbiased[0].mean, abs=1e-6)


def test_plain_is_a_training_of_its_own(measure: Measure, world: World) -> None:
    """Not the net of the front: it learns from clicks alone, without the loss of exposure."""
    end = world.artifact.manifest.front.points[-1]
    assert measure("plain").logged[0].mean != pytest.approx(end.logged["auc"].mean, abs=1e-6)


def test_single_trains_a_model_for_each_tradeoff(world: World, tmp_path: Path) -> None:
    train = world.config.train.model_copy(update={"epochs": 1, "evaluations": 1})
    config = world.config.model_copy(update={"train": train})  # eleven trainings: short ones
    single = measure_baseline("single", world.dataset, config, 1, RunStore(tmp_path))
    assert single.tradeoffs == pytest.approx(np.linspace(0, 1, 11))
    assert len({point.mean for point in single.logged}) == 11


def test_published_baselines_run_on_the_published_net(measure: Measure, world: World) -> None:
    configs = {
        name: training.evaluation.baselines.reranking._config(
            BASELINES[name], BASELINES[name].trainings[0], world.config
        )
        for name in ("dcn-two-head", "two-head", "plain")
    }
    assert {name: config.net.architecture for name, config in configs.items()} == {
        "dcn-two-head": "dcn",
        "two-head": "rival",
        "plain": "decomposed",
    }
    assert isinstance(configs["two-head"].net, RivalOptions)
    assert configs["two-head"].net.tower == world.config.net
    plain = replace(configs["two-head"].net.tower, exposure_weight=0.0, orthogonality_weight=0.0)
    assert configs["plain"].net == plain
    assert len(measure("dcn-two-head").logged) == 11


def test_a_blind_baseline_has_no_proxies(measure: Measure, world: World) -> None:
    blind = training.evaluation.baselines.reranking._without_proxies(world.dataset)
    assert np.isnan(blind.impressions.proxies).all()
    assert not np.isnan(world.dataset.impressions.proxies).all()
    assert blind.fingerprint != world.dataset.fingerprint
    assert measure("no-proxy").logged != measure("plain").logged


def test_nothing_is_trained_twice(measure: Measure, monkeypatch: pytest.MonkeyPatch) -> None:
    first = measure("plain")

    def refuse(*_: object) -> None:
        raise AssertionError("trained again")

    monkeypatch.setattr(training.evaluation.baselines.reranking, "train_net", refuse)
    assert measure("plain") == first
    assert first.hypervolume.se is None  # one seed has no error


def test_the_table_shows_points_and_curves(measure: Measure, world: World) -> None:
    curves = {name: measure(name) for name in ("plain", "backdoor")}
    _, _, front, plain, backdoor = baseline_table(world.artifact.manifest.front, curves).split("\n")
    assert front.startswith("| **front** | this model | ")
    logged = f"{curves['plain'].logged[0].mean:.4f}"
    assert plain.split(" | ")[2:4] == ["", logged]
    assert backdoor.split(" | ")[3] == logged
