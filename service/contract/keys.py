"""Names of the Redis keys. A space is one of the manifest's ``spaces``."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Sequence
from dataclasses import dataclass

from service.contract.manifest import Spaces

MAX_ID_CHARS = 128
NAMESPACE = r"^[A-Za-z0-9_.-]{1,64}$"  # no colon and no brace: they separate the parts of a key
_SPACE = rb"[a-z0-9][a-z0-9_-]{0,63}"
_SHARED = rb"catalog|published|changes|proxy-changes|publishing|live|deleted"


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
        return self.users([user_id])[0]

    def users(self, user_ids: Sequence[str]) -> list[str]:
        """Return the keys of user records."""
        prefix = f"{self.namespace}:{self.spaces.users}:u:"
        return [prefix + user_id for user_id in user_ids]

    def items(self, item_ids: Sequence[str]) -> list[str]:
        """Return the keys of item records."""
        prefix = f"{self.namespace}:{self.spaces.items}:i:"
        return [prefix + item_id for item_id in item_ids]

    def proxies(self, item_ids: Sequence[str]) -> list[str]:
        """Return the keys of proxy records."""
        prefix = f"{self.namespace}:{self.spaces.proxies}:p:"
        return [prefix + item_id for item_id in item_ids]

    def titles(self, item_ids: Sequence[str]) -> list[str]:
        """Return the keys of what people see of items."""
        prefix = f"{self.namespace}:{self.spaces.items}:t:"
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

    def publishing(self, space: str) -> str:
        """Return the key that is held while a program writes or removes records of ``space``."""
        return f"{{{self.namespace}}}:{space}:publishing"

    def live(self, space: str) -> str:
        """Return the set of items whose records in ``space`` are not those last published."""
        return f"{{{self.namespace}}}:{space}:live"

    @property
    def deleted_users(self) -> str:
        """The set of ``user_mark`` of deleted users, whom no publication writes again."""
        return f"{{{self.namespace}}}:{self.spaces.users}:deleted"


def user_mark(user_id: str) -> str:
    """Return what the set of deleted users holds in place of an id."""
    return hashlib.sha256(user_id.encode()).hexdigest()


def verdicts_key(namespace: str) -> str:
    """Return the hash of automatic returns: name@alias -> verdict."""
    return f"{{{namespace}}}:returned"


@dataclass(frozen=True)
class KeyParts:
    """A key's space, its kind and, for a record, its id.

    Records are of kind ``u`` (user), ``i`` (item), ``t`` (title) or ``p`` (proxies). Other kinds
    are named by the last part of the key.
    """

    space: str
    kind: str
    record_id: bytes | None = None


def split_key(namespace: str, key: bytes) -> KeyParts | None:
    """Return the parts of a key of ``namespace``, None for any other key."""
    name = re.escape(namespace.encode())
    if match := re.fullmatch(rb"%b:(%b):([uitp]):(.*)" % (name, _SPACE), key, re.DOTALL):
        space, kind, record_id = match.groups()
        return KeyParts(space.decode(), kind.decode(), record_id)
    if match := re.fullmatch(rb"\{%b\}:(%b):(%b)" % (name, _SPACE, _SHARED), key):
        space, kind = match.groups()
        return KeyParts(space.decode(), kind.decode())
    return None
