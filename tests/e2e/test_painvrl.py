"""PaInvRL by command line, on a log of clicks alone."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from tests.e2e.conftest import in_process, write_clicks
from training.config import load_config
from training.data.dataset import open_dataset
from training.errors import ConfigError
from training.evaluation.baselines.neighbours import popularity
from training.fitting.runs import RunStore
from training.fitting.train_net import train_net
from training.metrics.full_ranking import RankingTask, mean_recall

TINY = ("net.dim=8", "net.mask_steps=3", "net.rounds=1", "train.epochs=2", "front.bootstrap=20")
USERS, ITEMS = 60, 120


@pytest.fixture(scope="module")
def clicks(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two tastes of 60 items each, which the image separates; some items are far more popular."""
    rng = np.random.default_rng(1)
    popular = 1 / np.arange(1, 61)
    pairs = [
        (user, 60 * (user % 2) + item)
        for user in range(USERS)
        for item in rng.choice(60, 9, replace=False, p=popular / popular.sum())
    ]
    image = rng.normal(size=(ITEMS, 3)).astype(np.float32)
    image[60:, 0] += 3
    return write_clicks(tmp_path_factory.mktemp("clicks") / "data", pairs, image)


def test_clicks_alone_give_a_front_of_recall(
    clicks: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    settings = (*TINY, "net.environments=time")  # inferring them takes a second a training
    overrides = [word for setting in settings for word in ("--set", setting)]

    out = in_process(
        *("train", "--model", "painvrl", "--data", str(clicks), "--models", "models"),
        *overrides,
    )
    table = in_process(
        *("evaluate", "tiny", "--data", str(clicks), "--model", "painvrl", "--seeds", "2"),
        *("--mask", "--baselines", "popularity,unmasked-penalty,mask-only"),
        *overrides,
    )

    artifact = tmp_path / "models" / "painvrl" / "1"
    front = json.loads((artifact / "front.json").read_text())
    assert "<h2>The front</h2>" in (artifact / "report.html").read_text()
    assert (front["axis"], front["unbiased_kind"]) == (
        "recall_at_20",
        "less popular half of the logged test",
    )
    assert len(front["points"]) == 11
    logged = {"recall_at_20", "ndcg_at_20", "ndcg_at_20_hit", "matched_auc"}
    assert logged <= set(front["points"][0]["logged"])
    assert front["points"][0]["unbiased"].keys() == {"recall_at_20"}
    assert "added painvrl@1" in out
    report = json.loads((tmp_path / "results" / "clicks" / "tiny.json").read_text())
    assert report["seeds"] == [0, 1]
    assert 0 < report["mask"]["open"]["image"]["mean"] < 1
    assert set(report["baselines"]) == {"popularity", "unmasked-penalty", "mask-only"}
    assert "lambda*" in table


def test_a_net_that_needs_skips_refuses_clicks_alone(clicks: Path, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"decomposed needs skips too: train --model painvrl"):
        train_net(open_dataset(clicks), load_config("cp2rec"), RunStore(tmp_path))


def test_an_interrupted_training_ends_at_the_same_numbers(clicks: Path, tmp_path: Path) -> None:
    dataset, config = open_dataset(clicks), load_config("painvrl", overrides=TINY)
    whole = train_net(dataset, config, RunStore(tmp_path / "whole"))
    cut = RunStore(tmp_path / "cut")
    train_net(dataset, config, cut, stop_after=1)

    resumed = train_net(dataset, config, cut)

    assert resumed.fit == whole.fit
    assert (resumed.net.user_vectors() == whole.net.user_vectors()).all()
    assert (resumed.net.learned_items() == whole.net.learned_items()).all()


def test_the_net_on_ultragcn_s_losses_beats_popularity(clicks: Path, tmp_path: Path) -> None:
    dataset = open_dataset(clicks)
    overrides = ("net.dim=8", "net.gates=none", "train.epochs=12", "train.batch_slates=16")
    config = load_config("painvrl-faithful", overrides=overrides)

    fitted = train_net(dataset, config, RunStore(tmp_path))

    task = RankingTask.of(dataset, fitted.split)
    assert fitted.fit.evaluations == 12  # the fall of its first epochs does not end a training
    assert fitted.fit.best > mean_recall(task, popularity(task), "validation") + 0.05
    top = np.argsort(-fitted.catalogue_scores()(1.0)(task.ranked_users("validation")), axis=1)
    cold = task.train_counts == 0
    assert cold.mean() > 0.1
    assert cold[top[:, :20]].mean() < cold.mean()  # an unknown item is no better than another
