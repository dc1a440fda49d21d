"""The loop on few users: over HTTP, Redis, files, a training and a swap of the version."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner

from training.cli.app import app
from training.demo.loop.run import ARMS, Options, Results, run_loop
from training.evaluation.off_policy.schema import WhatIf

USERS, DAYS = 150, 1
OPTIONS = Options(days=DAYS, users=USERS, slot_share=0.9)


@pytest.fixture(scope="module")
def out(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("loop")


@pytest.fixture(scope="module")
def results(out: Path) -> Results:
    return run_loop(out, OPTIONS, ARMS[-1:], seeds=[0])


def test_every_user_is_ranked_every_day(results: Results) -> None:
    (days,) = results["w drawn"]
    assert [day.day for day in days] == [1]
    assert [day.rankings for day in days] == [USERS] * DAYS


def test_the_front_is_measured_on_the_slots_of_the_feed(results: Results) -> None:
    (day,) = results["w drawn"][0]
    assert [point.tradeoff for point in day.unbiased] == pytest.approx(np.linspace(0, 1, 11))
    assert all(0.3 < point.measured.mean < 0.95 for point in day.unbiased)
    assert all(0.45 < point.true.mean < 0.8 for point in day.unbiased)
    assert day.slot_cost is not None


def test_items_that_arrive_while_the_feed_runs_are_shown(results: Results) -> None:
    assert all(day.new_share > 0 for day in results["w drawn"][0])


def test_a_finished_arm_is_not_run_again_and_is_plotted(out: Path, results: Results) -> None:
    options = f"--out {out} --days {DAYS} --users {USERS} --seeds 1 --slot-share 0.9 --arms drawn"
    done = CliRunner().invoke(app, ["loop", *options.split()])
    assert done.exit_code == 0, done.output
    (days,) = results["w drawn"]
    assert f"{days[-1].exposure_gini:.4f}" in done.output
    assert f"true clicks: {days[-1].unseen[0].clicks:.4f} at w = 0, " in done.output
    assert {(out / name).read_bytes()[:4] for name in ("loop.png", "agreement.png")} == {b"\x89PNG"}


def test_an_unknown_arm_is_named() -> None:
    done = CliRunner().invoke(app, ["loop", "--arms", "1,2"])
    assert "'2' is none of 1, 0.5, 0, drawn" in str(done.exception)


def test_what_if_answers_from_what_a_loop_leaves(
    out: Path, results: Results, tmp_path: Path
) -> None:
    feed = out / f"{USERS}x{DAYS}-0.9" / "seed-0" / "wdrawn"
    assert results["w drawn"]
    folders = ("--logs", feed / "logs", "--models", feed / "models", "--data", feed / "data")
    words = ["what-if", *map(str, folders), "--model", "cp2rec", "--out", str(tmp_path)]
    words += ["--until", "2100-01-01", "--against", "1", "--policy", "cp2rec:0.25"]
    done = CliRunner().invoke(app, words)
    assert done.exit_code == 0, (done.output, done.exception)
    result = WhatIf.model_validate_json((tmp_path / "what-if.json").read_bytes())
    assert [policy.tradeoff for policy in result.policies] == [0, 0.5, 1]
    assert result.randomised is not None
    assert result.randomised.decisions > 0.8 * USERS  # the last ones may not be collected yet
    assert result.slots is not None
    assert result.slots.decisions > 0.6 * USERS
    # Rankings that no one saw are not in the log, and what it says of them is the truth.
    assert result.read - result.left_out["of other models"] <= USERS * DAYS
    (day,) = results["w drawn"][0]
    for policy, unseen in zip(result.policies, day.unseen, strict=True):
        assert policy.tradeoff == unseen.tradeoff
        assert policy.value is not None
        assert policy.value.se is not None
        assert abs(policy.value.mean - unseen.clicks) < 4 * policy.value.se
