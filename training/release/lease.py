"""The right of one program to change a space, held as a key with an owner and a lease."""

from __future__ import annotations

import contextlib
import getpass
import json
import os
import socket
import uuid
from collections.abc import Callable, Iterator, Sequence
from datetime import UTC, datetime

import redis
from redis.exceptions import LockError
from redis.lock import Lock

from service.contract.keys import Keys
from service.contract.live_changes import owner_of
from training.errors import PublishError
from training.release.store import Client

# Longer than a stalled command with its retries. A killed program holds up others for as long.
LEASE_S = 60.0


class SpaceHeldError(PublishError):
    """Another program is changing the space."""


@contextlib.contextmanager
def lease(
    client: Client, keys: Keys, spaces: Sequence[str], command: str
) -> Iterator[Callable[[], None]]:
    """Hold ``spaces`` for the block, which gets a function that renews the lease.

    Call it before each change: it raises PublishError if the lease was lost. Raises SpaceHeldError,
    naming the owner, if another program holds one of the spaces. ``command`` is for that message.
    """
    owner = {
        "owner": f"{command} of {_user()} on {socket.gethostname()}, process {os.getpid()}",
        "since": f"{datetime.now(UTC):%Y-%m-%d %H:%M:%S} UTC",
        "token": uuid.uuid4().hex,
    }
    with contextlib.ExitStack() as stack:
        locks = []
        for space in sorted(set(spaces)):  # in one order, so that two programs do not split them
            name = keys.publishing(space)
            lock = client.lock(name, timeout=LEASE_S, blocking=False)
            if not lock.acquire(token=json.dumps(owner)):
                raise SpaceHeldError(_held(client, keys, space))
            stack.callback(_release, lock)
            locks.append(lock)

        def renew() -> None:
            for lock in locks:
                try:
                    lock.reacquire()
                except LockError as error:
                    raise PublishError(
                        f"{lock.name}: the lease was lost, by a pause of more than "
                        f"{LEASE_S:g} s or by eviction: stopped; run the same command to go on"
                    ) from error

        yield renew


def holder(client: Client, keys: Keys, space: str) -> str | None:
    """Return who is changing ``space`` and since when, None if nobody is."""
    return owner_of(client.get(keys.publishing(space)))


def _release(lock: Lock) -> None:
    """Give a lock back; one that was lost, or cannot be given back now, ends with its lease."""
    with contextlib.suppress(redis.RedisError):
        lock.release()


def _held(client: Client, keys: Keys, space: str) -> str:
    who = holder(client, keys, space) or "another program"
    return (
        f"space {space} is being changed by {who}: wait for it and run the same command again; "
        f"if that process was killed, its lease ends within {LEASE_S:g} s"
    )


def _user() -> str:
    with contextlib.suppress(OSError, KeyError, ImportError):  # a container may lack the name
        return getpass.getuser()
    return f"user {os.getuid()}"
