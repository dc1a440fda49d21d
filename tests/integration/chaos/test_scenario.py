"""One scenario from start to end; its latencies are not asserted, for other tests run beside it."""

from __future__ import annotations

import dataclasses
import json
import shutil
from pathlib import Path

import numpy as np
import pytest

from tests.chaos import report, scenarios
from tests.chaos.load import Answer
from tests.chaos.outcome import Observed, outcome
from tests.chaos.requests import TOP_K, Case, Judge, make_cases
from tests.chaos.runner import QUICK, run
from tests.chaos.scenario import SCENARIOS
from tests.chaos.world import World
from tests.conftest import World as TrainedWorld

assert scenarios
PAUSED = SCENARIOS["redis-paused"]


@pytest.fixture(scope="module")
def chaos_world(world: TrainedWorld) -> World:
    return World(world.dataset, (world.artifact,))


@pytest.fixture(scope="module")
def judge(chaos_world: World) -> Judge:
    return Judge(chaos_world)


@pytest.fixture(scope="module")
def cases(chaos_world: World) -> list[Case]:
    return make_cases(chaos_world)


@pytest.mark.skipif(not shutil.which("haproxy"), reason="needs haproxy")
def test_a_paused_redis_degrades_rankings_and_loses_none(
    chaos_world: World, cases: list[Case], judge: Judge, tmp_path: Path
) -> None:
    pace = dataclasses.replace(QUICK, rate=20.0)
    row = run(PAUSED, chaos_world, cases, judge, tmp_path / "logs", pace)
    assert set(row.codes) == {"200"}
    assert row.degraded["store_unavailable"] > 0
    assert (row.lost, row.wrong) == (0, 0)
    assert row.recovery_s < 5
    assert not any("error" in fault for fault in row.faults)
    report.write(tmp_path, [row], quick=False)
    (tmp_path / "page.md").write_text(f"before\n{report.BEGIN}\nstale\n{report.END}\nafter\n")
    report.write_page(tmp_path, tmp_path / "page.md")
    page = (tmp_path / "page.md").read_text()
    assert page.startswith("before\n")
    assert page.endswith("after\n")
    assert f"| {PAUSED.fault} | 200: " in page
    assert "stale" not in page


def test_an_answer_is_right_only_by_the_users_vector_or_degraded_by_the_average(
    chaos_world: World, cases: list[Case], judge: Judge
) -> None:
    case = next(case for case in cases if case.rows is None)

    def answer(user: int | None, *reasons: str) -> bytes:
        scores = judge.scores(chaos_world.versions[0].label, user, case.tradeoff)
        best = np.argsort(-scores)[:TOP_K]
        ids = chaos_world.dataset.item_ids
        items = [{"item_id": ids[row], "score": scores[row]} for row in best.tolist()]
        label = chaos_world.versions[0].label
        return json.dumps({"model": label, "items": items, "degraded": reasons}).encode()

    assert judge.is_right(case, answer(case.user))
    assert judge.is_right(case, answer(None, "store_unavailable"))
    assert not judge.is_right(case, answer(None))
    assert not judge.is_right(case, answer(case.user + 1, "store_unavailable"))


@pytest.mark.parametrize(
    ("status", "body", "checks", "fault"),
    [
        (503, b"", {}, "codes 503 are not allowed"),
        (None, b"", {}, "1 requests are lost, 0 may be"),
        (422, b"", {"it holds": False}, "not so: it holds"),
    ],
)
def test_what_a_scenario_does_not_allow_is_red(
    status: int | None,
    body: bytes,
    checks: dict[str, bool],
    fault: str,
    cases: list[Case],
    judge: Judge,
) -> None:
    answers = [Answer(cases[0], 1.5, 1.0, status, body)]
    row = outcome(PAUSED, Observed(answers, 1.0, 2.0, checks, tracebacks=0), judge)
    assert row.verdict == "red"
    assert fault in row.faults
    assert "the fault was not felt: no store_unavailable" in row.faults
