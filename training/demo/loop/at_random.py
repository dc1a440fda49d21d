"""Before there is a model: a feed of random items, logged as the service would log it."""

from __future__ import annotations

import time

import numpy as np
import redis

from service.contract.feedback import (
    CLICK,
    RECORD,
    Decision,
    Event,
    decisions_key,
    encode,
    events_key,
)
from training.demo.loop.crowd import PLACES, Crowd
from training.demo.loop.figures import item_id, user_id
from training.demo.loop.place import NAMESPACE

VISITS = 4  # of each user
_PAUSE_MS = 10  # between two visits: clicks before a row are counted by the second


def show_at_random(crowd: Crowd, rng: np.random.Generator, client: redis.Redis | None) -> None:
    """Let each user visit the feed; write decisions and events to the streams of ``client``.

    Without one the crowd clicks the same, and nothing is written.
    """
    visits = VISITS * crowd.world.users
    time_ms = int(time.time() * 1000) - visits * _PAUSE_MS
    for visit in range(VISITS):
        entries = list[tuple[str, bytes, str]]()
        for user in rng.permutation(crowd.world.users).tolist():
            eligible = crowd.eligible(user, 0)
            items = rng.choice(eligible, PLACES, replace=False)
            clicked = items[crowd.visit(rng, user, items)]
            request = f"random-{visit}-{user}"
            time_ms += _PAUSE_MS
            entry_id = f"{time_ms}-*"
            decision = Decision(
                request_id=request,
                time_ms=time_ms,
                user_id=user_id(user),
                model="random@1",
                tradeoff=0.0,
                pool="catalogue",
                pool_size=len(eligible),
                item_ids=[item_id(item) for item in items],
                scores=[0.0] * PLACES,
                propensities=[1 / len(eligible)] * PLACES,
            )
            entries.append((decisions_key(NAMESPACE), encode(decision), entry_id))
            for item in clicked:
                event = Event(
                    request_id=request, item_id=item_id(item), kind=CLICK, time_ms=time_ms
                )
                entries.append((events_key(NAMESPACE), encode(event), entry_id))
        if client is not None:
            with client.pipeline(transaction=False) as pipeline:
                for stream, record, entry_id in entries:
                    pipeline.xadd(stream, {RECORD: record}, id=entry_id)
                pipeline.execute()
