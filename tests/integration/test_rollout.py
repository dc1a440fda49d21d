"""The life of a version over real HTTP: shadow, canary, automatic return, rollback."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from service.contract.alias_moves import roll_back, set_candidate
from service.contract.assignment import unit_hash
from service.contract.keys import verdicts_key
from service.contract.rollout import Limits, Rollout
from service.models.scorer import Scorer
from service.ranking import shadow
from tests.conftest import World
from tests.integration.conftest import Deployment, Running, until

FEW = Limits(rankings=20)


@pytest.fixture(autouse=True)
def patient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let no shadow ranking be dropped because the tests keep the machine busy."""
    monkeypatch.setattr(shadow, "_LATE_S", 60.0)


@dataclass(frozen=True)
class Replicas:
    """Two services of one deployment, whose repository has the versions 1 and 2, 1 is champion."""

    deployment: Deployment
    first: Running
    second: Running

    def alias(self, service: Running, alias: str) -> dict[str, Any]:
        """Return the state of an alias on one replica; empty if the replica does not know it."""
        states = service.client.get("/models").json()["aliases"]
        return next((state for state in states if state["alias"] == alias), {})

    def await_candidate(self) -> None:
        """Wait until both replicas serve version 2 as the candidate."""
        for service in (self.first, self.second):
            until(lambda s=service: self.alias(s, "candidate").get("served") == 2)  # type: ignore[misc]  # binds s

    def candidate(self, **traffic: Any) -> Rollout:
        """Make version 2 the candidate, and wait for both replicas."""
        rollout = Rollout(version=2, salt="toy@2", limits=FEW, **traffic)
        set_candidate(self.deployment.repository, "toy", rollout)
        self.await_candidate()
        return rollout

    def promote(self) -> None:
        """Make version 2 the champion, judged after few rankings, and wait for both replicas."""
        set_candidate(self.deployment.repository, "toy", Rollout(limits=FEW))
        self.deployment.repository.promote("toy", 2)
        for service in (self.first, self.second):
            until(lambda s=service: self.alias(s, "champion")["served"] == 2)  # type: ignore[misc]  # binds s

    def rank_until_returned(self, service: Running) -> None:
        """Ask a replica for rankings, which may fail, until it has returned its champion."""

        def returned() -> bool:
            service.client.post("/rank", json={"user_id": "u", "top_k": 5})
            return bool(self.alias(service, "champion")["returned"])

        until(returned)


@pytest.fixture
def replicas(deployment: Deployment) -> Iterator[Replicas]:
    repository = deployment.repository
    shutil.copytree(repository.path("toy", 1), repository.path("toy", 2))
    with deployment.serve() as first, deployment.serve() as second:
        yield Replicas(deployment, first, second)


@pytest.fixture
def break_version(monkeypatch: pytest.MonkeyPatch) -> Callable[[int, str], None]:
    """Return ``break_version(version, how)``: its scores raise, are not finite, or are all high."""
    score = Scorer.score

    def break_it(version: int, how: str) -> None:
        def broken(
            self: Scorer,
            user: NDArray[np.float32],
            state: NDArray[np.float32],
            tradeoffs: Sequence[float],
        ) -> NDArray[np.float32]:
            logits = score(self, user, state, tradeoffs)
            if self.artifact.version != version:
                return logits
            match how:
                case "raises":
                    raise RuntimeError("broken")
                case "nan":
                    return np.full_like(logits, np.nan)
                case _:
                    return logits + 10

        monkeypatch.setattr(Scorer, "score", broken)

    return break_it


def _users(rollout: Rollout, *, inside: bool, count: int) -> list[str]:
    users = (f"u{n}" for n in range(100_000))
    chosen = (u for u in users if (unit_hash(rollout.salt, u) < rollout.canary) == inside)
    return [next(chosen) for _ in range(count)]


