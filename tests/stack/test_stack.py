"""From images to a graceful stop, in this order: later tests break the state of earlier ones."""

from __future__ import annotations

import json
import threading
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import httpx
import pytest
import yaml

from tests.stack.conftest import PORT, ROOT, Stack, until

DOCKER = ROOT / "docker"
LIMIT_MB = 350


class Client:
    """Requests rankings continuously in a thread and counts status codes and errors."""

    def __init__(self) -> None:
        self.outcomes: Counter[str] = Counter()
        self.slowest_ms = 0.0

    @contextmanager
    def running(self) -> Iterator[None]:
        """Request rankings for the length of the block."""
        stop = threading.Event()
        thread = threading.Thread(target=self._run, args=(stop,), daemon=True)
        thread.start()
        try:
            yield
        finally:
            stop.set()
            thread.join(30)

    def _run(self, stop: threading.Event) -> None:
        with httpx.Client(base_url=f"http://127.0.0.1:{PORT}", timeout=10) as client:
            while not stop.wait(0.02):
                start = time.perf_counter()
                try:
                    answer = client.post("/rank", json={"user_id": "u0001", "top_k": 3})
                    self.outcomes[str(answer.status_code)] += 1
                except httpx.TransportError as error:
                    self.outcomes[type(error).__name__] += 1
                self.slowest_ms = max(self.slowest_ms, 1000 * (time.perf_counter() - start))


def test_the_service_image_is_small_and_has_no_torch(stack: Stack) -> None:
    assert stack.report["service_image_mb"]["without_base"] < LIMIT_MB
    image = "paretorank-service:dev"
    program = "import importlib.util as u; print(u.find_spec('torch'), u.find_spec('training'))"
    run = ["run", "--rm", "--entrypoint", "python", image, "-c", program]
    assert stack.docker(*run) == "None None"
    labels = json.loads(
        stack.docker("image", "inspect", image, "--format", "{{json .Config.Labels}}")
    )
    assert labels["org.opencontainers.image.licenses"] == "Apache-2.0"


def test_the_published_port_ranks(stack: Stack) -> None:
    ranking = stack.ask(tradeoff=0.0).json()
    assert ranking["model"] == "cp2rec@1"
    assert ranking["degraded"] == []
    assert [item["rank"] for item in ranking["items"]] == [1, 2, 3, 4, 5]
    logged = stack.ask(tradeoff=1.0).json()
    assert [item["item_id"] for item in logged["items"]] != [
        item["item_id"] for item in ranking["items"]
    ]
    assert stack.rank.get("/metrics").status_code == 404  # each replica has its own metrics


def test_containers_run_without_privileges(stack: Stack) -> None:
    for container in stack.containers("service"):
        (details,) = json.loads(stack.docker("inspect", container))
        assert details["HostConfig"]["ReadonlyRootfs"]
        assert details["HostConfig"]["CapDrop"] == ["ALL"]
        assert details["Config"]["User"] == "10001:10001"
        write = ["exec", container, "python", "-c", "open('/app/x', 'w')"]
        assert stack.docker(*write, check=False) == ""
        status = stack.docker("exec", container, "cat", "/proc/1/status")
        assert "CapEff:\t0000000000000000" in status
        assert "NoNewPrivs:\t1" in status


def test_prometheus_scrapes_both_replicas_and_accepts_the_rules(stack: Stack) -> None:
    up = until(lambda: _two(stack.query('up{job="paretorank"} == 1')), 60)
    assert len({sample["metric"]["instance"] for sample in up}) == 2
    until(lambda: stack.query("job:rank_replicas_up:count == 2"), 30)
    groups = stack.prometheus.get("/api/v1/rules").json()["data"]["groups"]
    rules = [rule for group in groups for rule in group["rules"]]
    files = [DOCKER / "prometheus" / name for name in ("rules.yml", "alerts.yml")]
    written = [group for file in files for group in yaml.safe_load(file.read_text())["groups"]]
    assert len(rules) == sum(len(group["rules"]) for group in written)
    assert {rule["health"] for rule in rules} <= {"ok", "unknown"}
    image = stack.compose("config", "--images", "prometheus").split()[-1]
    mount = f"{DOCKER / 'prometheus'}:/rules:ro"
    promtool = ["run", "--rm", "-v", mount, "-w", "/rules", "--entrypoint", "promtool", image]
    stack.docker(*promtool, "test", "rules", "alerts_test.yml")


def test_the_load_generator_sends_traffic(stack: Stack) -> None:
    stack.environment.update(RATE="30", DURATION_S="45")
    start = time.monotonic()
    output = stack.compose("--profile", "load", "up", "--no-deps", "--no-log-prefix", "load")
    stack.report["load"] = output.replace("\x1b[2K", "").splitlines()[-2:]
    rate = stack.query('sum(rate(rank_http_request_seconds_count{route="/rank"}[30s]))')
    assert float(rate[0]["value"][1]) > 5
    assert time.monotonic() - start < 90


def test_every_panel_has_data_and_no_alert_holds(stack: Stack) -> None:
    empty, queries = [], 0
    for path in sorted((DOCKER / "grafana" / "dashboards").glob("*.json")):
        for panel in json.loads(path.read_text())["panels"]:
            for target in panel.get("targets", []):
                queries += 1
                if not stack.query(target["expr"].replace("$__rate_interval", "1m")):
                    empty.append((panel["title"], target["expr"]))
    assert not empty
    groups = yaml.safe_load((DOCKER / "prometheus" / "alerts.yml").read_text())["groups"]
    for rule in [rule for group in groups for rule in group["rules"]]:
        queries += 1
        assert not stack.query(rule["expr"]), f"{rule['alert']} holds in a healthy stack"
    stack.report["expressions_run"] = queries


