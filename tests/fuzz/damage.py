"""Strategies of damaged files: valid JSON documents and bytes with a few places changed."""

from __future__ import annotations

import copy
import json
from typing import Any

from hypothesis import strategies as st

SCALARS = (
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.text(max_size=20)
    | st.sampled_from(["", ".", "..", "/", "a/b", "\x00", "x" * 5000, -1, 2**63, 10**30, 10**400])
)
VALUES = st.recursive(
    SCALARS,
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=9), inner, max_size=3)
    ),
    max_leaves=6,
)


@st.composite
def damaged(draw: st.DrawFn, document: dict[str, Any]) -> dict[str, Any]:
    """``document`` with one to three of its places removed, replaced or added."""
    changed = copy.deepcopy(document)
    for _ in range(draw(st.integers(1, 3))):
        _damage(draw, changed)
    return changed


def _damage(draw: st.DrawFn, container: Any) -> None:
    """Change one place inside of ``container``; a short list is as likely as a long one."""
    keys = list(container if isinstance(container, dict) else range(len(container)))
    if not keys:
        return
    key = draw(st.sampled_from(keys))
    value = container[key]
    inside = isinstance(value, dict | list) and bool(value)
    match draw(st.sampled_from(["inside"] * 6 * inside + ["scale", "replace", "remove", "add"])):
        case "inside":
            _damage(draw, value)
        case "scale" if isinstance(value, int | float):
            container[key] = value * draw(st.sampled_from([-1, 0, 2, 10**6, 10**12]))
        case "remove":
            del container[key]
        case "add" if isinstance(container, dict):
            container[draw(st.text(max_size=9))] = draw(VALUES)
        case _:
            container[key] = draw(VALUES)


@st.composite
def damaged_bytes(draw: st.DrawFn, content: bytes) -> bytes:
    """``content`` with one to three slices removed, replaced or added."""
    for _ in range(draw(st.integers(1, 3))):
        start = draw(st.integers(0, len(content)))
        end = min(len(content), start + draw(st.integers(0, 8)))
        content = content[:start] + draw(st.binary(max_size=8)) + content[end:]
    return content


def damaged_json(document: dict[str, Any]) -> st.SearchStrategy[bytes]:
    """JSON of a damaged document, or damaged JSON of the document, or any bytes."""
    return (
        damaged(document).map(lambda changed: json.dumps(changed).encode())
        | damaged_bytes(json.dumps(document).encode())
        | st.binary(max_size=200)
    )
