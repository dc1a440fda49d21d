"""Baselines of full ranking: chosen on validation, stored, resumed, printed by the command."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner

import training.evaluation.baselines.full_ranking
from service.contract.front import Estimate
from tests.e2e.conftest import write_clicks
from training.cli.app import app
from training.config import Config, load_config
from training.data.dataset import Dataset, open_dataset
from training.data.split import split_rows
from training.errors import ConfigError
from training.evaluation.baselines.full_ranking import (
    RANKING_BASELINES,
    TRIALS,
    Trained,
    measure_ranking_baseline,
)
from training.evaluation.baselines.neighbours import popularity, rp3beta
from training.fitting.runs import RunStore
from training.metrics.full_ranking import RankingTask, full_ranking_metrics

USERS, ITEMS, TASTES = 200, 200, 5


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Clicks alone, split by the folder: five tastes of 40 items each, some of them popular."""
    rng = np.random.default_rng(1)
    popular = np.arange(1, 41) ** -0.5
    pairs = [
        (user, 40 * (user % TASTES) + item)
        for user in range(USERS)
        for item in rng.permutation(rng.choice(40, 9, replace=False, p=popular / popular.sum()))
    ]
    image = np.zeros((ITEMS, 2), np.float32)
    return write_clicks(tmp_path_factory.mktemp("clicks") / "data", pairs, image)


@pytest.fixture(scope="module")
def clicks(folder: Path) -> Dataset:
    return open_dataset(folder)


@pytest.fixture(scope="module")
def config() -> Config:
    return load_config("cp2rec")


def task_of(dataset: Dataset) -> RankingTask:
    return RankingTask.of(dataset, split_rows(dataset, validation=0.1, test=0.1, seed=0))


def test_popularity_is_measured_on_the_test(
    clicks: Dataset, config: Config, tmp_path: Path
) -> None:
    curve = measure_ranking_baseline("popularity", clicks, config, 3, RunStore(tmp_path))
    task = task_of(clicks)
    expected = full_ranking_metrics(task, popularity(task), "test")
    means = {name: estimate.mean for name, estimate in curve.points[0].items()}
    assert means == pytest.approx({name: estimate.mean for name, estimate in expected.items()})
    assert curve.logged[0].mean == expected["recall_at_20"].mean
    assert curve.unbiased[0].mean == expected["ood_recall_at_20"].mean
    assert curve.logged[0].se is None  # nothing differs between seeds


def test_options_are_chosen_on_validation(clicks: Dataset, config: Config, tmp_path: Path) -> None:
    curve = measure_ranking_baseline("rp3beta", clicks, config, 1, RunStore(tmp_path))
    task = task_of(clicks)
    recalls = {
        tuple(options.items()): full_ranking_metrics(task, rp3beta(task, **options), "validation")
        for options in RANKING_BASELINES["rp3beta"].ranker.grid
    }
    best = max(recalls, key=lambda options: recalls[options]["recall_at_20"].mean)
    assert curve.options == dict(best)


def test_every_ranker_with_options_has_as_many_trials() -> None:
    trials = {name: len(baseline.ranker.grid) for name, baseline in RANKING_BASELINES.items()}

    assert trials.pop("popularity") == 1
    assert set(trials.values()) == {TRIALS}


@pytest.fixture
def short(monkeypatch: pytest.MonkeyPatch) -> None:
    """Make trainings few and short."""
    monkeypatch.setattr("training.fitting.by_id.EPOCHS", 40)
    monkeypatch.setattr("training.fitting.by_id.BATCH_ROWS", 100)
    for name in ("bpr-mf", "lightgcn", "ultragcn", "penalty"):
        baseline = RANKING_BASELINES[name]
        assert isinstance(baseline.ranker, Trained)
        ranker = replace(baseline.ranker, grid=baseline.ranker.grid[:1])
        monkeypatch.setitem(RANKING_BASELINES, name, replace(baseline, ranker=ranker))


@pytest.mark.usefixtures("short")
@pytest.mark.parametrize("name", ["bpr-mf", "lightgcn", "ultragcn"])
def test_trained_rankers_beat_popularity_and_resume(
    clicks: Dataset,
    config: Config,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    name: str,
) -> None:
    floor = measure_ranking_baseline("popularity", clicks, config, 1, RunStore(tmp_path))
    curve = measure_ranking_baseline(name, clicks, config, 2, RunStore(tmp_path))
    assert curve.logged[0].mean > floor.logged[0].mean + 0.05
    assert curve.logged[0].se is not None

    def refuse(*_: object, **__: object) -> None:
        raise AssertionError("trained again")

    monkeypatch.setattr(training.evaluation.baselines.full_ranking, "fit_by_id", refuse)
    assert measure_ranking_baseline(name, clicks, config, 2, RunStore(tmp_path)) == curve
    with pytest.raises(AssertionError, match="trained again"):
        measure_ranking_baseline(name, clicks, config, 3, RunStore(tmp_path))


@pytest.mark.usefixtures("short")
def test_the_penalty_ends_at_its_model(clicks: Dataset, config: Config, tmp_path: Path) -> None:
    plain = measure_ranking_baseline("lightgcn", clicks, config, 1, RunStore(tmp_path))
    curve = measure_ranking_baseline("penalty", clicks, config, 1, RunStore(tmp_path))
    assert curve.tradeoffs == pytest.approx(np.linspace(0, 1, 11))
    assert curve.points[-1] == plain.points[0]
    shown = [point["arp"].mean for point in curve.points]
    assert shown == sorted(shown)  # less popular, the more is taken off
    assert shown[0] < shown[-1]
    assert curve.hypervolume.mean >= plain.hypervolume.mean


def test_the_command_writes_table_and_plot(folder: Path, tmp_path: Path) -> None:
    options = ["--data", str(folder), "--seeds", "1", "--build", str(tmp_path / "build")]
    options += ["--results", str(tmp_path)]
    done = CliRunner().invoke(
        app, ["evaluate", "clicks", *options, "--baselines", "popularity,rp3beta"]
    )
    assert done.exit_code == 0, done.output
    report = json.loads((tmp_path / "clicks/clicks.json").read_text())
    assert list(report["baselines"]) == ["popularity", "rp3beta"]
    assert (tmp_path / "clicks/clicks.png").read_bytes().startswith(b"\x89PNG")
    recall = Estimate(**report["baselines"]["rp3beta"]["points"][0]["recall_at_20"]).mean
    assert f"| rp3beta | random walk of three steps | 1 | {recall:.4f} |" in done.output


@pytest.mark.parametrize(
    ("options", "problem"),
    [
        ([], "holds clicks alone: name rankers to measure"),
        (["--baselines", "plain"], "'plain' is not one of popularity, item-knn"),
        (["--cold"], "holds clicks alone, which have no AUC"),
    ],
)
def test_options_that_clicks_alone_cannot_have_are_refused(
    folder: Path, tmp_path: Path, options: list[str], problem: str
) -> None:
    arguments = ["evaluate", "clicks", "--data", str(folder), "--results", str(tmp_path), *options]
    done = CliRunner().invoke(app, arguments)
    assert isinstance(done.exception, ConfigError)
    assert problem in str(done.exception)
