"""Ids in the paths of routes."""

from __future__ import annotations

from starlette.convertors import Convertor, register_url_convertor


class _AnyText(Convertor[str]):
    """Any text; the framework's own ``path`` ends at a line feed."""

    regex = r"[\s\S]*"

    def convert(self, value: str) -> str:
        """Return the id."""
        return value

    def to_string(self, value: str) -> str:
        """Return the part of a path."""
        return value


ID = "id"  # as in "/users/{user_id:id}": an id may contain slashes
register_url_convertor(ID, _AnyText())
