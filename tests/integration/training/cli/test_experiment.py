"""``experiment``: what it writes, what it refuses, and its report."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from service.contract import files
from service.contract.experiments import EXPERIMENTS, Experiment, read_experiments
from tests.integration.training.cli.conftest import Refusal
from training.cli.app import main
from training.feed import log_files
from training.feed.log_files import DECISIONS, EVENTS, LogFolder
from training.feed.records import SCHEMAS

DAY_MS = 86_400_000
PLAN = """
name = "debias"
planned_users = 400
[[arms]]
name = "control"
share = {share}
[[arms]]
name = "debiased"
share = {share}
tradeoff = 0.2
"""


@pytest.fixture
def models(place: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    for module in (files, log_files):
        monkeypatch.setattr(module, "sync", lambda _: None)
    (place / "models").mkdir()
    (place / "plan.toml").write_text(PLAN.format(share=0.1))
    return place / "models"


def run(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, *arguments: str
) -> str:
    """Return what a command prints that succeeds."""
    monkeypatch.setattr(sys, "argv", ["training", "experiment", *arguments])
    with pytest.raises(SystemExit) as stopped:
        main()
    printed = capsys.readouterr()
    assert stopped.value.code in (0, None), printed.err
    return printed.out


def test_an_experiment_starts_grows_and_stops(
    models: Path,
    refusal: Refusal,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    assert "no experiment has run" in run(capsys, monkeypatch, "show")
    assert "debias runs: control 10.0%" in run(capsys, monkeypatch, "start", "plan.toml")
    started = read_experiments(models).experiments[0].started
    Path("plan.toml").write_text(PLAN.format(share=0.5))
    assert "debias goes on: control 50.0%" in run(capsys, monkeypatch, "start", "plan.toml")
    (grown,) = read_experiments(models).experiments
    assert (grown.started, grown.arms[1].share) == (started, 0.5)
    shown = run(capsys, monkeypatch, "show")
    assert "runs\n  control: 50.0% of the users, as without it\n" in shown
    assert "  debiased: 50.0% of the users, tradeoff 0.2\n" in shown

    Path("plan.toml").write_text(PLAN.format(share=0.4).replace("0.2", "0.3"))
    assert "debias runs with other arms" in refusal("experiment", "start", "plan.toml")
    Path("plan.toml").write_text(PLAN.format(share=0.4).replace("debias", "other", 1))
    assert "debias runs; stop it" in refusal("experiment", "start", "plan.toml")
    assert "debias has stopped" in run(capsys, monkeypatch, "stop")
    assert "no experiment runs" in refusal("experiment", "stop")
    run(capsys, monkeypatch, "start", "plan.toml")
    run(capsys, monkeypatch, "stop")
    Path("plan.toml").write_text(PLAN.format(share=0.1))
    assert "debias has run; choose" in refusal("experiment", "start", "plan.toml")
    names = [each.name for each in read_experiments(models).experiments]
    assert names == ["debias", "other"]


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("name = ", "plan.toml: is not TOML"),
        (PLAN.format(share=0.1) + "w = 1", "plan.toml: arms.1.w: Extra inputs"),
        (PLAN.format(share=0.7), "plan.toml: the experiment: the shares sum to 1.4"),
        (PLAN.format(share=0.1) + 'model = "nothing"', "models/nothing: no such model"),
    ],
)
def test_a_plan_that_cannot_run_is_refused(
    models: Path, refusal: Refusal, text: str, problem: str
) -> None:
    Path("plan.toml").write_text(text)
    assert problem in refusal("experiment", "start", "plan.toml")
    assert not (models / EXPERIMENTS).exists()


def test_places_without_experiments_are_refused(models: Path, refusal: Refusal) -> None:
    assert "nowhere.toml: No such file" in refusal("experiment", "start", "nowhere.toml")
    nowhere = refusal("experiment", "start", "plan.toml", "--models", "nowhere")
    assert nowhere == "nowhere: is no model repository; publish a model first"
    assert "no experiment has run" in refusal("experiment", "report", "--logs", "log")
    assert models.exists()


def write_log(experiment: Experiment, logs: Path, users: int) -> None:
    """Log a ranking of each user, two hours apart from the next day's; debiased clicks twice."""
    rng = np.random.default_rng(0)
    start_ms = int(experiment.started.timestamp() * 1000) + 1000
    ids = [f"u{number}" for number in range(users)]
    arms = [experiment.arm(user) for user in ids]
    names = [None if arm is None else arm.name for arm in arms]
    times = start_ms + np.arange(users) * 4 * DAY_MS // users
    requests = [f"r{number}" for number in range(users)]
    decisions = pl.DataFrame(
        {
            "arrived_ms": times,
            "sequence": 0,
            "request_id": requests,
            "user_id": ids,
            "time_ms": times,
            "arm": names,
            "item_ids": [["a", "b"]] * users,
            "degraded": [[]] * users,
        }
    )
    missing = [
        pl.lit(None, dtype).alias(name)
        for name, dtype in SCHEMAS[DECISIONS].items()
        if name not in decisions.columns
    ]
    clicks = rng.random(users) < np.where(np.array(names) == "debiased", 0.6, 0.2)
    events = pl.DataFrame({"arrived_ms": times, "time_ms": times, "request_id": requests})
    events = events.filter(pl.Series(clicks)).with_columns(
        sequence=pl.lit(0, pl.Int64), item_id=pl.lit("a"), kind=pl.lit("click"), value=pl.lit(1.0),
        user_id=pl.lit(None, pl.String),
    )  # fmt: skip
    late = events[-1:].with_columns(arrived_ms=pl.lit(start_ms + 6 * DAY_MS, pl.Int64))
    folder = LogFolder(logs)
    for table, rows in ((DECISIONS, decisions.with_columns(missing)), (EVENTS, events)):
        folder.write(table, 0, rows.select(SCHEMAS[table].keys()))
    folder.write(EVENTS, 0, late.select(SCHEMAS[EVENTS].keys()))


