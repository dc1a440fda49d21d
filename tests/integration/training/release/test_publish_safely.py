"""Publishing that must not succeed: lost records, a full store, two at once, another dataset."""

from __future__ import annotations

import contextlib
import dataclasses
import json
import shutil
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import redis

from service.contract.artifact import MANIFEST
from service.contract.front import Anchor, Anchors, Estimate
from service.contract.keys import Keys
from service.contract.manifest import Manifest
from service.contract.store_url import parse
from tests.conftest import World
from tests.integration import redis_servers
from tests.integration.conftest import Deployment, deploy
from training.cli.app import main
from training.data.dataset import Dataset
from training.errors import PublishError
from training.release import lease
from training.release.publish import publish
from training.release.store import connect

LAST_BATCH = 25  # of the world in batches of 100: 8 of proxies, of titles, of items, 1 of users
ROOM = 200_000  # bytes: too little for the records of the world


@contextlib.contextmanager
def small_store(folder: Path, policy: str) -> Iterator[tuple[str, redis.Redis]]:
    """Yield URL and client of a server that is full after about 200 kB of records."""
    port = redis_servers.free_port()
    with redis_servers.server(folder, port, "--maxmemory-policy", policy) as client:
        client.config_set("maxmemory", client.info("memory")["used_memory"] + ROOM)
        yield f"redis://127.0.0.1:{port}", client


def run(monkeypatch: pytest.MonkeyPatch, *arguments: str) -> int:
    """Run a command as from a terminal; return its exit code."""
    monkeypatch.setattr(sys, "argv", ["training", *arguments])
    with pytest.raises(SystemExit) as stopped:
        main()
    return int(stopped.value.code or 0)


def other_ids(dataset: Dataset) -> Dataset:
    return dataclasses.replace(dataset, item_ids=[f"other-{i}" for i in dataset.item_ids])


def first(dataset: Dataset, count: int) -> Dataset:
    return dataclasses.replace(
        dataset,
        item_ids=dataset.item_ids[:count],
        embedding=dataset.embedding[:count],
        modality_mask=dataset.modality_mask[:count],
        proxies=dataset.proxies[:count],
    )


def options(deployment: Deployment) -> dict[str, Any]:
    settings = deployment.settings
    return {"url": settings.redis_url.get_secret_value(), "namespace": settings.namespace}


def catalogue(deployment: Deployment) -> set[bytes]:
    return set(deployment.redis.smembers(deployment.keys.catalog))


def before_batch(
    monkeypatch: pytest.MonkeyPatch, number: int, act: Callable[[], None]
) -> dict[str, int]:
    """Call ``act`` once, before the batch of this number is written; return the batches' count."""
    batches = {"written": 0}
    pipeline = redis.Redis.pipeline

    class Counting(redis.client.Pipeline):
        def execute(self, raise_on_error: bool = True) -> Any:
            batches["written"] += 1
            if batches["written"] == number:
                monkeypatch.setattr(redis.Redis, "pipeline", pipeline)
                act()
            return super().execute(raise_on_error)

    monkeypatch.setattr(
        redis.Redis,
        "pipeline",
        lambda self, transaction=True: Counting(
            self.connection_pool, self.response_callbacks, transaction, None
        ),
    )
    return batches


@pytest.mark.parametrize("policy", ["allkeys-lru", "allkeys-random"])
def test_a_store_that_evicts_is_refused_before_anything_is_written(
    policy: str, world: World, tmp_path: Path
) -> None:
    with small_store(tmp_path / "redis", policy) as (url, client):
        with pytest.raises(PublishError, match=f"evicts .*{policy}.*noeviction.*--allow-eviction"):
            publish(world.artifact, world.dataset, url=url, namespace="x")
        assert client.dbsize() == 0
        client.config_set("maxmemory", 0)  # without a limit nothing is evicted
        done = publish(world.artifact, world.dataset, url=url, namespace="x")
        assert done.items == len(world.dataset.item_ids)


