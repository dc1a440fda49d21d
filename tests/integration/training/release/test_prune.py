"""Pruning a real Redis: what no alias needs goes, what serves, another's and the unknown stay."""

from __future__ import annotations

import shutil
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import redis

from service.contract.artifact import MANIFEST, open_artifact
from service.contract.keys import Keys
from service.contract.manifest import Manifest, Spaces
from service.contract.repository import ALIASES
from service.contract.user_changes import user_changes_key
from tests.conftest import World
from tests.integration import redis_servers
from tests.integration.conftest import Deployment, deploy
from training.cli.app import main
from training.release.lease import lease
from training.release.publish import publish

OLD = Spaces(items="toy-old", users="toy-old", proxies="toy-proxies-old")


@pytest.fixture
def prune(
    deployment: Deployment, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Callable[..., tuple[int, str, str]]:
    """Return ``prune(*options)``: exit code, output and last line of errors of the command."""

    def run(*options: str, of: Deployment = deployment) -> tuple[int, str, str]:
        arguments = ["--models", str(of.repository.root), "--namespace", of.settings.namespace]
        arguments += ["--redis", of.settings.redis_url.get_secret_value(), *options]
        monkeypatch.setattr(sys, "argv", ["training", "prune", *arguments])
        capsys.readouterr()
        with pytest.raises(SystemExit) as stopped:
            main()
        out, err = capsys.readouterr()
        return int(stopped.value.code or 0), out, (err.splitlines() or [""])[-1]

    return run


Prune = Callable[..., tuple[int, str, str]]


def publish_version(deployment: Deployment, world: World, version: int, spaces: Spaces) -> None:
    """Add a version with spaces of its own to the repository, and publish it."""
    folder = deployment.repository.path("toy", version)
    shutil.copytree(world.artifact.path, folder)
    manifest = Manifest.model_validate_json((folder / MANIFEST).read_bytes())
    changed = manifest.model_copy(update={"spaces": spaces})
    (folder / MANIFEST).write_text(changed.model_dump_json())
    url = deployment.settings.redis_url.get_secret_value()
    namespace = deployment.settings.namespace
    publish(open_artifact(folder), world.dataset, url=url, namespace=namespace)


def contents(deployment: Deployment) -> dict[bytes, Any]:
    """Return all keys of the deployment's server, other namespaces included, with their values.

    The announcements of users are left out: they are of all spaces, and go by themselves.
    """
    announcements = user_changes_key(deployment.settings.namespace).encode()
    names = [name for name in deployment.redis.keys("*") if name != announcements]
    with deployment.redis.pipeline(transaction=False) as pipeline:
        for name in names:
            pipeline.type(name)
        kinds = pipeline.execute()
        read = {
            b"string": pipeline.get,
            b"set": pipeline.smembers,
            b"zset": lambda name: pipeline.zrange(name, 0, -1, withscores=True),
            b"hash": pipeline.hgetall,
            b"stream": pipeline.xrange,
        }
        for name, kind in zip(names, kinds, strict=True):
            read[kind](name)
        return dict(zip(names, pipeline.execute(), strict=True))


def named(deployment: Deployment, space: str) -> list[bytes]:
    """Return the keys of one space."""
    names: list[bytes] = deployment.redis.keys(f"*{deployment.settings.namespace}*:{space}:*")
    return names


def test_a_version_that_no_alias_names_goes(
    deployment: Deployment, world: World, prune: Prune
) -> None:
    namespace, keys = deployment.settings.namespace, Keys(deployment.settings.namespace, OLD)
    deployment.redis.set(f"{namespace}-other:toy-old:i:x", "of another namespace")
    deployment.redis.set(f"{{{namespace}}}:decisions", "of no space")
    deployment.redis.set(f"{namespace}:toy-old:z:x", "of an unknown kind")
    kept = contents(deployment)
    publish_version(deployment, world, 2, OLD)
    full = contents(deployment)
    items, users = len(world.dataset.item_ids), len(world.dataset.user_ids)

    code, out, _ = prune()
    assert code == 0
    assert contents(deployment) == full
    # Records, catalogue, changes and marks of items and users; records, changes, marks of proxies.
    assert f"{OLD.items}: {2 * items + users + 3} keys, " in out
    assert f"{OLD.proxies}: {items + 2} keys, " in out
    total = f"{3 * items + users + 5} keys"
    assert out.splitlines()[-1].startswith(f"{total}, ")
    assert out.splitlines()[-1].endswith("nothing was removed; to remove it, add --yes")

    code, out, _ = prune("--yes")
    assert (code, out.splitlines()[-1]) == (0, f"{total} removed")
    assert contents(deployment) == kept
    assert deployment.redis.exists(keys.catalog, keys.publishing(OLD.items)) == 0
    assert prune("--yes")[1].splitlines() == ["0 keys removed"]
    with deployment.serve() as service:
        assert len(service.ids(user_id="u", top_k=1000)) == items


def test_records_of_removed_items_go(deployment: Deployment, world: World, prune: Prune) -> None:
    keys, gone = deployment.keys, world.dataset.item_ids[0]
    deployment.redis.srem(keys.catalog, gone)
    before = contents(deployment)
    code, out, _ = prune("--yes")
    assert code == 0
    assert f"{keys.spaces.items}: 1 keys, 0.0 MB: items that no catalogue lists" in out
    assert f"{keys.spaces.items}: 1 keys, 0.0 MB: titles of items that no catalogue" in out
    assert f"{keys.spaces.proxies}: 1 keys, 0.0 MB: proxies of items that no catalogue" in out
    records = (keys.items, keys.titles, keys.proxies)
    expected = {*before} - {kind([gone])[0].encode() for kind in records}
    assert contents(deployment) == {key: before[key] for key in expected}


def test_proxies_that_another_catalogue_lists_stay(
    deployment: Deployment, world: World, prune: Prune
) -> None:
    gone = world.dataset.item_ids[0]
    shared = OLD.model_copy(update={"proxies": deployment.keys.spaces.proxies})
    publish_version(deployment, world, 2, shared)
    deployment.repository.promote("toy", 2, "previous")
    deployment.redis.srem(deployment.keys.catalog, gone)
    assert prune("--yes")[1].splitlines()[-1] == "2 keys removed"
    assert deployment.redis.exists(deployment.keys.proxies([gone])[0])
    assert not deployment.redis.exists(deployment.keys.items([gone])[0])


def test_a_lost_catalogue_condemns_no_records(deployment: Deployment, prune: Prune) -> None:
    deployment.redis.delete(deployment.keys.catalog)
    before = contents(deployment)
    assert prune("--yes")[1].splitlines() == ["0 keys removed"]
    assert contents(deployment) == before


@pytest.mark.parametrize("missing", ["models", "aliases", "version", "manifest"])
def test_absence_is_not_an_order(deployment: Deployment, prune: Prune, missing: str) -> None:
    folder = deployment.repository.root
    lost = {
        "models": folder,
        "aliases": folder / "toy" / ALIASES,
        "version": folder / "toy" / "1",
        "manifest": folder / "toy" / "1" / MANIFEST,
    }[missing]
    lost.rename(folder.with_name("lost"))
    before = contents(deployment)
    code, _, line = prune("--yes")
    assert code == 2
    assert line.startswith("error: ")
    assert str(folder) in line
    assert contents(deployment) == before


def test_a_model_that_was_never_promoted_stays(
    deployment: Deployment, world: World, prune: Prune
) -> None:
    publish_version(deployment, world, 2, OLD)
    other = deployment.repository.root / "young"
    shutil.copytree(deployment.repository.path("toy", 2), other / "1")
    manifest = (other / "1" / MANIFEST).read_text().replace('"name":"toy"', '"name":"young"', 1)
    (other / "1" / MANIFEST).write_text(manifest)
    before = contents(deployment)
    assert prune("--yes")[1].splitlines() == ["0 keys removed"]
    assert contents(deployment) == before


def test_a_space_that_is_being_published_is_left_alone(
    deployment: Deployment, world: World, prune: Prune
) -> None:
    publish_version(deployment, world, 2, OLD)
    keys = Keys(deployment.settings.namespace, OLD)
    with lease(deployment.redis, keys, [OLD.items], "publish"):
        _, out, _ = prune()
        assert "left alone: publish of " in out
        prune("--yes")
        assert deployment.redis.exists(keys.catalog)
        assert not named(deployment, OLD.proxies)
    prune("--yes")
    assert not named(deployment, OLD.items)


def test_an_interrupted_pruning_is_repeated(
    deployment: Deployment, world: World, prune: Prune, monkeypatch: pytest.MonkeyPatch
) -> None:
    publish_version(deployment, world, 2, OLD)
    unlink = redis.client.Pipeline.unlink
    calls = iter(range(500))

    def failing(self: Any, *names: Any) -> Any:
        if next(calls, None) is None:
            raise redis.ConnectionError("cut")
        return unlink(self, *names)

    with monkeypatch.context() as patch:
        patch.setattr(redis.client.Pipeline, "unlink", failing)
        code, _, line = prune("--yes")
    assert (code, "cut; once it answers, run the same command" in line) == (2, True)
    assert named(deployment, OLD.items)
    assert prune("--yes")[0] == 0
    assert not named(deployment, OLD.items)


@pytest.mark.parametrize("namespace", ["a:b", "{a}", "a*", "", "x" * 65])
def test_a_namespace_that_no_service_can_have_is_refused(prune: Prune, namespace: str) -> None:
    code, _, line = prune("--namespace", namespace)
    assert code == 2
    assert line.startswith("error: --namespace or RANK_NAMESPACE: ")


def test_a_cluster_is_pruned(world: World, tmp_path: Path, prune: Prune) -> None:
    with redis_servers.cluster(tmp_path / "redis") as nodes:
        url = f"redis+cluster://127.0.0.1:{redis_servers.port_of(nodes[0])}"
        deployment = deploy(world, url, tmp_path / "clustered")
        size = sum(node.dbsize() for node in nodes)
        publish_version(deployment, world, 2, OLD)
        deployment.redis.srem(deployment.keys.catalog, world.dataset.item_ids[0])
        assert prune("--yes", of=deployment)[0] == 0
        assert sum(node.dbsize() for node in nodes) == size - 3
