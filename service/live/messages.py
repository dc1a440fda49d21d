"""The wire format of live changes, with its documentation."""

from __future__ import annotations

import re
from typing import Annotated, Any, TypeVar

import msgspec
from msgspec import Meta, Raw, Struct

from service.contract.attributes import ATTRIBUTES
from service.contract.keys import MAX_ID_CHARS
from service.contract.records import MAX_VALUE
from service.contract.titles import ADDRESS, MAX_TITLE_CHARS
from service.errors import InvalidRequestError, printable

MAX_ITEMS = 1000  # of one request: as many as a publication writes and announces at once

T = TypeVar("T")

ItemId = Annotated[
    str,
    Meta(
        min_length=1,
        max_length=MAX_ID_CHARS,
        description="The item; an id without control characters.",
        examples=["i0999"],
    ),
]
_Address = Annotated[
    str, Meta(extra_json_schema={"pattern": f"^({ADDRESS.pattern})?$"}, examples=["/p/7.jpg"])
]
# By name: each value is decoded alone, so that an error can name it.
_Vectors = Annotated[
    dict[str, Raw],
    Meta(
        description="The item's vector of each modality, by name. A model ranks the item without "
        "those that are left out.",
        examples=[{"content": [0.12, -0.4]}],
    ),
]
_Proxies = Annotated[
    dict[str, Raw],
    Meta(
        description="Values of proxies by name: a number, or a category's name; null: unknown. "
        "Those that are left out stay as they are.",
        examples=[{"clicks_7d": 12}],
    ),
]
_Attributes = Annotated[
    dict[str, Raw],
    Meta(
        description="Values of item attributes by column, for models that have them: a number or a "
        "text; null: unknown, as one that is left out. They become the modality `attributes`.",
        examples=[{"genre": "drama", "length_s": 42}],
    ),
]
_NUMBER = {"type": "number", "minimum": -MAX_VALUE, "maximum": MAX_VALUE}
_SCHEMAS = {  # of the values that are decoded alone
    "vectors": {"type": "array", "items": _NUMBER, "minItems": 1},
    "attributes": {"type": ["number", "string", "null"]},
    "proxies": {"type": ["number", "string", "null"]},
}


