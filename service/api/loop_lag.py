"""How late the event loop runs."""

from __future__ import annotations

import asyncio
import time

from service.telemetry.metrics import Histogram

EVERY_S = 0.1


async def observe_loop_lag(lag: Histogram) -> None:
    """Observe, for each tenth of a second, the seconds by which a timer due then runs late.

    A timer that was due while the loop was busy counts too: one long stall is many late timers.
    """
    due_s = time.perf_counter() + EVERY_S
    while True:
        await asyncio.sleep(due_s - time.perf_counter())
        now_s = time.perf_counter()
        while due_s <= now_s:
            lag.observe(now_s - due_s)
            due_s += EVERY_S
