"""Rankings are logged as shown, explored as drawn, and can be replayed from the log."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from typing import Any

import pytest

from service.contract.assignment import unit_hash
from service.contract.feedback import RECORD, Decision, decisions_key, decode_decision
from service.ranking.exploration import Exploration, propensities
from tests.conftest import World
from tests.integration.conftest import Deployment, Running, deploy, running, until

EXPLORING = {"explore_slot_share": 0.5, "explore_tradeoff_share": 0.5, "explore_places": 6}
GRID = ((0.0, 0.2), (0.5, 0.3), (1.0, 0.5))  # the setting's default
REQUESTS = 40


def decisions(deployment: Deployment) -> list[Decision]:
    entries = deployment.redis.xrange(decisions_key(deployment.settings.namespace))
    return [decode_decision(fields[RECORD]) for _, fields in entries]


def logged(deployment: Deployment, request_id: str) -> Decision:
    """Return the decision of a request, once it is in the stream."""

    def found() -> Decision | None:
        return next((d for d in decisions(deployment) if d.request_id == request_id), None)

    decision = until(found)
    assert decision is not None
    return decision


@pytest.fixture(scope="module")
def exploring(
    world: World, redis_url: str, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[tuple[Deployment, Running]]:
    """Serve a deployment that logs all rankings and explores many."""
    models = tmp_path_factory.mktemp("exploring") / "models"
    deployed = deploy(
        world, redis_url, models, decisions=1, decision_flush_s=0.01, decision_places=8, **EXPLORING
    )
    with deployed.serve() as service:
        yield deployed, service


@pytest.fixture(scope="module")
def answers(exploring: tuple[Deployment, Running], world: World) -> dict[str, dict[str, Any]]:
    """Return the answers to requests of all kinds, by request id."""
    service = exploring[1]
    bodies: list[dict[str, Any]] = [
        {
            "user_id": world.dataset.user_ids[number],
            "request_id": f"request-{number}",
            "format": "columns" if number % 3 else "rows",
            "explain": number % 5 == 0,
            "top_k": (4, 12, 1000)[number % 3],
            **({"candidates": [*world.dataset.item_ids[:30], "unheld"]} if number % 2 else {}),
            **({"tradeoff": 0.25} if number % 4 == 3 else {}),
        }
        for number in range(REQUESTS)
    ]
    return {body["request_id"]: {**service.rank(**body), "body": body} for body in bodies}


def columns(answer: dict[str, Any]) -> tuple[list[str], list[float | None]]:
    items = answer["items"]
    if isinstance(items, dict):
        return items["item_ids"], items["scores"]
    assert [item["rank"] for item in items] == list(range(1, len(items) + 1))
    return [item["item_id"] for item in items], [item["score"] for item in items]


def test_every_ranking_is_logged_as_shown(
    exploring: tuple[Deployment, Running], answers: dict[str, dict[str, Any]], world: World
) -> None:
    deployment, service = exploring
    policies, catalogue = Counter[str](), len(world.dataset.item_ids)
    for request_id, answer in answers.items():
        decision, body = logged(deployment, request_id), answer["body"]
        ids, scores = columns(answer)
        assert (
            len(set(ids))
            == len(ids)
            == min(body["top_k"], 31 if "candidates" in body else catalogue)
        )
        assert (decision.item_ids, decision.scores) == (ids[:8], scores[:8])
        assert (decision.user_id, decision.model) == (body["user_id"], answer["model"])
        assert decision.tradeoff == answer["tradeoff"]
        assert decision.pool_size == (30 if "candidates" in body else catalogue)
        assert decision.pool == ("candidates" if "candidates" in body else "catalogue")
        assert len(decision.propensities) == len(decision.item_ids)
        assert all(0 < propensity <= 1 for propensity in decision.propensities)
        explored = answer.get("explored", {"policy": "fixed"})
        assert explored["policy"] == decision.policy
        assert explored.get("rank") == (None if decision.slot is None else decision.slot + 1)
        if "tradeoff" in body:
            assert decision.policy in ("fixed", "uniform_slot")
        policies[decision.policy] += 1
    assert set(policies) == {"fixed", "uniform_slot", "randomised_tradeoff", "both"}
    for policy, count in policies.items():
        assert service.metric(f'rank_decisions_total{{policy="{policy}"}}') >= count
    assert service.metric("rank_decisions_written_total") >= REQUESTS
    costs = [
        service.metric(f'rank_slot_scores_total{{item="{i}"}}') for i in ("drawn", "displaced")
    ]
    assert 0 < costs[0] < costs[1]


def test_a_decision_is_replayed_from_the_log(
    exploring: tuple[Deployment, Running], answers: dict[str, dict[str, Any]]
) -> None:
    deployment, service = exploring
    exploration = Exploration(0.5, 6, 0.5, GRID, 8)
    for request_id, answer in answers.items():
        decision, body = logged(deployment, request_id), answer["body"]
        draw = exploration.draw(request_id, body.get("tradeoff", 0.5), moves="tradeoff" not in body)
        assert (draw.seed, draw.tradeoff) == (decision.seed, decision.tradeoff)
        fields = {k: v for k, v in body.items() if k in ("user_id", "candidates")}
        rankings = {
            w: service.ids(**fields, tradeoff=w, explore=False, top_k=1000) for w, _ in draw.mixture
        }
        shown = rankings[draw.tradeoff][: body["top_k"]]
        k = min(6, len(shown), decision.pool_size)
        if draw.item is not None:
            drawn = rankings[draw.tradeoff][int(draw.item * decision.pool_size)]
            slot = int(draw.place * k)
            shown = [item_id for item_id in shown if item_id != drawn][: len(shown) - 1]
            shown.insert(slot, drawn)
            assert decision.slot == slot
        else:
            assert decision.slot is None
        assert decision.item_ids == shown[:8]
        moves = "tradeoff" not in body
        assert list(decision.tradeoffs) == ([w for w, _ in draw.mixture] if moves else [])
        assert list(decision.chances) == ([chance for _, chance in draw.mixture] if moves else [])
        assert list(decision.stands) == [
            sum((rankings[w].index(item_id) == place) << bit for bit, w in enumerate(rankings))
            for place, item_id in enumerate(decision.item_ids if moves else [])
        ]
        assert decision.pool_known == (draw.item is not None)
        assert decision.slot_places == (k if decision.pool_known else 0)
        assert list(decision.listed) == (body.get("candidates", []) if decision.pool_known else [])
        exact = [0.0] * len(decision.item_ids)
        for w, chance in draw.mixture:
            ranks = [rankings[w].index(item_id) for item_id in decision.item_ids]
            for place, p in enumerate(propensities(ranks, decision.pool_size, k, 0.5)):
                exact[place] += chance * p
        assert decision.propensities == pytest.approx(exact)


def test_a_request_may_refuse_exploration(
    exploring: tuple[Deployment, Running], world: World
) -> None:
    deployment, service = exploring
    for number in range(6):
        answer = service.rank(user_id="u0001", explore=False, request_id=f"plain-{number}")
        assert "explored" not in answer
        decision = logged(deployment, f"plain-{number}")
        assert (decision.policy, decision.seed, decision.tradeoff) == ("fixed", None, 0.5)
        assert decision.propensities == [1.0] * 8
    assert world.artifact.manifest.default_tradeoff == 0.5


def test_what_the_page_ranks_is_no_decision(exploring: tuple[Deployment, Running]) -> None:
    deployment, service = exploring
    explored = [
        service.client.post("/explorer/rank", json={"user_id": "u", "request_id": f"page-{n}"})
        for n in range(6)
    ]
    assert all("explored" not in answer.json()["ranking"] for answer in explored)
    service.rank(user_id="u", request_id="after-the-page")
    logged(deployment, "after-the-page")
    assert not [d for d in decisions(deployment) if d.request_id.startswith("page-")]


def test_what_is_not_logged_is_not_explored(deployment: Deployment) -> None:
    settings = deployment.settings.model_copy(
        update={"decisions": 0.5, "explore_slot_share": 1.0, "decision_flush_s": 60.0}
    )
    ids = [f"request-{number}" for number in range(30)]
    with running(settings) as service:
        until(lambda: service.client.get("/readyz").status_code == 200)
        explored = {i for i in ids if "explored" in service.rank(user_id="u", request_id=i)}
        assert decisions(deployment) == []
    # The rest of the queue is written at the end.
    assert {decision.request_id for decision in decisions(deployment)} == explored
    assert explored == {i for i in ids if unit_hash("decisions", i) < 0.5}


def test_without_the_setting_nothing_is_logged(service: Running, world: World) -> None:
    answer = service.rank(user_id=world.dataset.user_ids[0])
    assert "explored" not in answer
    assert service.metric('rank_decisions_total{policy="fixed"}') == 0
