"""The page's own routes: users to pick from, and a ranking with the popularity of its items."""

from __future__ import annotations

import msgspec
import numpy as np
from fastapi import APIRouter, Request, Response
from msgspec import Struct

from service.access.guard import EXPLORER_RANK, EXPLORER_START
from service.api.explorer.page import add_page
from service.api.rank import ranked
from service.contract.measures import in_tail
from service.models.loaded_model import LoadedModel
from service.models.registry import Registry
from service.ranking.messages import RankResponse
from service.store.records import RedisStore

_USERS = 20

router = APIRouter(include_in_schema=False)
add_page(router)

_encoder = msgspec.json.Encoder()


class Start(Struct):
    """What the page cannot know by itself.

    ``users``: some users with a record, in order. ``rank_port``: the port of ``POST /rank``, None
    where it is the page's own.
    """

    users: list[str]
    rank_port: int | None


class Explored(Struct):
    """A ranking and the popularity of its K items.

    ``percentiles`` (K,) are the items' percentiles of training clicks, 0 for an item without any.
    ``popularity_percentile`` is their mean, ``tail_share`` the share of the long tail, both over
    the items with a record. None where the artifact has no bias reference or no item has a record.
    """

    ranking: RankResponse
    percentiles: list[float] | None = None
    popularity_percentile: float | None = None
    tail_share: float | None = None


@router.get(EXPLORER_START)
async def start(request: Request, model: str | None = None) -> Response:
    """Return a few users of a model."""
    state = request.app.state
    registry: Registry = state.registry
    store: RedisStore = state.store
    users = await store.some_users(registry.resolve(model).keys, _USERS)
    return _json(Start(users, state.rank_port))


@router.post(EXPLORER_RANK)
async def rank(request: Request) -> Response:
    """Rank like ``POST /rank``, which counts what users see: this ranking is not counted."""
    ranking = await ranked(request.scope, await request.body(), counted=False)
    return _json(_explored(request.app.state.registry.resolve(ranking.model), ranking))


def _explored(model: LoadedModel, ranking: RankResponse) -> Explored:
    items = msgspec.to_builtins(ranking.items)
    if isinstance(items, dict):
        ids, statuses = items["item_ids"], items["status"]
    else:
        ids, statuses = [i["item_id"] for i in items], [i["status"] for i in items]
    percentiles = model.exposure.percentiles(ids)
    if percentiles is None:
        return Explored(ranking)
    explored = Explored(ranking, np.round(percentiles.astype(np.float64), 1).tolist())
    held = percentiles[np.array([status != "missing" for status in statuses], np.bool_)]
    if len(held):
        explored.popularity_percentile = float(held.mean())
        explored.tail_share = float(in_tail(held).mean())
    return explored


def _json(answer: Struct) -> Response:
    return Response(_encoder.encode(answer), media_type="application/json")