def test_a_report_compares_the_arms_day_by_day(
    models: Path,
    refusal: Refusal,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    Path("plan.toml").write_text(PLAN.format(share=0.5))
    run(capsys, monkeypatch, "start", "plan.toml")
    write_log(read_experiments(models).experiments[0], Path("log"), 800)
    text = run(capsys, monkeypatch, "report", "debias", "--logs", "log")
    assert "| control (control) | 50.0% | 394 | 394 | 394 | 0.2056 (" in text
    assert "debiased: more than control in clicks per ranking: +0.3979 (" in text
    assert "+193.5% of control; proven since " in text
    assert "warning: the tail is not known: no model is the default" in text
    report = json.loads(Path("results/experiments/debias.json").read_text())
    (comparison,) = report["comparisons"]
    users = [look["users"] for look in comparison["looks"]]
    assert users[-1] == 800
    assert users[:2] == [201, 401]
    difference = comparison["looks"][-1]["differences"]["clicks per ranking"]
    assert 0.2 < difference["low"] < 0.4 < difference["high"] < 0.6
    assert not report["sample_ratio"]["mismatch"]
    page = Path("results/experiments/debias.html").read_text()
    assert "An arm differs from the control" in page
    assert Path("results/experiments/debias.png").read_bytes().startswith(b"\x89PNG")

    other = run(capsys, monkeypatch, "report", "--logs", "log", "--control", "debiased")
    assert "control: less than debiased in clicks per ranking: -0.3979 (" in other
    for arguments, problem in (
        (["--control", "c"], "--control 'c': the arms are control, debiased"),
        (["--window", "1w"], "--window: '1w' is no duration"),
        (["--metric", "A"], "--metric 'A': is neither"),
        (["x"], "'x' is no experiment; there are debias"),
        (["--until", "soon"], "--until 'soon': is no ISO date"),
    ):
        assert problem in refusal("experiment", "report", "--logs", "log", *arguments)
