"""Replicas die, freeze, or run out of something."""

from __future__ import annotations

import contextlib
import signal
import time

import httpx

from tests.chaos.replica import Replica
from tests.chaos.scenario import Allowed, degraded, scenario
from tests.chaos.stack import Needs, Stack
from tests.integration.conftest import until


@scenario("A replica of two is killed, and starts again after 2 s", Allowed())
def replica_killed(stack: Stack) -> None:
    victim = stack.replicas[0]
    victim.kill()
    stack.hold(2)
    victim.start()
    victim.wait_ready()


@scenario("A replica of two is frozen for 12 s (SIGSTOP)", Allowed())
def replica_frozen(stack: Stack) -> None:
    stack.replicas[0].send(signal.SIGSTOP)
    stack.hold(12)
    stack.replicas[0].send(signal.SIGCONT)


@scenario("Replicas restart in turn (SIGTERM), twice each", Allowed())
def replicas_restart(stack: Stack) -> None:
    for number in (0, 1, 0, 1):
        code = stack.restart(number)
        stack.check("a replica stops as asked", code in (0, -signal.SIGTERM))


@scenario("A replica of two has no free file descriptor for 5 s", Allowed())
def replica_without_descriptors(stack: Stack) -> None:
    victim = stack.replicas[0]
    victim.limit_descriptors(0)
    stack.hold(5)
    victim.free_descriptors()
    until(lambda: victim.ready)


def _waits_for_the_store(replica: Replica) -> bool:
    with contextlib.suppress(httpx.TransportError):
        status, reason = replica.readiness()
        return status == 503 and "the store is not available" in reason
    return False


@scenario(
    "A replica of two restarts while Redis is down, and serves 3 s after Redis is back",
    degraded("store_unavailable", recovery_s=5.0),
    Needs(redis=("--appendonly", "yes")),
)
def replica_starts_without_redis(stack: Stack) -> None:
    victim = stack.replicas[0]
    stack.servers[0].kill()
    victim.stop()
    victim.start()
    stack.hold(3)
    until(lambda: _waits_for_the_store(victim))  # and says so in /readyz
    stack.servers[0].start()
    before = time.monotonic()
    victim.wait_ready()
    stack.check("it is ready within 16 s", time.monotonic() - before < 16)
