"""``POST /events``."""

from __future__ import annotations

import datetime as dt
import time
from typing import Annotated, Any

import msgspec
from fastapi import APIRouter, Request, Response
from msgspec import Meta, Raw, Struct

from service.api.messages import ErrorResponse
from service.api.rank import invalid
from service.contract.feedback import KINDS, Event, Id
from service.errors import InvalidRequestError
from service.exposure.event_log import EventLog

PATH = "/events"
MAX_EVENTS = 1000
_AHEAD_MS = 5 * 60_000  # how far the clock of a sender may be ahead

_SCHEMA_REF = "#/components/schemas/{name}"

router = APIRouter(tags=["feedback"])


class EventBody(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """What a user did with an item that a ranking showed."""

    request_id: Annotated[Id, Meta(description="The `request_id` of the ranking.")]
    item_id: Annotated[Id, Meta(description="The item.")]
    kind: Annotated[
        str,
        Meta(
            pattern=KINDS,
            description="view, click, or a kind of your own, such as play or like.",
            examples=["click"],
        ),
    ]
    value: Annotated[
        float, Meta(ge=-1e9, le=1e9, description="How much, such as seconds played.")
    ] = 1.0
    time: Annotated[
        Annotated[dt.datetime, Meta(tz=True)] | None,
        Meta(
            description="When, RFC 3339 with a zone, such as JavaScript's `new Date().toJSON()`. "
            "Omitted: now."
        ),
    ] = None
    user_id: Annotated[
        Id | None,
        Meta(description="The user. With it, an engagement moves the user's next rankings."),
    ] = None


class EventError(Struct):
    """An event that is not accepted."""

    index: Annotated[int, Meta(description="Its place in the list, from 0.", examples=[2])]
    field: Annotated[
        str | None, Meta(description="The field at fault; null if none is.", examples=["kind"])
    ]
    message: Annotated[
        str, Meta(description="A sentence for people.", examples=["kind: Object missing field"])
    ]


class EventsResponse(Struct):
    """Which events are accepted: all but those with an error."""

    accepted: Annotated[int, Meta(description="Events that are stored.", examples=[3])]
    errors: Annotated[list[EventError], Meta(description="Do not send these again as they are.")]


_list_decoder = msgspec.json.Decoder(
    Annotated[list[Raw], Meta(min_length=1, max_length=MAX_EVENTS)]
)
_event_decoder = msgspec.json.Decoder(EventBody)
_encoder = msgspec.json.Encoder()
_body_schema: dict[str, Any] = {
    "type": "array",
    "minItems": 1,
    "maxItems": MAX_EVENTS,
    "items": {"$ref": _SCHEMA_REF.format(name=EventBody.__name__)},
    "examples": [[{"request_id": "b7e2", "item_id": "i0002", "kind": "click"}]],
}


@router.post(
    PATH,
    summary="Send what users did with shown items",
    status_code=202,
    response_class=Response,
    responses={
        202: {
            "description": "All events but those in `errors` are stored.",
            "content": {
                "application/json": {
                    "schema": {"$ref": _SCHEMA_REF.format(name=EventsResponse.__name__)}
                }
            },
        },
        422: {"model": ErrorResponse, "description": "The body is not a list of 1 to 1,000."},
        503: {
            "model": ErrorResponse,
            "description": "The store did not take the events, or too many wait for it: send all "
            "again after `Retry-After` seconds.",
        },
    },
    openapi_extra={
        "requestBody": {"required": True, "content": {"application/json": {"schema": _body_schema}}}
    },
)
async def events(request: Request) -> Response:
    """Store events, once each however often they are sent with the same `time`.

    The type of the body does not matter: `navigator.sendBeacon` sends text/plain.
    """
    oldest_ms: int = request.app.state.event_age_ms
    now_ms = int(time.time() * 1000)
    accepted, errors = _parse(await request.body(), now_ms, oldest_ms)
    if accepted:
        event_log: EventLog = request.app.state.events
        await event_log.add(accepted)
    request.app.state.telemetry.events["refused"].inc(len(errors))
    answer = EventsResponse(len(accepted), errors)
    return Response(_encoder.encode(answer), status_code=202, media_type="application/json")


def add_schemas(document: dict[str, Any]) -> None:
    """Add to the OpenAPI ``document`` the schemas that the route refers to."""
    _, schemas = msgspec.json.schema_components(
        [EventBody, EventsResponse], ref_template=_SCHEMA_REF
    )
    document["components"]["schemas"].update(schemas)


def _parse(body: bytes, now_ms: int, age_ms: int) -> tuple[list[Event], list[EventError]]:
    """Return the valid events and the errors of the others.

    Raises InvalidRequestError if the body is not a list of the right length.
    """
    try:
        entries = _list_decoder.decode(body)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise invalid(error) from error
    accepted, errors = list[Event](), list[EventError]()
    for index, entry in enumerate(entries):
        try:
            accepted.append(_event(entry, now_ms, age_ms))
        except InvalidRequestError as error:
            errors.append(EventError(index, error.field, error.message))
    return accepted, errors


def _event(entry: Raw, now_ms: int, age_ms: int) -> Event:
    """Return the event of one entry; raises InvalidRequestError."""
    try:
        body = _event_decoder.decode(entry)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise invalid(error) from error
    time_ms = now_ms if body.time is None else round(body.time.timestamp() * 1000)
    if time_ms > now_ms + _AHEAD_MS:
        raise InvalidRequestError("time: is in the future", field="time")
    if time_ms < now_ms - age_ms:
        raise InvalidRequestError(f"time: is more than {age_ms // 1000} s ago", field="time")
    return Event(
        request_id=body.request_id,
        item_id=body.item_id,
        kind=body.kind,
        value=body.value,
        time_ms=time_ms,
        user_id=body.user_id,
    )
