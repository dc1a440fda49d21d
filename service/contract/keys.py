"""Names of the Redis keys. A space is one of the manifest's ``spaces``."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from service.contract.manifest import Spaces

MAX_ID_CHARS = 128


@dataclass(frozen=True)
class Keys:
    """The keys of one model under one namespace.

    Items and proxies have separate change streams: models with the same proxies share these, so
    that they are written and announced once.

    A cluster spreads records over its nodes by their whole key. The other keys of a namespace are
    in one slot, by the tag in braces, so that one transaction can write several of them.
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
        """The set of all item ids of the space: the catalogue."""
        return f"{{{self.namespace}}}:{self.spaces.items}:catalog"

    def published(self, space: str) -> str:
        """Return the hash that marks the batches already published to ``space``."""
        return f"{{{self.namespace}}}:{space}:published"

    @property
    def item_changes(self) -> str:
        """The stream of changed items; newlines separate the ids in its field ``ids``."""
        return f"{{{self.namespace}}}:{self.spaces.items}:changes"

    @property
    def proxy_changes(self) -> str:
        """The stream of items with changed proxies, laid out like ``item_changes``."""
        return f"{{{self.namespace}}}:{self.spaces.proxies}:proxy-changes"
