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

VISITS = 2  # of each user


def show_at_random(crowd: Crowd, rng: np.random.Generator, client: redis.Redis | None) -> None:
    """Let each user visit the feed; write decisions and events to the streams of ``client``.

    Without one the crowd clicks the same, and nothing is written.
    """
    now_ms = int(time.time() * 1000)
    for visit in range(VISITS):
        entries = list[tuple[str, bytes]]()
        for user in rng.permutation(crowd.world.users).tolist():
            eligible = crowd.eligible(user, 0)
            items = rng.choice(eligible, PLACES, replace=False)
            clicked = items[crowd.visit(rng, user, items)]
            request = f"random-{visit}-{user}"
            decision = Decision(
                request_id=request,
                time_ms=now_ms,
                user_id=user_id(user),
                model="random@1",
                tradeoff=0.0,
                pool="catalogue",
                pool_size=len(eligible),
                item_ids=[item_id(item) for item in items],
                scores=[0.0] * PLACES,
                propensities=[1 / len(eligible)] * PLACES,
            )
            entries.append((decisions_key(NAMESPACE), encode(decision)))
            for item in clicked:
                event = Event(
                    request_id=request, item_id=item_id(item), kind=CLICK, time_ms=now_ms + 1
                )
                entries.append((events_key(NAMESPACE), encode(event)))
        if client is not None:
            with client.pipeline(transaction=False) as pipeline:
                for stream, record in entries:
                    pipeline.xadd(stream, {RECORD: record})
                pipeline.execute()