def test_a_shadow_is_compared_and_no_answer_shows_it(replicas: Replicas, world: World) -> None:
    replicas.candidate(shadow=1.0)
    service = replicas.first

    def figures_now() -> dict[str, Any]:
        models = service.client.get("/models").json()["models"]
        found: dict[str, Any] = next(m for m in models if m["version"] == 2)["shadow"]
        return found

    for number, user_id in enumerate(world.dataset.user_ids[:30]):
        answer = service.rank(user_id=user_id, candidates=world.dataset.item_ids[:40])
        assert answer["model"] == "toy@1"
        until(lambda n=number: figures_now()["compared"] == n + 1)  # type: ignore[misc]  # binds n
    figures = figures_now()
    assert (figures["against"], figures["share"], figures["failed"]) == ("toy@1", 1.0, 0)
    assert figures["compared"] >= 10
    assert figures["agreement"] == pytest.approx(1)
    assert figures["score_drift"] < 0.1
    assert figures["shadow_score_ms"] > 0
    assert service.metric('rank_shadow_agreement_count{model="toy@2"}') == figures["compared"]
    assert service.metric('rank_shadow_score_drift{model="toy@2"}') == figures["score_drift"]
    # Only live rankings count as such.
    at = 'rank_exposure_rankings_total{model="toy@2",pool="candidates",tradeoff="0.5"}'
    assert service.metric(at) == 0
    assert service.metric('rank_stage_seconds_count{stage="score"}') == 30


def test_a_share_of_requests_is_repeated_and_errors_of_a_shadow_stay_in_it(
    replicas: Replicas, break_version: Callable[[int, str], None], world: World
) -> None:
    replicas.candidate(shadow=0.5)
    break_version(2, "raises")
    service = replicas.first
    ids = [f"r{n}" for n in range(20)]
    repeated = sum(unit_hash("shadow", i) < 0.5 for i in ids)
    assert 0 < repeated < 20

    for request_id in ids:
        service.rank(user_id="u", request_id=request_id, candidates=world.dataset.item_ids[:5])
    until(lambda: service.metric('rank_shadow_failed_total{model="toy@2"}') == repeated)


def test_a_busy_replica_drops_shadow_rankings(
    replicas: Replicas, monkeypatch: pytest.MonkeyPatch, world: World
) -> None:
    monkeypatch.setattr(shadow, "_LATE_S", -1.0)
    replicas.candidate(shadow=1.0)
    for _ in range(3):
        replicas.first.rank(user_id="u", candidates=world.dataset.item_ids[:5])
    until(lambda: replicas.first.metric('rank_shadow_dropped_total{cause="busy"}') == 3)
    assert replicas.first.metric('rank_shadow_agreement_count{model="toy@2"}') == 0


def test_a_canary_serves_its_users_and_no_others(replicas: Replicas) -> None:
    rollout = replicas.candidate(canary=0.2)
    inside, outside = (_users(rollout, inside=flag, count=5) for flag in (True, False))
    for service in (replicas.first, replicas.second):
        for _ in range(2):
            assert {service.rank(user_id=u)["model"] for u in inside} == {"toy@2"}
            assert {service.rank(user_id=u)["model"] for u in outside} == {"toy@1"}
        assert service.rank(user_id=inside[0], model="toy")["model"] == "toy@2"
        for pinned, label in (("toy@champion", "toy@1"), ("toy@1", "toy@1"), ("toy@2", "toy@2")):
            assert service.rank(user_id=inside[0], model=pinned)["model"] == label
        assert service.metric('rank_canary_rankings_total{model="toy@2"}') == 11
    grown = rollout.model_copy(update={"canary": 0.5})
    set_candidate(replicas.deployment.repository, "toy", grown)
    further = next(u for u in outside if unit_hash("toy@2", u) < 0.5)
    until(lambda: replicas.first.rank(user_id=further)["model"] == "toy@2")
    assert {replicas.first.rank(user_id=u)["model"] for u in inside} == {"toy@2"}
    set_candidate(replicas.deployment.repository, "toy", Rollout())
    until(lambda: not replicas.alias(replicas.first, "candidate"))
    assert replicas.first.rank(user_id=inside[0])["model"] == "toy@1"


