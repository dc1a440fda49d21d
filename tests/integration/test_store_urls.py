"""The service on a real cluster, behind real sentinels and over TLS."""

from __future__ import annotations

import dataclasses
import shutil
from pathlib import Path
from typing import Any

import pytest

from tests.conftest import World
from tests.integration import redis_servers
from tests.integration.conftest import deploy, until
from training.demo.local_redis import find_server
from training.errors import PublishError
from training.release.publish import publish


def test_a_cluster_serves_and_is_followed(world: World, tmp_path: Path) -> None:
    data = world.dataset
    body = {"user_id": data.user_ids[0], "candidates": data.item_ids[:50], "tradeoff": 0.5}
    with redis_servers.cluster(tmp_path / "redis") as nodes:
        ports = [redis_servers.port_of(node) for node in nodes]
        url = "redis+cluster://" + ",".join(f"127.0.0.1:{port}" for port in ports[:2])
        deployment = deploy(world, url, tmp_path / "models")
        assert all(node.dbsize() > 100 for node in nodes)  # records are spread
        with deployment.serve() as service:
            before = service.rank(**body)
            assert before["degraded"] == []
            assert len(service.ids(user_id="u", top_k=1000)) == len(data.item_ids)
            users = service.client.get("/explorer/start").json()["users"]
            assert 0 < len(users) <= 20  # one node was looked at
            assert set(users) <= set(data.user_ids)
            click = {"request_id": "r", "item_id": data.item_ids[3], "kind": "click"}
            event = {**click, "user_id": data.user_ids[0]}
            assert service.client.post("/events", json=[event]).status_code == 202
            until(lambda: service.metric("rank_user_memory_lag_seconds_count"))
            before = service.rank(**body)
            assert service.rank(**body)["items"] == before["items"]
            assert service.metric('rank_user_memory_reads_total{result="hit"}') >= 1
            changed = dataclasses.replace(data, proxies=data.proxies + 3)
            options: dict[str, Any] = {"url": url, "namespace": deployment.settings.namespace}
            done = publish(world.artifact, changed, **options)
            assert done.written == len(data.item_ids)
            until(lambda: service.rank(**body)["items"] != before["items"])
            smaller = dataclasses.replace(
                changed,
                item_ids=data.item_ids[:-7],
                embedding=data.embedding[:-7],
                modality_mask=data.modality_mask[:-7],
                proxies=changed.proxies[:-7],
            )
            assert publish(world.artifact, smaller, **options).removed == 7
            until(lambda: len(service.ids(user_id="u", top_k=1000)) == len(data.item_ids) - 7)
            assert publish(world.artifact, smaller, **options).written == 0


def test_a_primary_that_fails_over_is_found_again(world: World, tmp_path: Path) -> None:
    body = {"user_id": world.dataset.user_ids[0], "top_k": 5}
    with redis_servers.watched(tmp_path) as (url, primary, replica):
        deployment = deploy(world, url, tmp_path / "models", store_timeout_ms=500)
        with deployment.serve() as service:
            before = service.rank(**body)
            assert before["degraded"] == []
            primary.shutdown(nosave=True)
            until(lambda: replica.info("replication")["role"] == "master")
            replica.delete(deployment.keys.user(world.dataset.user_ids[1]))
            other = {**body, "user_id": world.dataset.user_ids[1]}
            until(lambda: service.rank(**other)["degraded"] == ["unknown_user"])
            until(lambda: service.rank(**body)["degraded"] == [])
            assert service.rank(**body)["items"] == before["items"]


def test_tls_is_used_and_the_certificate_checked(world: World, tmp_path: Path) -> None:
    if not shutil.which("openssl") or b"tls-auth-clients" not in Path(find_server()).read_bytes():
        pytest.skip("no openssl, or a redis-server built without TLS")
    certificate, key_path = redis_servers.certificate(tmp_path)
    plain, secure = redis_servers.free_port(), redis_servers.free_port()
    options = (
        *("--tls-port", str(secure), "--tls-auth-clients", "no"),
        *("--tls-cert-file", str(certificate), "--tls-key-file", str(key_path)),
    )
    with redis_servers.server(tmp_path / "redis", plain, *options):
        url = f"rediss://127.0.0.1:{secure}/0?ssl_ca_certs={certificate}"
        deployment = deploy(world, url, tmp_path / "models")
        with deployment.serve() as service:
            answer = service.rank(user_id=world.dataset.user_ids[0])
            assert answer["degraded"] == []
        unknown = f"rediss://127.0.0.1:{secure}/0"  # no authority signed the certificate
        with pytest.raises(PublishError, match="certificate verify failed"):
            publish(world.artifact, world.dataset, url=unknown, namespace="x")
