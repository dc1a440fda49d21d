"""Starts the stack as a user does: builds images, runs compose, calls the published ports.

pytest collects these tests only if STACK is set, as in `make test-stack`: they need minutes and a
container engine. STACK_EXEC in the Makefile runs them where the published ports are reachable.
"""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

import httpx
import pytest

T = TypeVar("T")

ROOT = Path(__file__).parents[2]
REPORT = ROOT / "build" / "stack" / "report.json"
PORT, PROMETHEUS_PORT = 18000, 19090
BUILT = ("bootstrap", "service", "load")
STARTED = ("redis", "bootstrap", "service", "proxy", "prometheus")

collect_ignore_glob = [] if os.environ.get("STACK") else ["test_*.py"]


@dataclass
class Stack:
    """A running stack of its own; ``report`` is written when the stack is removed."""

    environment: dict[str, str]
    rank: httpx.Client
    prometheus: httpx.Client
    report: dict[str, Any] = field(default_factory=dict)

    def docker(self, *arguments: str, check: bool = True, timeout_s: float = 600) -> str:
        """Run docker and return its output."""
        done = subprocess.run(
            ["docker", *arguments],
            cwd=ROOT,
            env={**os.environ, **self.environment},
            capture_output=True,
            text=True,
            timeout=timeout_s,
            check=False,
        )
        if check:
            assert done.returncode == 0, f"{' '.join(arguments)}\n{done.stdout}\n{done.stderr}"
        return done.stdout.strip()

    def compose(self, *arguments: str, check: bool = True, timeout_s: float = 900) -> str:
        """Run docker compose on this stack and return its output."""
        return self.docker(
            "compose", "--ansi", "never", *arguments, check=check, timeout_s=timeout_s
        )

    def containers(self, service: str) -> list[str]:
        """Return the ids of a service's containers, running or not."""
        return self.compose("ps", "-aq", service).split()

    def query(self, expression: str) -> list[dict[str, Any]]:
        """Return the samples of an expression now; fails if Prometheus refuses it."""
        answer = self.prometheus.get("/api/v1/query", params={"query": expression})
        assert answer.status_code == 200, f"{expression}\n{answer.text}"
        data = answer.json()["data"]
        assert data["resultType"] == "vector"
        samples: list[dict[str, Any]] = data["result"]
        return samples

    def ask(self, **body: Any) -> httpx.Response:
        """Request a ranking over the published port."""
        return self.rank.post("/rank", json={"user_id": "u0000", "top_k": 5, **body})


def until(probe: Callable[[], T | None], timeout_s: float, every_s: float = 0.2) -> T:
    """Poll until ``probe`` is truthy; a failed connection counts as false."""
    deadline = time.monotonic() + timeout_s
    value: T | None = None
    while time.monotonic() < deadline:
        with contextlib.suppress(httpx.TransportError):
            value = probe()
            if value:
                return value
        time.sleep(every_s)
    raise AssertionError(f"still {value!r} after {timeout_s:g} s")


@pytest.fixture(scope="session")
def stack() -> Iterator[Stack]:
    """Build, start and finally remove a stack with volumes of its own."""
    environment = {
        "COMPOSE_PROJECT_NAME": "paretorank-test",
        "PORT": str(PORT),
        "PROMETHEUS_PORT": str(PROMETHEUS_PORT),
        "SOURCE_DATE_EPOCH": os.environ.get("SOURCE_DATE_EPOCH", "0"),
        # The smallest demo that still has a front: these tests are about the stack, not the model.
        "BOOTSTRAP_TRAIN": "--set train.epochs=2 --set front.bootstrap=20",
        "BOOTSTRAP_PUBLISH": "--force",  # too small to beat simple models
    }
    with (
        httpx.Client(base_url=f"http://127.0.0.1:{PORT}", timeout=10) as rank,
        httpx.Client(base_url=f"http://127.0.0.1:{PROMETHEUS_PORT}", timeout=30) as prometheus,
    ):
        running = Stack(environment, rank, prometheus)
        running.report["engine"] = running.docker("version", "--format", "{{.Server.Version}}")
        try:
            _build(running)
            _start(running)
            yield running
        except BaseException:
            running.report["logs"] = running.compose("logs", "--tail", "50", check=False)
            raise
        finally:
            running.compose("--profile", "*", "down", "-v", "--timeout", "5", check=False)
            REPORT.parent.mkdir(parents=True, exist_ok=True)
            REPORT.write_text(json.dumps(running.report, indent=2) + "\n")


def _build(stack: Stack) -> None:
    """Build the images, a stand-in for the proxy if it cannot be pulled, and report their sizes."""
    images = json.loads(stack.compose("--profile", "*", "config", "--format", "json"))["services"]
    python = os.environ.get("PYTHON_IMAGE", "python:3.11-slim-bookworm")
    upstream, absent, local = {"python": python}, [], []
    upstream |= {
        name: images[name]["image"] for name in ("redis", "proxy", "prometheus", "grafana")
    }
    for name, image in upstream.items():
        if not _have(stack, image) and name == "proxy":
            stack.docker("build", "-q", "-t", image, "tests/stack/haproxy")
        if not _have(stack, image):
            absent.append(image)
        elif stack.docker("image", "inspect", image, "--format", "{{len .RepoDigests}}") == "0":
            local.append(image)
    assert not set(absent) - {upstream["grafana"]}, f"neither local nor pullable: {absent}"
    stack.report["not_from_a_registry"] = local  # stand-ins under upstream's names
    stack.report["not_started"] = absent
    start = time.monotonic()
    for name in BUILT:  # one by one: in parallel they would wait for the same registry
        stack.compose("--profile", "*", "build", "-q", name)
    stack.report["build_s"] = round(time.monotonic() - start, 1)
    base = _size(stack, python)
    for name in BUILT:
        size = _size(stack, images[name]["image"])
        stack.report[f"{name}_image_mb"] = {
            "all": round(size / 1e6),
            "without_base": round((size - base) / 1e6),
        }


def _start(stack: Stack) -> None:
    """Start every service that has an image, as `docker compose up --wait` would."""
    names = [*STARTED, *([] if stack.report["not_started"] else ["grafana"])]
    start = time.monotonic()
    stack.compose("up", "-d", "--wait", *names)
    stack.report["up_with_first_training_s"] = round(time.monotonic() - start, 1)


def _have(stack: Stack, image: str) -> bool:
    if stack.docker("image", "ls", "-q", image):
        return True
    stack.docker("pull", "-q", image, check=False)
    return bool(stack.docker("image", "ls", "-q", image))


def _size(stack: Stack, image: str) -> int:
    return int(stack.docker("image", "inspect", image, "--format", "{{.Size}}"))
