"""Publications that fail half-way, under load."""

from __future__ import annotations

import os
import resource
import signal
import subprocess
import sys

from tests.bench.common import ONE_THREAD, ROOT
from tests.chaos.scenario import Allowed, scenario
from tests.chaos.stack import NAMESPACE, POLL_S, Stack
from tests.chaos.world import NAME
from tests.integration.conftest import until

_PATIENCE_S = 60.0

Publisher = subprocess.Popen[str]


@scenario(
    "The disk of the model repository is full while a version is published; then it has room",
    Allowed(),
)
def disk_full(stack: Stack) -> None:
    publisher = _begin(stack)
    resource.prlimit(publisher.pid, resource.RLIMIT_FSIZE, (1, 1))
    code, line = _end(publisher)
    stack.check("publish exits with 2", code == 2)
    stack.check("its last line names the file", "aliases.json" in line)
    stack.hold(2 * POLL_S)
    stack.check("the version before goes on to serve", _serves(stack, 1))
    _publish_whole(stack)


@scenario("A publisher is killed half-way; its lease ends and the command is repeated", Allowed())
def publisher_killed(stack: Stack) -> None:
    publisher = _begin(stack)
    publisher.kill()
    _end(publisher)
    written = stack.redis.scard(stack.keys(2).catalog)
    stack.check("it was killed half-way", 0 < written < len(stack.world.dataset.item_ids))
    code, line = _end(_publishing(stack))
    stack.check("while the lease holds, the command exits with 2", code == 2)
    stack.check("and names the publisher that was killed", f"process {publisher.pid}" in line)
    stack.check("the version before goes on to serve", _serves(stack, 1))
    stack.redis.delete(*_leases(stack))
    _publish_whole(stack)


@scenario("Two publishers of one version run at once", Allowed())
def two_publishers(stack: Stack) -> None:
    first = _begin(stack)
    first.send_signal(signal.SIGSTOP)  # it would have ended before the second begins
    code, line = _end(_publishing(stack))
    first.send_signal(signal.SIGCONT)
    stack.check("the second exits with 2", code == 2)
    stack.check("and names the first", f"process {first.pid}" in line)
    stack.check("the first succeeds", _end(first)[0] == 0)
    until(lambda: _serves(stack, 2))


def _publishing(stack: Stack, batch: int = 1000) -> Publisher:
    """Start `publish` of version 2."""
    command = [sys.executable, "-m", "training", "publish", f"{NAME}@2", "--force"]
    command += ["--data", str(stack.world.dataset.path), "--models", str(stack.models)]
    command += ["--redis", stack.url, "--namespace", NAMESPACE, "--batch", str(batch)]
    command += ["--build", str(stack.folder / "build")]
    return subprocess.Popen(
        command,
        cwd=ROOT,
        env={**os.environ, **ONE_THREAD},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


def _begin(stack: Stack) -> Publisher:
    """Start `publish`, with many small batches, and return once it writes items."""
    publisher = _publishing(stack, batch=2)
    until(lambda: stack.redis.scard(stack.keys(2).catalog), _PATIENCE_S)
    return publisher


def _end(publisher: Publisher) -> tuple[int, str]:
    """Return a publisher's exit code and its last line."""
    output, _ = publisher.communicate(timeout=_PATIENCE_S)
    return publisher.returncode, (output.splitlines() or [""])[-1]


def _publish_whole(stack: Stack) -> None:
    """Publish version 2 and wait until all replicas serve it."""
    stack.check("the repeated publication succeeds", _end(_publishing(stack))[0] == 0)
    until(lambda: _serves(stack, 2))


def _serves(stack: Stack, version: int) -> bool:
    name = f'rank_model_alias_version{{alias="champion",name="{NAME}"}}'
    return all(replica.metric(name) == version for replica in stack.replicas)


def _leases(stack: Stack) -> list[str]:
    keys = stack.keys(2)
    spaces = (keys.spaces.items, keys.spaces.users, keys.spaces.proxies)
    return [keys.publishing(space) for space in spaces]
