"""A user's own tradeoff is used where a request names none, and goes with the user."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import pytest

from clients.python.paretorank_client import Client, RankError
from service.access.keys import add
from service.contract.user_tradeoffs import tradeoff_key
from tests.conftest import World
from tests.integration.conftest import Deployment, Running, deploy

READ = 'rank_store_read_bytes_total{operation="users"}'
CORRUPT = 'rank_corrupt_records_total{record="tradeoff"}'


@dataclass(frozen=True)
class Served:
    """A service with users' tradeoffs; each test has users of its own."""

    service: Running
    deployment: Deployment
    client: Client
    admin: Client
    users: list[str]

    def rank(self, user_id: str, **options: Any) -> tuple[float, str | None]:
        """Return the tradeoff of a ranking and what named it."""
        ranking = self.client.rank(user_id, top_k=3, **options)
        return ranking["tradeoff"], ranking.get("tradeoff_from")

    def metrics(self) -> dict[str, float]:
        """Return all samples by their full names and labels."""
        headers = self.admin._headers
        lines = self.service.client.get("/metrics", headers=headers).text.splitlines()
        samples = (line.rsplit(" ", 1) for line in lines if not line.startswith("#"))
        return {name: float(value) for name, value in samples}


@pytest.fixture(scope="module")
def served(
    world: World, redis_url: str, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Served]:
    folder = tmp_path_factory.mktemp("own")
    path = folder / "keys.json"
    frontend, admin = (add(path, name, frozenset({name})) for name in ("rank", "admin"))
    access: dict[str, Any] = {"access": "keys", "keys_file": path}
    deployment = deploy(world, redis_url, folder / "models", user_tradeoffs=True, **access)
    with deployment.serve() as service:
        url, users = str(service.client.base_url), world.dataset.user_ids
        with Client(url, api_key=frontend) as client, Client(url, api_key=admin) as other:
            yield Served(service, deployment, client, other, users)


def test_a_users_tradeoff_is_used_where_the_request_names_none(served: Served) -> None:
    user_id, client = served.users[0], served.client
    assert client.tradeoff(user_id) is None
    assert served.rank(user_id) == (0.5, None)
    client.set_tradeoff(user_id, 0.3)
    assert client.tradeoff(user_id) == 0.3
    assert served.rank(user_id) == (0.3, "user")
    assert served.rank(user_id, tradeoff=0.9) == (0.9, None)
    assert served.rank(user_id, profiling=False) == (0.5, None)
    assert served.rank(served.users[1]) == (0.5, None)
    at_own = client.rank(user_id, tradeoff=0.3)["items"]
    assert client.rank(user_id)["items"] == at_own
    client.set_tradeoff(user_id, None)
    assert client.tradeoff(user_id) is None
    assert served.rank(user_id) == (0.5, None)


def test_an_unknown_user_has_a_tradeoff_and_an_id_may_be_any_text(served: Served) -> None:
    for user_id in ("nobody/knows/me", "ends in/tradeoff", "line\nfeed"):
        served.client.set_tradeoff(user_id, 0.7)
        assert served.rank(user_id) == (0.7, "user")


def test_rankings_are_counted_by_the_source_of_their_tradeoff(served: Served) -> None:
    def counted() -> list[float]:
        metrics = served.metrics()
        name = 'rank_tradeoff_sources_total{{source="{}"}}'
        return [metrics[name.format(source)] for source in ("request", "user", "default")]

    user_id = served.users[2]
    before = counted()
    served.rank(user_id, tradeoff=0.2)
    served.rank(user_id)
    served.client.set_tradeoff(user_id, 0.2)
    served.rank(user_id)
    served.rank(user_id)
    assert [now - then for now, then in zip(counted(), before, strict=True)] == [1, 2, 1]


def test_a_corrupt_tradeoff_is_counted_and_ignored(served: Served) -> None:
    user_id, deployment = served.users[3], served.deployment
    deployment.redis.set(tradeoff_key(deployment.settings.namespace, user_id), "half")
    ranking = served.client.rank(user_id)
    assert (ranking["tradeoff"], ranking["degraded"]) == (0.5, [])
    assert served.client.tradeoff(user_id) is None
    assert served.metrics()[CORRUPT] == 2


def test_it_is_read_in_the_command_that_reads_the_record(served: Served) -> None:
    user_id = served.users[5]
    commands = 'rank_store_seconds_count{operation="users"}'

    def reads() -> tuple[float, float]:
        before = served.metrics()
        served.rank(user_id)
        after = served.metrics()
        return after[commands] - before[commands], after[READ] - before[READ]

    once, record = reads()
    served.client.set_tradeoff(user_id, 0.25)  # and it leaves the memory
    assert reads() == (once, record + len("0.25")) == (1, record + 4)
    assert served.rank(user_id) == (0.25, "user")


def test_it_goes_with_the_user_whom_only_an_admin_deletes(served: Served) -> None:
    user_id = served.users[4]
    served.client.set_tradeoff(user_id, 0.1)
    with pytest.raises(RankError, match="lacks the scope admin"):
        served.client.delete_user(user_id)
    with pytest.raises(RankError, match="lacks the scope rank"):
        served.admin.set_tradeoff(user_id, 0.1)
    assert served.admin.delete_user(user_id)["tradeoffs"] == 1
    assert served.client.tradeoff(user_id) is None


@pytest.mark.parametrize(
    ("user_id", "body", "field"),
    [
        ("u", {"tradeoff": 1.5}, "tradeoff"),
        ("u", {"tradeoff": None}, "tradeoff"),
        ("u", {}, "tradeoff"),
        ("u", {"tradeof": 0.5}, "tradeof"),
        ("u", [], "body"),
        ("x" * 129, {"tradeoff": 0.5}, "user_id"),
    ],
)
def test_bad_input_is_refused_and_names_the_field(
    served: Served, user_id: str, body: Any, field: str
) -> None:
    path = f"/users/{user_id}/tradeoff"
    answer = served.service.client.put(path, json=body, headers=served.client._headers)
    assert (answer.status_code, answer.json()["error"]["field"]) == (422, field)


def test_where_users_have_none_the_answer_names_the_setting(service: Running) -> None:
    answer = service.client.get("/users/u/tradeoff")
    assert answer.status_code == 404
    assert "set RANK_USER_TRADEOFFS=true" in answer.json()["error"]["message"]
