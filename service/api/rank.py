"""``POST /rank``."""

from __future__ import annotations

import re
from typing import Any

import msgspec
import orjson
from fastapi import APIRouter, Request, Response
from starlette.requests import ClientDisconnect
from starlette.types import ASGIApp, Receive, Scope, Send

from service.api.messages import ErrorResponse
from service.errors import InvalidRequestError
from service.ranking.messages import RankRequest, RankResponse, request_schema

PATH = "/rank"

router = APIRouter(tags=["ranking"])

_decoder = msgspec.json.Decoder(RankRequest)
# How the decoder's messages name what is at fault: "... - at `$.candidates[3]`".
_UNKNOWN_OR_MISSING = re.compile(r"field `(.+)`$")
_PLACE = re.compile(r"`\$\.([^`]+)`$")
_INDEX = re.compile(r"\[(\d+)\]")

_ERRORS: dict[int | str, dict[str, Any]] = {
    404: {"model": ErrorResponse, "description": "The model is not loaded."},
    413: {"model": ErrorResponse, "description": "The body is too long."},
    422: {"model": ErrorResponse, "description": "A field does not hold; `field` names it."},
    503: {
        "model": ErrorResponse,
        "description": "No model can serve yet, or `overloaded`: too many rankings of a whole "
        "large catalogue wait already.",
    },
}


# The body is read and the response written by hand: FastAPI's own handling of both would cost
# more than the ranking. The schemas below keep the documentation true; a test compares the two.
@router.post(
    PATH,
    summary="Rank items for a user at a tradeoff",
    response_class=Response,
    responses={200: {"model": RankResponse, "description": "The ranking."}, **_ERRORS},
    openapi_extra={
        "requestBody": {
            "required": True,
            "content": {"application/json": {"schema": request_schema()}},
        }
    },
)
async def rank(request: Request) -> Response:
    """Rank the candidates, or the whole catalogue, at the request's place on the front."""
    answer = await _answer(request.scope, await request.body())
    return Response(answer, media_type="application/json")


class DirectRank:
    """Answers ``POST /rank`` itself, ahead of FastAPI's routing, and passes on all else.

    FastAPI's layers cost more than ranking a hundred items does. They still serve the route above
    wherever this one does not match, such as under a root path.
    """

    def __init__(self, others: ASGIApp, envelope: Any) -> None:
        self._others = others
        self._rank: ASGIApp = envelope(self._serve)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request."""
        if scope["type"] == "http" and scope["path"] == PATH and scope["method"] == "POST":
            await self._rank(scope, receive, send)
        else:
            await self._others(scope, receive, send)

    async def _serve(self, scope: Scope, receive: Receive, send: Send) -> None:
        scope["state"]["route"] = PATH
        answer = await _answer(scope, await _body(receive))
        headers = [
            (b"content-length", str(len(answer)).encode()),
            (b"content-type", b"application/json"),
        ]
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        await send({"type": "http.response.body", "body": answer})


def parse(body: bytes) -> RankRequest:
    """Return the validated request; raises InvalidRequestError naming the first bad field."""
    try:
        return _decoder.decode(body)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        what, _, place = str(error).partition(" - at ")
        named = _UNKNOWN_OR_MISSING.search(what) or _PLACE.search(place)
        field = _INDEX.sub(r".\1", named[1]) if named else "body"
        raise InvalidRequestError(f"{field}: {what}", field=field) from error


async def _answer(scope: Scope, body: bytes) -> bytes:
    request = parse(body)
    state = scope["state"]
    state["request_id"] = request.request_id or state["request_id"]
    return orjson.dumps(await scope["app"].state.ranker.rank(request, state["request_id"]))


async def _body(receive: Receive) -> bytes:
    parts = []
    while True:
        message = await receive()
        if message["type"] == "http.disconnect":
            raise ClientDisconnect
        parts.append(message.get("body", b""))
        if not message.get("more_body", False):
            return parts[0] if len(parts) == 1 else b"".join(parts)
