"""``DELETE /users/{user_id}``."""

from __future__ import annotations

from typing import Annotated, Any

import msgspec
from fastapi import APIRouter, Path, Request, Response

from service.access.guard import USERS
from service.api.items import ERRORS, changed, content_of
from service.api.paths import ID
from service.contract.keys import MAX_ID_CHARS
from service.live.changes import LiveChanges
from service.ranking.turns import TurnQueue

PATH = USERS + "/{user_id}"
ROUTE = f"{USERS}/{{user_id:{ID}}}"

router = APIRouter(tags=["live changes"])

_RESPONSES: dict[int | str, dict[str, Any]] = {
    200: {"description": "It is deleted.", "content": content_of("UserDeleted")},
    **ERRORS,
}
UserId = Annotated[
    str,
    Path(
        description="The user.",
        examples=["u0007"],
        json_schema_extra={"minLength": 1, "maxLength": MAX_ID_CHARS},  # checked further down
    ),
]


@router.delete(
    ROUTE,
    summary="Delete a user",
    response_class=Response,
    responses=_RESPONSES,
)
async def delete_user(request: Request, user_id: UserId) -> Response:
    """Delete what the store holds of a user: records, history, decisions and events.

    An unknown user is no error. Publications leave the user out from now on.
    """
    state = request.scope["state"]
    state["route"] = PATH
    changes: LiveChanges = request.app.state.live_changes

    async def delete(_: bytes, request_id: str) -> msgspec.Struct:
        return await changes.delete_user(user_id, request_id)

    turns: TurnQueue = request.app.state.deletion_turns  # it may take seconds: puts go on
    return await changed(request, delete, turns)
