"""JSON schemas as Markdown: one table of fields for each object."""

from __future__ import annotations

import html
import re
from collections.abc import Callable, Iterable
from typing import Any

Schema = dict[str, Any]
Link = Callable[[str], str]

# A unit, and the keys of its inclusive bounds.
_COUNTS = (
    ("characters", "minLength", "maxLength"),
    ("entries", "minItems", "maxItems"),
    ("entries", "minProperties", "maxProperties"),
)


def here(name: str) -> str:
    """Return a link to the section of ``name`` on the same page."""
    return f"[{name}](#{name.lower()})"


def cell(text: str) -> str:
    """Return ``text`` as it may stand in a cell of a table."""
    return re.sub(r"\s+", " ", text).strip().replace("``", "`").replace("|", "\\|")


def code(text: str) -> str:
    """Return ``text`` as code that may stand in a cell of a table."""
    if "|" not in text:
        return f"`{text}`" if text else ""
    return f"<code>{html.escape(text).replace('|', '&#124;')}</code>"


def table(head: str, rows: Iterable[tuple[str, ...]]) -> str:
    """Return a Markdown table, without columns that are empty in every row.

    ``head`` names the columns, separated by commas.
    """
    columns = list(zip(head.split(", "), *rows, strict=True))
    filled = [(name, "---", *cells) for name, *cells in columns if any(cells)]
    return "".join(f"| {' | '.join(line)} |\n" for line in zip(*filled, strict=True))


def fields(schema: Schema, link: Link = here) -> str:
    """Return the table of an object's properties; a required one has no default."""
    required = schema.get("required", [])
    return table(
        "field, type, default, description",
        (
            (
                f"`{name}`",
                type_of(field, link),
                _default(field, required=name in required),
                cell(field.get("description", "")),
            )
            for name, field in schema.get("properties", {}).items()
        ),
    )


def definition(name: str, schema: Schema, link: Link = here) -> str:
    """Return the section of one named schema: its description and fields."""
    text = f"\n### {name}\n\n{cell(schema.get('description', ''))}\n".replace("\n\n\n", "\n")
    if "properties" in schema:
        return f"{text}\n{fields(schema, link)}"
    return f"{text}\n{type_of(schema, link)}.\n"


def type_of(schema: Schema, link: Link = here) -> str:
    """Return the type of a value in words, with its bounds."""
    if "$ref" in schema:
        return link(schema["$ref"].rsplit("/", 1)[1])
    if choices := schema.get("anyOf") or schema.get("oneOf"):
        types = dict.fromkeys(type_of(choice, link) for choice in choices)
        return " or ".join(name for name in types if name != "null") + (
            ", or null" if "null" in types else ""
        )
    if values := [schema["const"]] if "const" in schema else schema.get("enum"):
        return ", ".join(f"`{value}`" for value in values)
    pattern = code(schema.get("pattern", ""))
    bounds = " ".join(filter(None, (_interval(schema), _count(schema), pattern)))
    kind = _kind(schema, link)
    return f"{kind}, {bounds}" if bounds else kind


def _interval(schema: Schema) -> str:
    low, high = schema.get("minimum"), schema.get("maximum")
    above, below = schema.get("exclusiveMinimum"), schema.get("exclusiveMaximum")
    ends = [
        f"{sign} {end}" if isinstance(end, int) else f"{sign} {end:g}"
        for sign, end in ((">=", low), (">", above), ("<=", high), ("<", below))
        if end is not None
    ]
    return " and ".join(ends)


def _count(schema: Schema) -> str:
    for unit, least, most in _COUNTS:
        low, high = schema.get(least), schema.get(most)
        if low is not None and high is not None:
            return f"{low} to {high} {unit}" if low != high else f"{low} {unit}"
        if low is not None:
            return f"at least {low} {unit}"
        if high is not None:
            return f"at most {high} {unit}"
    return ""


def _kind(schema: Schema, link: Link) -> str:
    kind = schema.get("type", "any")
    if kind == "array":
        if entries := schema.get("prefixItems"):
            return f"[{', '.join(type_of(entry, link) for entry in entries)}]"
        entry = type_of(schema.get("items", {}), link)
        return f"list of ({entry})" if "," in entry else f"list of {entry}"
    values = schema.get("additionalProperties")
    if kind == "object" and isinstance(values, dict):
        return f"object of {type_of(values, link)}"
    return str(schema.get("format", kind))


def _default(field: Schema, *, required: bool) -> str:
    if required:
        return "required"
    value = field.get("default")
    if value is None:
        return ""
    text = str(value).lower() if isinstance(value, bool) else str(value)
    return f"`{text}`"