def test_eviction_that_was_allowed_still_moves_no_alias(
    world: World, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Any
) -> None:
    with small_store(tmp_path / "redis", "allkeys-lru") as (url, client):
        command = ["publish", "toy", "--data", str(world.dataset.path), "--allow-eviction"]
        command += ["--models", str(world.repository.root), "--redis", url, "--namespace", "x"]
        assert run(monkeypatch, *command) == 2
        assert client.info("stats")["evicted_keys"] > 0
    out, err = capsys.readouterr()
    assert out == ""
    assert "evict" in err.splitlines()[-1]  # records or the lease, whichever was evicted first
    assert world.repository.aliases("toy") == {}


@pytest.mark.parametrize("kind", ["proxies", "titles", "items"])
def test_records_that_the_store_lost_are_counted_before_the_alias_moves(
    kind: str, deployment: Deployment, world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    total = len(world.dataset.item_ids)
    names = getattr(deployment.keys, kind)(world.dataset.item_ids[:3])
    before_batch(monkeypatch, LAST_BATCH, lambda: deployment.redis.delete(*names))
    promoted: list[object] = []
    with pytest.raises(PublishError, match=f"holds {total - 3} of {total} {kind} after all"):
        publish(
            world.artifact,
            world.dataset,
            fresh=True,
            batch=100,
            on_complete=promoted.append,
            **options(deployment),
        )
    assert promoted == []


def test_a_full_store_is_named_and_no_alias_moves(
    world: World, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Any
) -> None:
    with small_store(tmp_path / "redis", "noeviction") as (url, client):
        command = ["publish", "toy", "--data", str(world.dataset.path), "--namespace", "x"]
        command += ["--models", str(world.repository.root), "--redis", url, "--batch", "100"]
        assert run(monkeypatch, *command) == 2
        line = capsys.readouterr().err.splitlines()[-1]
        assert line.startswith(f"error: Redis at {url}: it is full (maxmemory)")
        assert world.repository.aliases("toy") == {}
        client.config_set("maxmemory", 0)
        publish(world.artifact, world.dataset, url=url, namespace="x", batch=100)


def test_of_two_publications_at_once_the_second_is_refused(
    deployment: Deployment, world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    smaller = first(world.dataset, len(world.dataset.item_ids) - 10)
    refusals: list[str] = []

    def second() -> None:
        with pytest.raises(PublishError) as refused:
            publish(world.artifact, smaller, **options(deployment))
        refusals.append(str(refused.value))

    before_batch(monkeypatch, 2, second)
    done = publish(world.artifact, world.dataset, fresh=True, batch=100, **options(deployment))
    assert done.items == len(catalogue(deployment)) == len(world.dataset.item_ids)
    (line,) = refusals
    assert "is being changed by publish of " in line
    assert "process " in line
    assert " UTC: wait for it" in line
    assert publish(world.artifact, smaller, **options(deployment)).removed == 10


@pytest.mark.parametrize("number", [2, LAST_BATCH])
def test_a_publisher_that_lost_its_lease_changes_nothing_more(
    number: int, deployment: Deployment, world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    keys = deployment.keys
    name = keys.publishing(keys.spaces.items)
    promoted: list[object] = []

    def lose() -> None:
        assert 0 < deployment.redis.pttl(name) <= lease.LEASE_S * 1000
        deployment.redis.set(name, "of another")

    batches = before_batch(monkeypatch, number, lose)
    with pytest.raises(PublishError, match="the lease was lost"):
        publish(
            world.artifact,
            world.dataset,
            fresh=True,
            batch=100,
            on_complete=promoted.append,
            **options(deployment),
        )
    assert batches["written"] == number
    assert promoted == []
    assert deployment.redis.get(name) == b"of another"  # it released what was its own, no more
    deployment.redis.delete(name)
    assert deployment.redis.exists(keys.publishing(keys.spaces.proxies)) == 0
    publish(world.artifact, world.dataset, on_complete=promoted.append, **options(deployment))
    assert len(promoted) == 1


def test_a_dataset_of_other_ids_is_refused(deployment: Deployment, world: World) -> None:
    before = catalogue(deployment)
    items = len(world.dataset.item_ids)
    others = other_ids(world.dataset)
    with pytest.raises(PublishError, match=f"trained on 0 of the {items} items.*--force"):
        publish(world.artifact, others, **options(deployment))
    assert catalogue(deployment) == before
    assert publish(world.artifact, others, force=True, **options(deployment)).removed == items


def test_half_of_a_catalogue_leaves_by_force_only(deployment: Deployment, world: World) -> None:
    before = catalogue(deployment)
    items = len(world.dataset.item_ids)
    half = first(world.dataset, items // 2)
    with pytest.raises(PublishError, match=r"of the catalogue of toy@1 are not in --data.*--force"):
        publish(world.artifact, half, **options(deployment))
    assert catalogue(deployment) == before
    assert publish(world.artifact, half, force=True, **options(deployment)).items == items // 2
    publish(world.artifact, world.dataset, **options(deployment))  # it may grow


def test_a_new_version_may_not_halve_what_serves(deployment: Deployment, world: World) -> None:
    """A new version has spaces of its own: its catalogue is compared with the one that serves."""
    manifest = world.artifact.manifest
    spaces = manifest.spaces.model_copy(update={"items": "next", "users": "next"})
    newer = dataclasses.replace(
        world.artifact, manifest=manifest.model_copy(update={"spaces": spaces})
    )
    third = first(world.dataset, len(world.dataset.item_ids) // 3)
    with pytest.raises(PublishError, match="of the catalogue that serves now are not in --data"):
        publish(newer, third, served=manifest.spaces, **options(deployment))
    assert deployment.redis.exists(Keys(deployment.settings.namespace, spaces).catalog) == 0
    publish(newer, third, **options(deployment))


def test_a_cluster_is_locked_checked_and_counted(world: World, tmp_path: Path) -> None:
    with redis_servers.cluster(tmp_path / "redis") as nodes:
        url = f"redis+cluster://127.0.0.1:{redis_servers.port_of(nodes[0])}"
        deployment = deploy(world, url, tmp_path / "models")
        keys = deployment.keys
        assert deployment.redis.exists(keys.publishing(keys.spaces.items)) == 0
        client: Any = connect(parse(url))
        with lease.lease(client, keys, [keys.spaces.items], "test") as renew:
            renew()
            with pytest.raises(PublishError, match="is being changed by test of"):
                publish(world.artifact, world.dataset, **options(deployment))
        for node in nodes:
            node.config_set("maxmemory", "100mb")
        nodes[1].config_set("maxmemory-policy", "allkeys-lfu")
        with pytest.raises(PublishError, match="evicts records"):
            publish(world.artifact, world.dataset, **options(deployment))
        done = publish(world.artifact, world.dataset, allow_eviction=True, **options(deployment))
        assert done.items == len(world.dataset.item_ids)


def test_a_model_that_beats_no_anchor_needs_force(
    deployment: Deployment,
    world: World,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: Any,
) -> None:
    """It needs none once it serves, and neither do models older than anchors."""
    models = tmp_path / "repository"
    shutil.copytree(world.artifact.path, models / "toy" / "1")
    store = options(deployment)
    command = ["publish", "toy@1", "--data", str(world.dataset.path), "--models", str(models)]
    command += ["--redis", store["url"], "--namespace", store["namespace"]]

    with_anchors(models / "toy" / "1", lead=-0.02)
    assert run(monkeypatch, *command) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert "toy@1: Not worth serving as it is: a simple model, a mean, " in err
    assert err.rstrip().endswith("to publish it all the same, add --force")
    assert not (models / "toy" / "aliases.json").exists()
    assert run(monkeypatch, *command, "--force") == 0
    assert run(monkeypatch, *command) == 0

    (models / "toy" / "aliases.json").unlink()
    for lead in (0.02, None):
        with_anchors(models / "toy" / "1", lead=lead)
        assert run(monkeypatch, *command, "--no-promote") == 0


def with_anchors(folder: Path, *, lead: float | None) -> None:
    """Write an anchor into the manifest that the model leads by ``lead``, or none at all."""
    manifest = Manifest.model_validate_json((folder / MANIFEST).read_bytes())
    anchors = None
    if lead is not None:
        mean = Anchor(
            name="a mean", value=Estimate(mean=0.7 - lead), lead=Estimate(mean=lead, se=0.001)
        )
        model = Estimate(mean=0.7)
        anchors = Anchors(
            metric="auc", model=model, anchors=(mean,), beaten=lead > 0, rows=100
        ).model_dump()
    document = manifest.model_dump(mode="json")
    document["front"]["anchors"] = anchors
    (folder / MANIFEST).write_text(json.dumps(document))
