"""An experiment over real HTTP: who is in which arm, what is logged, and what a fault does."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from service.contract.experiments import (
    EXPERIMENTS,
    Plan,
    read_experiments,
    start_experiment,
    stop_experiment,
)
from tests.conftest import World
from tests.integration.conftest import Deployment, Running, deploy, until
from tests.integration.test_decisions import logged

GRID = [[0.0, 0.5], [1.0, 0.5]]
PLAN = {
    "name": "first",
    "arms": [
        {"name": "control", "share": 0.2},
        {"name": "debiased", "share": 0.2, "tradeoff": 0.1},
        {"name": "second", "share": 0.2, "model": "toy@candidate"},
        {"name": "drawn", "share": 0.2, "tradeoffs": GRID},
    ],
}


def plan(**changes: Any) -> Plan:
    return Plan.model_validate({**PLAN, **changes})


@dataclass
class Trial:
    """A service of two versions of the world's model, the second an alias of its own."""

    deployment: Deployment
    service: Running

    @property
    def root(self) -> Path:
        return self.deployment.repository.root

    def start(self, plan: Plan) -> None:
        """Start an experiment and wait until the service runs it."""
        start_experiment(self.root, plan)
        until(lambda: (running := self.running()) and running["name"] == plan.name)

    def running(self) -> dict[str, Any] | None:
        found: dict[str, Any] | None = self.service.client.get("/models").json()["experiment"]
        return found

    def readiness(self) -> str:
        answer = self.service.client.get("/readyz")
        assert answer.status_code == 200
        return answer.json()["reason"] or ""

    def of(self, plan: Plan, arm: str | None) -> str:
        """Return a user of an arm."""
        arms = ((f"v{number}", plan.arm(f"v{number}")) for number in range(1000))
        return next(user for user, its in arms if (None if its is None else its.name) == arm)


@pytest.fixture(scope="module")
def trial(
    world: World, redis_url: str, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Trial]:
    models = tmp_path_factory.mktemp("trial") / "models"
    deployed = deploy(world, redis_url, models, decisions=1, decision_flush_s=0.01)
    shutil.copytree(models / "toy" / "1", models / "toy" / "2")
    deployed.repository.promote("toy", 2, "candidate")
    with deployed.serve() as service:
        until(lambda: len(service.client.get("/models").json()["models"]) == 2)
        yield Trial(deployed, service)


def test_users_of_an_arm_are_ranked_as_it_says(trial: Trial) -> None:
    trial.start(plan())
    answers = {}
    for arm in ("control", "debiased", "second", "drawn", None):
        request_id = f"request-{arm}"
        user = trial.of(plan(), arm)
        answers[arm] = trial.service.rank(user_id=user, top_k=3, request_id=request_id)
        assert answers[arm].get("arm") == arm
        assert logged(trial.deployment, request_id).arm == arm
    expected = {"control": 1, "debiased": 1, "second": 2, "drawn": 1, None: 1}
    assert {arm: int(answer["model"][-1]) for arm, answer in answers.items()} == expected
    default = answers[None]["tradeoff"]
    assert answers["control"]["tradeoff"] == default
    assert (answers["debiased"]["tradeoff"], answers["debiased"]["tradeoff_from"]) == (0.1, "arm")
    assert "tradeoff_from" not in answers["control"]
    assert answers["drawn"]["tradeoff"] in (0.0, 1.0)
    assert answers["drawn"]["explored"]["policy"] == "randomised_tradeoff"


def test_what_a_request_names_goes_first(trial: Trial) -> None:
    trial.start(plan())
    user = trial.of(plan(), "debiased")
    named = trial.service.rank(user_id=user, top_k=3, tradeoff=0.9)
    assert (named["tradeoff"], named["arm"]) == (0.9, "debiased")
    second = trial.service.rank(user_id=trial.of(plan(), "second"), top_k=3, model="toy")
    assert (second["model"], "arm" in second) == ("toy@1", False)
    nobody = trial.service.rank(user_id=user, top_k=3, profiling=False)
    assert "arm" not in nobody
    assert nobody["tradeoff"] != 0.1


def test_rankings_and_events_are_counted_by_arm(trial: Trial) -> None:
    trial.start(plan())
    user = trial.of(plan(), "control")
    labels = 'arm="control",experiment="first"'
    rankings = f"rank_arm_rankings_total{{{labels}}}"
    clicks, others = (
        f'rank_arm_events_total{{{labels},kind="{kind}"}}' for kind in ("click", "other")
    )
    before = [trial.service.metric(name) for name in (rankings, clicks, others)]
    trial.service.rank(user_id=user, top_k=3)
    shown = {"request_id": "r", "item_id": "i"}
    events = [
        {**shown, "kind": "click", "user_id": user},
        {**shown, "kind": "like", "user_id": user},
    ]
    events += [
        {**shown, "kind": "click"},
        {**shown, "kind": "click", "user_id": trial.of(plan(), None)},
    ]
    assert trial.service.client.post("/events", json=events).status_code == 202
    after = [trial.service.metric(name) for name in (rankings, clicks, others)]
    assert [b - a for a, b in zip(before, after, strict=True)] == [1, 1, 1]
    unseen = 'rank_arm_rankings_total{arm="second",experiment="first"}'
    assert f"{unseen} " in trial.service.client.get("/metrics").text  # from zero on


def test_a_fault_keeps_the_last_good_experiment(trial: Trial) -> None:
    trial.start(plan())
    file = trial.root / EXPERIMENTS
    good = file.read_bytes()
    try:
        file.write_text('{"experiments": [{"name": "x"}]}')
        until(lambda: f"{EXPERIMENTS}: experiments.0.arms: Field required" in trial.readiness())
        assert trial.service.metric("rank_repository_faults") == 1
        assert (trial.running() or {})["name"] == "first"
        file.unlink()
        until(lambda: f"{EXPERIMENTS}: is missing" in trial.readiness())
        assert (trial.running() or {})["name"] == "first"
    finally:
        file.write_bytes(good)
    until(lambda: not trial.readiness())
    assert trial.service.metric("rank_repository_faults") == 0


def test_an_experiment_whose_model_is_not_loaded_does_not_run(trial: Trial) -> None:
    trial.start(plan())
    stop_experiment(trial.root)
    until(lambda: trial.running() is None)
    arms = [{"name": "control", "share": 0.5}, {"name": "lost", "share": 0.5, "model": "toy@7"}]
    lost = plan(name="lost", arms=arms)
    start_experiment(trial.root, lost)
    until(lambda: "experiment lost: arm lost names toy@7, which is not loaded" in trial.readiness())
    assert trial.running() is None
    answer = trial.service.rank(user_id=trial.of(lost, "lost"), top_k=3)
    assert (answer["model"], "arm" in answer) == ("toy@1", False)
    stop_experiment(trial.root)
    until(lambda: not trial.readiness())
    stopped = [each.stopped is not None for each in read_experiments(trial.root).experiments]
    assert stopped == [True, True]