def test_both_replicas_report_exposure(stack: Stack) -> None:
    places = stack.query("sum by (instance) (rank_exposure_places_total) > 0")
    assert len(places) == 2
    front = stack.query('rank_model_front{measure="popularity_percentile", tradeoff="0.5"}')
    traffic = stack.query(
        'sum(rank_exposure_popularity_percentiles_total{pool="catalogue"})'
        ' / sum(rank_exposure_places_total{pool="catalogue"})'
    )
    stack.report["popularity_percentile"] = {
        "in_traffic": round(float(traffic[0]["value"][1]), 1),
        "measured_at_0.5": round(float(front[0]["value"][1]), 1),
    }
    drift = stack.query("max(rank_exposure_score_drift)")
    stack.report["largest_score_drift"] = round(float(drift[0]["value"][1]), 3)
    assert 0 < stack.report["popularity_percentile"]["in_traffic"] < 100


def test_rankings_continue_while_redis_is_down(stack: Stack) -> None:
    stack.compose("kill", "redis")
    client = Client()
    with client.running():
        ranking = until(lambda: _degraded(stack.ask().json()), 20)
        until(
            lambda: stack.query(
                'ALERTS{alertname="StoreUnavailable", alertstate=~"pending|firing"}'
            ),
            60,
        )
    assert ranking["degraded"] == ["store_unavailable"]
    assert len(ranking["items"]) == 5
    assert set(client.outcomes) == {"200"}
    stack.compose("start", "redis")
    start = time.monotonic()
    until(lambda: stack.ask().json()["degraded"] == [], 60)
    stack.report["redis_recovery_s"] = round(time.monotonic() - start, 2)
    stack.report["while_redis_was_down"] = dict(client.outcomes)


def test_no_request_fails_when_a_replica_dies(stack: Stack) -> None:
    killed, _ = stack.containers("service")
    client = Client()
    with client.running():
        time.sleep(1)
        stack.docker("kill", killed)
        until(lambda: stack.query("job:rank_replicas_up:count == 1"), 60)
        start = time.monotonic()
        stack.docker("start", killed)
        until(lambda: _health(stack, killed) == "healthy", 60)
        stack.report["replica_time_to_ready_s"] = round(time.monotonic() - start, 2)
        until(lambda: stack.query("job:rank_replicas_up:count == 2"), 60)
    stack.report["while_a_replica_was_dead"] = {
        **client.outcomes,
        "slowest_ms": round(client.slowest_ms),
    }
    assert set(client.outcomes) == {"200"}


def test_replicas_load_a_second_version_while_serving(stack: Stack) -> None:
    stack.environment.update(
        DATA="/data/feed",
        SIMULATE="--seed 1 --impressions 20000",
        TRAIN="--set train.epochs=1 --set front.bootstrap=20",
        PUBLISH="--force",  # too small to beat simple models
    )
    client = Client()
    with client.running():
        output = stack.compose("--profile", "train", "run", "--rm", "train")
        assert "cp2rec@champion is now cp2rec@2 (was cp2rec@1)" in output
        until(lambda: stack.ask().json()["model"] == "cp2rec@2", 30)
    assert set(client.outcomes) == {"200"}
    until(lambda: stack.query('count(rank_catalog_items{model="cp2rec@2"}) == 2'), 30)


def test_a_second_up_changes_nothing_and_refills_an_empty_store(stack: Stack) -> None:
    before = stack.containers("service")
    up = ("up", "-d", "--wait", "redis", "bootstrap", "service", "proxy")
    stack.compose(*up)
    assert stack.containers("service") == before
    assert stack.ask().json()["model"] == "cp2rec@2"
    assert " 0 records written" in stack.compose("logs", "bootstrap")
    stack.compose("exec", "-T", "redis", "redis-cli", "flushall")
    # Users in memory are forgotten with the store, within a second.
    until(lambda: stack.ask().json()["degraded"] == ["unknown_user"], 10)
    stack.compose(*up)
    assert stack.ask().json()["degraded"] == []


def test_it_stops_gracefully(stack: Stack) -> None:
    containers = stack.containers("service")
    first, second = containers
    client = Client()
    with client.running():
        start = time.monotonic()
        stack.docker("stop", first)
        stack.report["replica_stop_s"] = round(time.monotonic() - start, 2)
        time.sleep(1)
    assert set(client.outcomes) == {"200"}
    stack.docker("stop", second)
    for container in [*containers, *stack.containers("redis"), *stack.containers("prometheus")]:
        stack.docker("stop", container)
        assert stack.docker("inspect", container, "--format", "{{.State.ExitCode}}") == "0"
    # HAProxy drops a kept-alive connection to a replica that has just stopped: the client retries.
    assert until(lambda: stack.ask().status_code, timeout_s=10) == 503


def _two(samples: list[dict[str, Any]]) -> list[dict[str, Any]] | None:
    return samples if len(samples) == 2 else None


def _degraded(ranking: dict[str, Any]) -> dict[str, Any] | None:
    return ranking if ranking["degraded"] else None


def _health(stack: Stack, container: str) -> str:
    return stack.docker("inspect", container, "--format", "{{.State.Health.Status}}")


@pytest.fixture(autouse=True)
def _timed(stack: Stack, request: pytest.FixtureRequest) -> Iterator[None]:
    start = time.monotonic()
    yield
    seconds = stack.report.setdefault("seconds", {})
    seconds[request.node.name] = round(time.monotonic() - start, 1)
