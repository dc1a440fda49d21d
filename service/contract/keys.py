"""Names of the Redis keys. A space is a name from the manifest's ``spaces``."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from service.contract.manifest import Spaces

MAX_ID_CHARS = 128


@dataclass(frozen=True)
class Keys:
    """The keys of one model under one namespace.

    Changes are announced on one stream for items and one for proxies, because proxies are
    written once and shared by all models that use the same ones.

    A cluster spreads records by the whole of their key; what is read or written together besides
    lies in one slot, by the tag in braces.
    """

    namespace: str
    spaces: Spaces

    def user(self, user_id: str) -> str:
        """Return the key of a user record."""
        return f"{self.namespace}:{self.spaces.users}:u:{user_id}"

    def items(self, item_ids: Sequence[str]) -> list[str]:
        """Return the keys of item records."""
        prefix = f"{self.namespace}:{self.spaces.items}:i:"
        return [prefix + item_id for item_id in item_ids]

    def proxies(self, item_ids: Sequence[str]) -> list[str]:
        """Return the keys of proxy records."""
        prefix = f"{self.namespace}:{self.spaces.proxies}:p:"
        return [prefix + item_id for item_id in item_ids]

    @property
    def catalog(self) -> str:
        """The set of all item ids of the space: what a request without candidates ranks."""
        return f"{{{self.namespace}}}:{self.spaces.items}:catalog"

    def published(self, space: str) -> str:
        """Return the hash that tells a publisher which of its batches ``space`` already holds."""
        return f"{{{self.namespace}}}:{space}:published"

    @property
    def item_changes(self) -> str:
        """The stream that names changed items, field ``ids``: ids joined by newlines."""
        return f"{{{self.namespace}}}:{self.spaces.items}:changes"

    @property
    def proxy_changes(self) -> str:
        """The stream that names items whose proxies changed, laid out like ``item_changes``."""
        return f"{{{self.namespace}}}:{self.spaces.proxies}:proxy-changes"
