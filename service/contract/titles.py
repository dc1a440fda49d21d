"""What people see of an item: its title, and where to find its picture and its page.

Redis holds it as JSON beside the item's record, without what is unknown:

    {"title": "A red coat", "picture": "https://shop.example/p/7.jpg", "link": "/items/7"}
"""

from __future__ import annotations

import re
from collections.abc import Sequence

import msgspec
from msgspec import Struct

MAX_TITLE_CHARS = 500
MAX_ADDRESS_CHARS = 2000
# What a page may show or link to: no script, no data. One slash alone begins a path of the page's
# own host.
ADDRESS = re.compile(rf"(?:https?://|/(?!/))[^\s\x00-\x1f\x7f]{{0,{MAX_ADDRESS_CHARS}}}")


class ItemTitle(Struct, frozen=True, omit_defaults=True, gc=False):
    """An item as people see it; the addresses are None where they are unknown."""

    title: str
    picture: str | None = None
    link: str | None = None


_encoder = msgspec.json.Encoder()
_decoder = msgspec.json.Decoder(ItemTitle)


def encode(titles: Sequence[ItemTitle]) -> list[bytes]:
    """Pack titles into records."""
    return [_encoder.encode(title) for title in titles]


def decode(record: bytes | None) -> ItemTitle | None:
    """Unpack a record; None where there is none, or no valid one."""
    if record is None:
        return None
    try:
        return _decoder.decode(record)
    except (msgspec.DecodeError, UnicodeDecodeError):
        return None
