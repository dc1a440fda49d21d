"""Live changes of items: ``PUT /items``, ``DELETE /items``, ``PATCH /items/proxies``."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

import msgspec
from fastapi import APIRouter, Request, Response

from service.access.guard import ITEMS, PROXIES
from service.api.messages import ErrorResponse
from service.live import messages
from service.live.changes import LiveChanges
from service.ranking.turns import TurnQueue

_SCHEMA_REF = "#/components/schemas/{name}"

_encoder = msgspec.json.Encoder()

ERRORS: dict[int | str, dict[str, Any]] = {
    422: {"model": ErrorResponse, "description": "A field is not valid; `field` names it."},
    503: {
        "model": ErrorResponse,
        "description": "`publishing`: another program publishes these records. `overloaded`: too "
        "many changes wait. `store_unavailable`, `not_ready`: no store or no model. "
        "`Retry-After` is the time to wait, in seconds.",
    },
}

router = APIRouter(tags=["live changes"])


def content_of(name: str) -> dict[str, Any]:
    """Return the JSON content whose schema ``add_schemas`` adds under ``name``."""
    return {"application/json": {"schema": {"$ref": _SCHEMA_REF.format(name=name)}}}


def _documented(request: str) -> dict[str, Any]:
    """Return the documentation of a route that takes a ``request``."""
    answer = {"description": "It is written.", "content": content_of("ItemsChanged")}
    return {
        "response_class": Response,
        "responses": {200: answer, **ERRORS},
        "openapi_extra": {"requestBody": {"required": True, "content": content_of(request)}},
    }


@router.put(ITEMS, summary="Put items", **_documented("PutItemsRequest"))
async def put_items(request: Request) -> Response:
    """Write items for every loaded model: new ones join, others are replaced.

    All items are written, or none. Rankings of every replica follow within a second.
    """
    return await changed(request, _changes(request).put)


@router.delete(ITEMS, summary="Remove items", **_documented("RemoveItemsRequest"))
async def remove_items(request: Request) -> Response:
    """Remove items from the catalogue of every loaded model.

    Rankings of every replica follow within a second.
    """
    return await changed(request, _changes(request).remove)


@router.patch(PROXIES, summary="Change proxies", **_documented("MoveProxiesRequest"))
async def move_proxies(request: Request) -> Response:
    """Set proxies of items; those that are left out stay as they are.

    All are set, or none. Rankings of every replica follow within a second.
    """
    return await changed(request, _changes(request).move_proxies)


async def changed(
    request: Request,
    change: Callable[[bytes, str], Awaitable[msgspec.Struct]],
    turns: TurnQueue | None = None,
) -> Response:
    """Answer with what ``change`` returns for the body and the request's id, once it has a turn."""
    body = await request.body()
    async with (turns or request.app.state.live_turns).turn():
        answer = await change(body, request.scope["state"]["request_id"])
    return Response(_encoder.encode(answer), media_type="application/json")


def add_schemas(document: dict[str, Any]) -> None:
    """Add to the OpenAPI ``document`` the schemas that the routes refer to."""
    document["components"]["schemas"].update(messages.schemas(_SCHEMA_REF))


def _changes(request: Request) -> LiveChanges:
    changes: LiveChanges = request.app.state.live_changes
    return changes
