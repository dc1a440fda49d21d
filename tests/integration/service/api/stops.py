"""Clients that ask a service until it is gone, and count how each request ends."""

from __future__ import annotations

import contextlib
import threading
from collections import Counter
from collections.abc import Callable

from tests.integration.conftest import until
from tests.integration.service.api.wire import Wire

NOT_ACCEPTED = "not accepted"
_JOIN_S = 30


def stop_under_load(
    port: int, request: bytes, stop: Callable[[], object], *, clients: int, kept_alive: bool = True
) -> Counter[str]:
    """Return how requests ended: by status, not accepted, or by the error that lost them.

    ``stop`` is called once 100 are answered. Each of the ``clients`` then asks on, and ends when no
    new connection is accepted.
    """
    outcomes: Counter[str] = Counter()
    asking = [
        threading.Thread(target=_ask, args=(port, request, kept_alive, outcomes), daemon=True)
        for _ in range(clients)
    ]
    for client in asking:
        client.start()
    until(lambda: outcomes.total() > 100)
    stop()
    for client in asking:
        client.join(_JOIN_S)
        assert not client.is_alive()
    return outcomes


def _ask(port: int, request: bytes, kept_alive: bool, outcomes: Counter[str]) -> None:
    while True:
        try:
            wire = Wire(port)
        except ConnectionRefusedError:
            outcomes[NOT_ACCEPTED] += 1
            return
        except OSError as error:  # accepted and then reset
            outcomes[type(error).__name__] += 1
            continue
        with contextlib.closing(wire):
            while True:
                try:
                    answer = wire.ask(request)
                except (OSError, EOFError, ValueError) as error:
                    outcomes[type(error).__name__] += 1
                    break
                outcomes[str(answer.status)] += 1
                if not kept_alive or answer.headers.get("connection") == "close":
                    break
