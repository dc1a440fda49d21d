"""Studies without the command line, on tiny data."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from tests.datasets import make_clicks, make_dataset
from training.config import load_config
from training.data.dataset import Dataset
from training.evaluation.report.schema import RankingReport, Report
from training.evaluation.study import StudyOptions, run
from training.fitting import train_net
from training.fitting.runs import RunStore

TINY = ("train.epochs=1", "front.points=3", "front.bootstrap=20", "net.dim=4")
TINY_PAINVRL = (*TINY, "net.mask_steps=2", "net.rounds=1")


@pytest.fixture
def dataset() -> Dataset:
    """1,200 impressions of 80 items: probes need 50."""
    return make_dataset(1200, users=30, items=80)


@pytest.fixture
def runs(tmp_path: Path) -> RunStore:
    return RunStore(tmp_path)


def test_a_study_has_the_parts_that_it_is_asked_for(dataset: Dataset, runs: RunStore) -> None:
    config = load_config("cp2rec", overrides=(*TINY, "seed=3"))
    options = StudyOptions(
        seeds=2, baselines="plain,penalty", probes=True, cold=True, cold_users=0.2
    )

    report = run(dataset, config, options, runs)

    assert isinstance(report, Report)
    assert (report.dataset, report.seeds, report.axis) == ("toy", (3, 4), "auc")
    assert [point.tradeoff for point in report.points] == [0.0, 0.5, 1.0]
    assert {name: curve.tradeoffs for name, curve in report.baselines.items()} == {
        "plain": (1.0,),
        "penalty": pytest.approx(np.linspace(0, 1, 11)),
    }
    assert {probe.proxy for probe in report.purification} == {"popularity", "age", "style"}
    assert all(probe.unpurified is not None for probe in report.purification)
    assert {(s.side, s.name) for s in report.segments} >= {
        ("logged", "warm items"),
        ("unbiased", "hidden users: by history"),
    }
    assert report.mask is None


def test_a_study_of_the_front_alone_has_no_further_parts(dataset: Dataset, runs: RunStore) -> None:
    report = run(dataset, load_config("cp2rec", overrides=TINY), StudyOptions(seeds=1), runs)
    assert report.data is not None
    assert report.data.rows == len(dataset.impressions)

    assert isinstance(report, Report)
    assert (report.baselines, report.purification, report.segments) == ({}, (), ())
    assert report.mask is None


def test_a_finished_study_is_read_and_not_trained_again(
    dataset: Dataset, runs: RunStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = load_config("cp2rec", overrides=TINY)
    options = StudyOptions(seeds=1, baselines="plain", probes=True, cold=True, cold_users=0.2)
    first = run(dataset, config, options, runs)

    def refuse(*_: object, **__: object) -> None:
        raise AssertionError("trained again")

    monkeypatch.setattr(train_net, "split_rows", refuse)  # by every training, first of all
    assert run(dataset, config, options, runs) == first
    with pytest.raises(AssertionError, match="trained again"):
        run(dataset, config, StudyOptions(seeds=2), runs)


def test_painvrl_is_studied_on_skips_too(dataset: Dataset, runs: RunStore) -> None:
    config = load_config("painvrl", overrides=TINY_PAINVRL)
    options = StudyOptions(
        seeds=1, baselines="plain", probes=True, cold=True, cold_users=0.2, mask=True
    )

    report = run(dataset, config, options, runs)

    assert isinstance(report, Report)
    assert report.axis == "auc"
    assert list(report.baselines) == ["plain"]  # on the tower of cp2rec
    assert report.purification
    assert all(probe.unpurified is None for probe in report.purification)
    assert report.segments
    assert report.mask is not None
    assert set(report.mask.open) == {"visual", "text"}


def test_clicks_alone_are_studied_with_rankers_and_ablations(runs: RunStore) -> None:
    config = load_config("painvrl", overrides=TINY_PAINVRL)
    options = StudyOptions(seeds=1, baselines="popularity,unmasked,unmasked-penalty", mask=True)

    report = run(make_clicks(), config, options, runs)

    assert isinstance(report, Report)
    assert report.axis == "recall_at_20"
    assert {name: len(curve.points) for name, curve in report.baselines.items()} == {
        "popularity": 1,
        "unmasked": 11,
        "unmasked-penalty": 11,
    }
    assert report.baselines["unmasked-penalty"].description == "the same less c log popularity"
    assert report.mask is not None
    assert np.isfinite(report.mask.weights).all()  # of two steps


def test_clicks_alone_have_no_front_of_a_net_that_needs_skips(runs: RunStore) -> None:
    config = load_config("cp2rec", overrides=("seed=2",))

    report = run(make_clicks(), config, StudyOptions(seeds=2, baselines="popularity"), runs)

    assert isinstance(report, RankingReport)
    assert (report.dataset, report.seeds) == ("toy", (2, 3))
    assert list(report.baselines) == ["popularity"]


@pytest.mark.parametrize(("users", "suffice"), [(12, False), (60, True)])
def test_errors_over_seeds_need_users_too(users: int, suffice: bool, runs: RunStore) -> None:
    skips, clicks = make_dataset(2400, users=users), make_clicks(2400, users=users)
    config = load_config("cp2rec", overrides=TINY)

    of_skips = run(skips, config, StudyOptions(seeds=2, baselines="plain"), runs)
    of_clicks = run(clicks, config, StudyOptions(seeds=2, baselines="popularity"), runs)

    assert isinstance(of_skips, Report)
    for curve in (of_skips.baselines["plain"], of_clicks.baselines["popularity"]):
        errors = [e.se for e in (*curve.logged, *curve.unbiased, curve.hypervolume)]
        assert [error is not None for error in errors] == [suffice] * 3
    assert (of_skips.points[0].logged["auc"].se is not None) == suffice