class PutItem(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """An item as it will be, except for proxies that are left out."""

    item_id: ItemId
    title: Annotated[
        Annotated[str, Meta(max_length=MAX_TITLE_CHARS)] | None,
        Meta(description="What people see. Omitted: the id.", examples=["A red coat"]),
    ] = None
    picture: Annotated[
        _Address | None,
        Meta(description="Address of its picture: https://..., or a path from /."),
    ] = None
    link: Annotated[
        _Address | None, Meta(description="Address of its page: https://..., or a path from /.")
    ] = None
    vectors: _Vectors = {}
    attributes: _Attributes = {}
    proxies: _Proxies = {}


class MoveProxies(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """New values of an item's proxies."""

    item_id: ItemId
    proxies: Annotated[_Proxies, Meta(min_length=1)]


class PutItemsRequest(Struct, frozen=True, forbid_unknown_fields=True):
    """The items to put."""

    items: Annotated[
        list[PutItem],
        Meta(min_length=1, max_length=MAX_ITEMS, description="Items, each once."),
    ]


class MoveProxiesRequest(Struct, frozen=True, forbid_unknown_fields=True):
    """The proxies to change."""

    items: Annotated[
        list[MoveProxies],
        Meta(min_length=1, max_length=MAX_ITEMS, description="Items, each once."),
    ]


class RemoveItemsRequest(Struct, frozen=True, forbid_unknown_fields=True):
    """The items to remove."""

    item_ids: Annotated[
        list[ItemId],
        Meta(min_length=1, max_length=MAX_ITEMS, description="Items, each once."),
    ]


class ItemsChanged(Struct, kw_only=True):
    """A live change that every replica follows."""

    request_id: Annotated[str, Meta(description="The request's id.", examples=["b7e2"])]
    models: Annotated[
        list[str],
        Meta(description="The versions whose records were changed.", examples=[["cp2rec@1"]]),
    ]
    changed: Annotated[int, Meta(description="Items put, changed or removed.", examples=[1])]
    unknown: Annotated[
        list[str],
        Meta(
            description="Items that no catalogue lists: for them, nothing was done.", examples=[[]]
        ),
    ]


class UserDeleted(Struct, kw_only=True):
    """What the store held of a user, now deleted."""

    request_id: Annotated[str, Meta(description="The request's id.", examples=["b7e2"])]
    records: Annotated[int, Meta(description="User records, one a model's space.", examples=[1])]
    histories: Annotated[int, Meta(description="Stored histories: 0 or 1.", examples=[1])]
    tradeoffs: Annotated[int, Meta(description="Tradeoffs of their own: 0 or 1.", examples=[0])]
    decisions: Annotated[int, Meta(description="Decisions that waited in streams.", examples=[3])]
    events: Annotated[int, Meta(description="Events that waited in streams.", examples=[5])]


class _Many(Struct, frozen=True, forbid_unknown_fields=True):
    """A request before its items are decoded, one by one: so, no large body is one long step."""

    items: Annotated[list[Raw], Meta(min_length=1, max_length=MAX_ITEMS)]


_many = msgspec.json.Decoder(_Many)
_removal = msgspec.json.Decoder(RemoveItemsRequest)
_put = msgspec.json.Decoder(PutItem)
_move = msgspec.json.Decoder(MoveProxies)
_vector = msgspec.json.Decoder(list[float])
_value: msgspec.json.Decoder[Any] = msgspec.json.Decoder(float | str | None)
# How the decoder's messages name the field at fault: "... - at `$.items[3]`".
_UNKNOWN_OR_MISSING = re.compile(r"field `(.+?)`")
_PLACE = re.compile(r"`\$\.?([^`]*)`$")
_INDEX = re.compile(r"\[(\d+)\]")


def put_items(body: bytes) -> list[PutItem]:
    """Return the items of ``PUT /items``; raises InvalidRequestError."""
    items = _distinct(_items(body, _put))
    for number, item in enumerate(items):
        if item.attributes and ATTRIBUTES in item.vectors:
            raise refusal(f"items.{number}.attributes", "stand in vectors too: leave one out")
        for name in ("picture", "link"):
            address = getattr(item, name)
            if address and not ADDRESS.fullmatch(address):
                reason = "is no address: write https://... or a path that begins with /"
                raise refusal(f"items.{number}.{name}", f"{address!r} {reason}")
    return items


def moved_proxies(body: bytes) -> list[MoveProxies]:
    """Return the items of ``PATCH /items/proxies``; raises InvalidRequestError."""
    return _distinct(_items(body, _move))


def removed_ids(body: bytes) -> list[str]:
    """Return the items of ``DELETE /items``; raises InvalidRequestError."""
    item_ids = _decoded(_removal, body, "").item_ids
    _check_ids([(f"item_ids.{n}", item_id) for n, item_id in enumerate(item_ids)])
    return item_ids


def check_user_id(user_id: str) -> None:
    """Refuse an id that no ranking can name."""
    if not 1 <= len(user_id) <= MAX_ID_CHARS:
        raise refusal("user_id", f"has {len(user_id)} characters, not 1 to {MAX_ID_CHARS}")


def vector(raw: Raw, place: str) -> list[float]:
    """Return the numbers of a vector; raises InvalidRequestError naming the ``place``."""
    return _decoded(_vector, raw, place)


def scalar(raw: Raw, place: str) -> float | str | None:
    """Return the value of a proxy or an attribute; raises InvalidRequestError."""
    value: float | str | None = _decoded(_value, raw, place)
    return value


def schemas(ref_template: str) -> dict[str, Any]:
    """Return the JSON schemas of requests and answers and their parts, by name."""
    types = [
        PutItemsRequest,
        MoveProxiesRequest,
        RemoveItemsRequest,
        ItemsChanged,
        UserDeleted,
    ]
    _, found = msgspec.json.schema_components(types, ref_template=ref_template)
    for schema in found.values():
        for name, of_values in _SCHEMAS.items():
            if name in schema["properties"]:
                schema["properties"][name]["additionalProperties"] = of_values
    return found


_Item = TypeVar("_Item", PutItem, MoveProxies)


def _items(body: bytes, decoder: msgspec.json.Decoder[_Item]) -> list[_Item]:
    raws = _decoded(_many, body, "").items
    return [_decoded(decoder, raw, f"items.{number}") for number, raw in enumerate(raws)]


def _distinct(items: list[_Item]) -> list[_Item]:
    _check_ids([(f"items.{n}.item_id", item.item_id) for n, item in enumerate(items)])
    return items


def _check_ids(ids: list[tuple[str, str]]) -> None:
    """Refuse what a dataset folder refuses: control characters, and an id that occurs twice."""
    seen = set[str]()
    for place, item_id in ids:
        if re.search(r"[\x00-\x1f\x7f]", item_id):
            raise refusal(place, f"{item_id!r} has a control character: remove it")
        if item_id in seen:
            raise refusal(place, f"{item_id!r} occurs twice: name it once")
        seen.add(item_id)


def refusal(field: str, reason: str) -> InvalidRequestError:
    """Return the error of one field."""
    return InvalidRequestError(f"{field}: {reason}", field=field)


def _decoded(decoder: msgspec.json.Decoder[T], content: bytes | Raw, place: str) -> T:
    """Decode a part of the body that stands at ``place``, "" for the whole."""
    try:
        return decoder.decode(content)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        reason, _, path = printable(str(error)).partition(" - at ")
        match = _UNKNOWN_OR_MISSING.search(reason) or _PLACE.search(path)
        inner = _INDEX.sub(r".\1", match[1]).strip(".") if match else ""
        raise refusal(".".join(filter(None, (place, inner))) or "body", reason) from error
