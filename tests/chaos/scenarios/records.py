"""Records of the wrong type, cut short, or with flipped bits."""

from __future__ import annotations

import random
from collections.abc import Callable
from typing import Any

from service.contract.user_changes import announce_space_of_users
from tests.chaos.scenario import Allowed, degraded, scenario
from tests.chaos.stack import Stack
from tests.integration.conftest import until


@scenario(
    "All records of users become hashes, and the stream of changed items a string, for 3 s",
    degraded("unknown_user", recovery_s=2.0),
)
def keys_of_wrong_type(stack: Stack) -> None:
    names = _records(stack, users=True)
    kept = dict(zip(names, stack.redis.mget(names), strict=True))
    stream = stack.keys().item_changes
    pipeline = stack.redis.pipeline(transaction=True)
    pipeline.rename(stream, f"{stream}:aside")
    pipeline.set(stream, "no stream")
    for name in names:
        pipeline.delete(name)
        pipeline.hset(name, "field", "value")
    _announce_users(stack, pipeline)
    pipeline.execute()
    stack.hold(3)
    pipeline = stack.redis.pipeline(transaction=True)
    pipeline.rename(f"{stream}:aside", stream)
    pipeline.mset(kept)
    _announce_users(stack, pipeline)
    pipeline.execute()


@scenario(
    "All records are cut short and announced as changed, for 3 s",
    degraded("corrupt_record", "lost_items", recovery_s=2.0),
)
def records_truncated(stack: Stack) -> None:
    draw = random.Random(1)
    _damage(stack, lambda record: record[: draw.randrange(len(record))])


@scenario(
    "One bit of every record is flipped and the items are announced as changed, for 3 s",
    Allowed(
        degraded=frozenset({"corrupt_record", "lost_items"}),
        felt=frozenset({"corrupt_record"}),
        recovery_s=2.0,
    ),
)
def records_bit_flipped(stack: Stack) -> None:
    draw = random.Random(2)

    def flip(record: bytes) -> bytes:
        place = draw.randrange(8 * len(record))
        changed = bytearray(record)
        changed[place // 8] ^= 1 << place % 8
        return bytes(changed)

    _damage(stack, flip)


def _damage(stack: Stack, change: Callable[[bytes], bytes]) -> None:
    """Change all records and announce them; publish them anew after a while."""
    names = [*_records(stack, users=True), *_records(stack, users=False)]
    records = stack.redis.mget(names)
    pipeline = stack.redis.pipeline(transaction=True)
    pipeline.mset({n: change(record) for n, record in zip(names, records, strict=True)})
    _announce_users(stack, pipeline)
    pipeline.execute()
    ids = "\n".join(stack.world.dataset.item_ids)
    changed = stack.replicas[0].metric("rank_catalog_changes_total")
    stack.redis.xadd(stack.keys().item_changes, {"ids": ids})
    until(lambda: stack.replicas[0].metric("rank_catalog_changes_total") > changed)
    stack.hold(3)
    stack.publish(fresh=True)


def _announce_users(stack: Stack, pipeline: Any) -> None:
    """Have the replicas forget the users that they hold in memory."""
    keys = stack.keys()
    announce_space_of_users(pipeline, keys.namespace, keys.spaces.users)


def _records(stack: Stack, *, users: bool) -> list[bytes]:
    spaces = stack.keys().spaces
    space, kind = (spaces.users, "u") if users else (spaces.items, "i")
    return list(stack.redis.scan_iter(f"*:{space}:{kind}:*", count=5000))
