"""``POST /rank``."""

from __future__ import annotations

import re
import time
from collections.abc import Callable
from typing import Any

import msgspec
from fastapi import APIRouter, Request, Response
from starlette.requests import ClientDisconnect
from starlette.types import ASGIApp, Receive, Scope, Send

from service.access.admission import Caller
from service.api.messages import ErrorResponse
from service.api.reports import Ranked
from service.errors import InvalidRequestError, printable
from service.ranking.messages import (
    RankRequest,
    RankResponse,
    request_schema,
    response_schemas,
)
from service.ranking.ranker import Ranker

PATH = "/rank"
OPERATION = "rank_rank_post"  # the route's operationId, for links of the documentation

router = APIRouter(tags=["ranking"])

_decoder = msgspec.json.Decoder(RankRequest)
_encoder = msgspec.json.Encoder()
# How the decoder's messages name the field at fault: "... - at `$.candidates[3]`".
_UNKNOWN_OR_MISSING = re.compile(r"field `(.+)`$")
_PLACE = re.compile(r"`\$\.([^`]+)`$")
_INDEX = re.compile(r"\[(\d+)\]")

_SCHEMA_REF = "#/components/schemas/{name}"
_RESPONSES: dict[int | str, dict[str, Any]] = {
    200: {
        "description": "The ranking.",
        "content": {
            "application/json": {
                "schema": {"$ref": _SCHEMA_REF.format(name=RankResponse.__name__)},
            }
        },
        "links": {
            "again": {
                "operationId": OPERATION,
                "requestBody": {
                    "model": "$response.body#/model",
                    "tradeoff": "$response.body#/tradeoff",
                },
                "description": "Rank by the same version, even if its alias moves.",
            }
        },
    },
    404: {"model": ErrorResponse, "description": "The model is not loaded."},
    422: {"model": ErrorResponse, "description": "A field is not valid; `field` names it."},
    503: {
        "model": ErrorResponse,
        "description": "No model serves yet, or `overloaded`: too many rankings "
        "wait. `Retry-After` is the time to wait, in seconds.",
    },
}


# msgspec reads the body and writes the response: FastAPI's own handling of both would cost more
# than the ranking. The documentation comes from the same definitions.
@router.post(
    PATH,
    operation_id=OPERATION,
    summary="Rank items for a user at a tradeoff",
    response_class=Response,
    responses=_RESPONSES,
    openapi_extra={
        "requestBody": {
            "required": True,
            "content": {"application/json": {"schema": request_schema()}},
        }
    },
)
async def rank(request: Request) -> Response:
    """Rank the candidates, or the whole catalogue, at the request's tradeoff."""
    answer = await _answer(request.scope, await request.body())
    return Response(answer, media_type="application/json")


def add_schemas(document: dict[str, Any]) -> None:
    """Add to the OpenAPI ``document`` the schemas that the route's responses refer to."""
    document["components"]["schemas"].update(response_schemas(_SCHEMA_REF))


class FastPath:
    """ASGI application that answers ``POST /rank``; FastAPI answers all other requests.

    FastAPI's layers cost more than ranking a hundred items.
    """

    def __init__(
        self, fastapi: ASGIApp, middleware: Callable[[ASGIApp], ASGIApp], root_path: str = ""
    ) -> None:
        self._fastapi = fastapi
        self._paths = frozenset({PATH, root_path + PATH})  # a proxy may leave out the root path
        self._rank = middleware(self._serve)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request."""
        if scope["type"] == "http" and scope["path"] in self._paths and scope["method"] == "POST":
            await self._rank(scope, receive, send)
            return
        if scope["type"] == "http" and scope["method"] == "HEAD":
            scope = {**scope, "method": "GET"}  # the server leaves out the answer's body
        await self._fastapi(scope, receive, send)

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
        raise invalid(error) from error


def invalid(error: Exception) -> InvalidRequestError:
    """Return the decoder's error as one that names the field at fault."""
    reason, _, place = printable(str(error)).partition(" - at ")
    names = [
        found[1] for found in (_PLACE.search(place), _UNKNOWN_OR_MISSING.search(reason)) if found
    ]
    field = _INDEX.sub(r".\1", ".".join(names)) or "body"
    return InvalidRequestError(f"{field}: {reason}", field=field)


async def _answer(scope: Scope, body: bytes) -> bytes:
    """Return the JSON of the ranking that ``body`` asks for."""
    return _encoder.encode(await ranked(scope, body))


async def ranked(scope: Scope, body: bytes, *, counted: bool = True) -> RankResponse:
    """Return the ranking that ``body`` asks for, once it has a turn.

    counted: whether the exposure monitor counts it. What no user sees is no exposure.
    """
    state = scope["state"]
    caller = Caller(scope["app"].state.admission, state, len(body))
    await caller.turn()
    request = parse(body)
    state["request_id"] = request.request_id or state["request_id"]
    ranker: Ranker = scope["app"].state.ranker
    response = await ranker.rank(request, state["request_id"], caller, counted=counted)
    state["ranked"] = Ranked(request, response, time.perf_counter())
    return response


async def _body(receive: Receive) -> bytes:
    """Return the whole body; raises ClientDisconnect if the client leaves before its end."""
    chunks = []
    while True:
        message = await receive()
        if message["type"] == "http.disconnect":
            raise ClientDisconnect
        chunks.append(message.get("body", b""))
        if not message.get("more_body", False):
            return chunks[0] if len(chunks) == 1 else b"".join(chunks)
