"""A user's own tradeoff: ``PUT``, ``GET`` and ``DELETE /users/{user_id}/tradeoff``."""

from __future__ import annotations

from typing import Annotated, Any

import msgspec
from fastapi import APIRouter, Request, Response
from msgspec import Meta, Struct

from service.api.messages import ErrorResponse
from service.api.rank import invalid
from service.api.users import PATH as USER
from service.api.users import ROUTE, UserId
from service.errors import RouteNotFoundError
from service.live.messages import check_user_id
from service.store.user_tradeoffs import UserTradeoffs

PATH = f"{USER}/tradeoff"
_ROUTE = f"{ROUTE}/tradeoff"
_SCHEMA_REF = "#/components/schemas/{name}"

router = APIRouter(tags=["ranking"])


class TradeoffBody(Struct, frozen=True, forbid_unknown_fields=True):
    """What a user chose."""

    tradeoff: Annotated[
        float,
        Meta(ge=0, le=1, description="0 = debiased, 1 = logged.", examples=[0.3]),
    ]


class UserTradeoff(Struct):
    """A user's own tradeoff after the request."""

    request_id: Annotated[str, Meta(description="The request's id.", examples=["b7e2"])]
    tradeoff: Annotated[
        float | None, Meta(description="null: the user has none of their own.", examples=[0.3])
    ]


_decoder = msgspec.json.Decoder(TradeoffBody)
_encoder = msgspec.json.Encoder()


def _content(of: type) -> dict[str, Any]:
    return {"application/json": {"schema": {"$ref": _SCHEMA_REF.format(name=of.__name__)}}}


_RESPONSES: dict[int | str, dict[str, Any]] = {
    200: {"description": "The user's tradeoff now.", "content": _content(UserTradeoff)},
    404: {"model": ErrorResponse, "description": "Users have no tradeoffs in this service."},
    422: {"model": ErrorResponse, "description": "A field is not valid; `field` names it."},
    503: {
        "model": ErrorResponse,
        "description": "`store_unavailable`: try again after `Retry-After` seconds.",
    },
}


@router.put(
    _ROUTE,
    summary="Set a user's tradeoff",
    response_class=Response,
    responses=_RESPONSES,
    openapi_extra={"requestBody": {"required": True, "content": _content(TradeoffBody)}},
)
async def put_tradeoff(request: Request, user_id: UserId) -> Response:
    """Keep a tradeoff for the user's rankings whose requests name none."""
    tradeoffs = _tradeoffs(request, user_id)
    try:
        tradeoff = _decoder.decode(await request.body()).tradeoff
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise invalid(error) from error
    await tradeoffs.put(user_id, tradeoff)
    return _answer(request, tradeoff)


@router.get(_ROUTE, summary="A user's tradeoff", response_class=Response, responses=_RESPONSES)
async def get_tradeoff(request: Request, user_id: UserId) -> Response:
    """Return the tradeoff that is kept for a user; an unknown user is no error."""
    return _answer(request, await _tradeoffs(request, user_id).get(user_id))


@router.delete(
    _ROUTE, summary="Forget a user's tradeoff", response_class=Response, responses=_RESPONSES
)
async def delete_tradeoff(request: Request, user_id: UserId) -> Response:
    """Forget the tradeoff that is kept for a user; an unknown user is no error."""
    await _tradeoffs(request, user_id).delete(user_id)
    return _answer(request, None)


def add_schemas(document: dict[str, Any]) -> None:
    """Add to the OpenAPI ``document`` the schemas that the routes refer to."""
    _, schemas = msgspec.json.schema_components(
        [TradeoffBody, UserTradeoff], ref_template=_SCHEMA_REF
    )
    document["components"]["schemas"].update(schemas)


def _tradeoffs(request: Request, user_id: str) -> UserTradeoffs:
    """Return the store of users' tradeoffs; raises RankError for a request that it cannot serve."""
    request.scope["state"]["route"] = PATH
    tradeoffs: UserTradeoffs | None = request.app.state.user_tradeoffs
    if tradeoffs is None:
        raise RouteNotFoundError("users have no tradeoffs here: set RANK_USER_TRADEOFFS=true")
    check_user_id(user_id)
    return tradeoffs


def _answer(request: Request, tradeoff: float | None) -> Response:
    answer = UserTradeoff(request.scope["state"]["request_id"], tradeoff)
    return Response(_encoder.encode(answer), media_type="application/json")