def test_a_lost_rollout_is_no_order(replicas: Replicas) -> None:
    rollout = replicas.candidate(canary=0.2)
    (inside,) = _users(rollout, inside=True, count=1)
    folder = replicas.deployment.repository.root / "toy"
    (folder / "rollout.json").write_text("{")
    (folder / "history.json").unlink()
    until(lambda: replicas.first.metric("rank_repository_faults") == 2)
    assert replicas.first.rank(user_id=inside)["model"] == "toy@2"
    reason = replicas.first.client.get("/readyz").json()["reason"]
    assert "rollout.json: the document" in reason
    assert "history.json: is missing" in reason


@pytest.mark.parametrize("how", ["raises", "nan"])
def test_a_champion_that_fails_goes_back_on_all_replicas(
    replicas: Replicas, break_version: Callable[[int, str], None], how: str
) -> None:
    repository, first, second = replicas.deployment.repository, replicas.first, replicas.second
    replicas.promote()
    break_version(2, how)

    replicas.rank_until_returned(first)

    for service in (first, second):  # the second has ranked nothing
        until(lambda s=service: replicas.alias(s, "champion")["served"] == 1)  # type: ignore[misc]  # binds s
        assert service.rank(user_id="u")["model"] == "toy@1"
        state = replicas.alias(service, "champion")
        assert (state["wanted"], state["converged"]) == (2, True)
        assert "toy@2 is returned: " in state["reason"]
        assert "rankings by toy@2 failed" in service.client.get("/readyz").json()["reason"]
        assert service.metric('rank_model_returned{alias="champion",name="toy"}') == 1
        assert service.metric('rank_model_converged{alias="champion",name="toy"}') == 1
        assert service.metric('rank_model_alias_wanted_version{alias="champion",name="toy"}') == 2

    break_version(3, how)  # version 2 is mended
    repository.promote("toy", 2, again=True)
    until(lambda: first.rank(user_id="u")["model"] == "toy@2")
    until(lambda: not replicas.alias(first, "champion")["returned"])


def test_a_verdict_outlives_the_store_and_ends_with_a_rollback(
    replicas: Replicas, break_version: Callable[[int, str], None]
) -> None:
    deployment, first, second = replicas.deployment, replicas.first, replicas.second
    repository = deployment.repository
    replicas.promote()
    break_version(2, "raises")
    replicas.rank_until_returned(first)
    until(lambda: replicas.alias(second, "champion")["served"] == 1)
    key = verdicts_key(deployment.settings.namespace)
    deployment.redis.delete(key)
    until(lambda: deployment.redis.hlen(key) == 1)  # a replica that holds it writes it again
    assert second.rank(user_id="u")["model"] == "toy@1"
    with deployment.serve() as third:
        assert third.rank(user_id="u")["model"] == "toy@1"

    assert roll_back(repository, "toy") == (2, 1)

    until(
        lambda: (
            replicas.alias(first, "champion")
            == {
                "name": "toy",
                "alias": "champion",
                "wanted": 1,
                "served": 1,
                "converged": True,
                "returned": False,
                "reason": None,
            }
        )
    )
    assert first.client.get("/readyz").json()["reason"] is None


def test_a_canary_that_drifts_ends(
    replicas: Replicas, break_version: Callable[[int, str], None], world: World
) -> None:
    replicas.candidate(canary=1.0)
    break_version(2, "high")
    users = world.dataset.user_ids[:50]
    for number in range(110):  # a full window: 1,000 places
        replicas.first.rank(user_id=users[number % len(users)], tradeoff=0.5)
    until(lambda: replicas.alias(replicas.first, "candidate")["returned"])
    for service in (replicas.first, replicas.second):
        until(lambda s=service: s.rank(user_id=users[0])["model"] == "toy@1")  # type: ignore[misc]  # binds s
        assert "have drifted by" in replicas.alias(service, "candidate")["reason"]
