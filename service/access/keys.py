"""The keys file: API keys by name, with a hash, scopes, an end and a rate each."""

from __future__ import annotations

import contextlib
import datetime as dt
import hashlib
import secrets
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Literal

from pydantic import (
    AwareDatetime,
    BaseModel,
    ConfigDict,
    Field,
    PlainSerializer,
    ValidationError,
    field_validator,
)

from service.contract.files import check_file, locked, write_atomically
from service.errors import KeysError

Scope = Literal["rank", "feedback", "admin"]
RATE = r"^[1-9]\d{0,8}/(second|minute|hour|day)$"
NAME = r"^[a-z0-9]([a-z0-9-]{0,62}[a-z0-9])?$"

_PREFIX = "pr_"
_SECRET_BYTES = 32
_MOST_KEYS = 1000  # each is the value of a label
_MOST_BYTES = 1 << 20


class Key(BaseModel):
    """One API key. The key itself is not kept, only its hash."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: str = Field(pattern=NAME)
    sha256: str = Field(pattern="^[0-9a-f]{64}$")
    scopes: Annotated[frozenset[Scope], PlainSerializer(sorted)] = Field(min_length=1)
    expires: AwareDatetime | None = None
    rate: str | None = Field(default=None, pattern=RATE)


class KeysFile(BaseModel):
    """All keys of a service; names are unique."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    keys: tuple[Key, ...] = Field(default=(), max_length=_MOST_KEYS)

    @field_validator("keys")
    @classmethod
    def _names_are_unique(cls, keys: tuple[Key, ...]) -> tuple[Key, ...]:
        counts = Counter(key.name for key in keys)
        if twice := [name for name, count in counts.items() if count > 1]:
            raise ValueError(f"the name {twice[0]} occurs twice")
        return keys


def digest(key: bytes) -> bytes:
    """Return the SHA-256 of a key.

    A slow hash protects passwords, which can be guessed. A key has 256 random bits, which cannot.
    """
    return hashlib.sha256(key).digest()


def name_of(key: bytes) -> bytes:
    """Return the name in a key ``pr_<name>_<secret>``; empty if it has another form."""
    parts = key.split(b"_", 2)
    return parts[1] if len(parts) == 3 else b""


def read(path: Path) -> KeysFile:
    """Return the keys of a file; raises KeysError naming the file and the place."""
    try:
        with path.open("rb") as file:
            content = file.read(_MOST_BYTES + 1)
    except OSError as error:
        mend = "make it with `python -m service keys add`"
        raise KeysError(f"{path}: {error.strerror}; {mend}") from error
    if len(content) > _MOST_BYTES:
        raise KeysError(f"{path}: longer than {_MOST_BYTES} bytes")
    try:
        return KeysFile.model_validate_json(content)
    except ValidationError as error:
        problem = error.errors(include_input=False)[0]
        place = ".".join(map(str, problem["loc"]))
        raise KeysError(f"{path}: {f'{place}: ' if place else ''}{problem['msg']}") from error


def add(
    path: Path,
    name: str,
    scopes: frozenset[Scope],
    expires: dt.datetime | None = None,
    rate: str | None = None,
) -> str:
    """Add a key to a file, which need not exist, and return the key; raises KeysError."""
    key = f"{_PREFIX}{name}_{secrets.token_urlsafe(_SECRET_BYTES)}"
    entry = {"name": name, "sha256": digest(key.encode()).hex(), "scopes": scopes}
    try:
        new = Key.model_validate({**entry, "expires": expires, "rate": rate})
    except ValidationError as error:
        problem = error.errors(include_input=False)[0]
        raise KeysError(f"{problem['loc'][0]}: {problem['msg']}") from error
    with _changing(path):
        keys = read(path).keys if path.exists() else ()
        if any(other.name == name for other in keys):
            raise KeysError(f"{path}: has a key {name}; choose another name, or remove it first")
        if len(keys) == _MOST_KEYS:
            raise KeysError(f"{path}: has {_MOST_KEYS} keys, the most; remove one first")
        _write(path, (*keys, new))
    return key


def remove(path: Path, name: str) -> None:
    """Remove a key from a file; raises KeysError if it has none of that name."""
    with _changing(path):
        keys = read(path).keys
        left = tuple(key for key in keys if key.name != name)
        if len(left) == len(keys):
            names = ", ".join(key.name for key in keys) or "none"
            raise KeysError(f"{path}: has no key {name}; its keys: {names}")
        _write(path, left)


@contextlib.contextmanager
def _changing(path: Path) -> Iterator[None]:
    """Hold the lock of a file; raises KeysError where files cannot be made."""
    try:
        check_file(path)
        with locked(path):
            yield
    except OSError as error:
        raise KeysError(f"{error.filename}: {error.strerror}") from error


def _write(path: Path, keys: tuple[Key, ...]) -> None:
    text = KeysFile(keys=keys).model_dump_json(indent=2, exclude_none=True)
    write_atomically(path, text.encode() + b"\n")
