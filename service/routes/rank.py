"""``POST /rank``."""

from __future__ import annotations

from typing import Any

import orjson
from fastapi import APIRouter, Request, Response
from pydantic import ValidationError

from service.errors import InvalidRequestError
from service.ranker import Ranker
from service.schemas import ErrorResponse, RankRequest, RankResponse

router = APIRouter(tags=["ranking"])

_ERRORS: dict[int | str, dict[str, Any]] = {
    404: {"model": ErrorResponse, "description": "The model is not loaded."},
    413: {"model": ErrorResponse, "description": "The body is too long."},
    422: {"model": ErrorResponse, "description": "A field does not hold; `field` names it."},
    503: {"model": ErrorResponse, "description": "No model can serve yet."},
}


# The body is read and the response written by hand: FastAPI's own handling of both would cost
# more than the ranking. The schemas below keep the documentation true; a test compares the two.
@router.post(
    "/rank",
    summary="Rank items for a user at a tradeoff",
    response_class=Response,
    responses={200: {"model": RankResponse, "description": "The ranking."}, **_ERRORS},
    openapi_extra={
        "requestBody": {
            "required": True,
            "content": {"application/json": {"schema": RankRequest.model_json_schema()}},
        }
    },
)
async def rank(request: Request) -> Response:
    """Rank the candidates, or the whole catalogue, at the request's place on the front."""
    ranker: Ranker = request.app.state.ranker
    body = parse(await request.body())
    request.state.request_id = body.request_id or request.state.request_id
    ranking = await ranker.rank(body, request.state.request_id)
    return Response(orjson.dumps(ranking), media_type="application/json")


def parse(body: bytes) -> RankRequest:
    """Return the validated request; raises InvalidRequestError naming the first bad field."""
    try:
        return RankRequest.model_validate_json(body)
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        field = ".".join(map(str, first["loc"])) or "body"
        raise InvalidRequestError(f"{field}: {first['msg']}", field=field) from error
