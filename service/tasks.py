"""Ends background tasks, within a bound."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Collection
from typing import Any

_REPEAT_S = 0.2

log = logging.getLogger(__name__)


async def end(tasks: Collection[asyncio.Task[Any]], within_s: float) -> None:
    """Cancel tasks until all have ended, but at most ``within_s`` seconds; log those that have not.

    One cancellation may be lost: before Python 3.12 ``asyncio.wait_for``, through which redis-py
    sends, swallows a cancellation that arrives as its awaitable completes.
    """
    deadline = time.monotonic() + within_s
    living = {task for task in tasks if not task.done()}
    while living and time.monotonic() < deadline:
        for task in living:
            task.cancel()
        _, living = await asyncio.wait(living, timeout=_REPEAT_S)
    for task in living:
        log.warning("%s: has not ended after %g s; going on without", task.get_name(), within_s)


async def finish(tasks: Collection[asyncio.Task[Any]], within_s: float) -> bool:
    """Wait for tasks to end by themselves, at most ``within_s`` seconds, then ``end`` the others.

    Returns whether all ended by themselves.
    """
    if not tasks:
        return True
    _, living = await asyncio.wait(tasks, timeout=within_s)
    await end(living, within_s)
    return not living
