"""The keys that are valid now: follows the keys file."""

from __future__ import annotations

import asyncio
import hmac
import logging
from dataclasses import dataclass
from pathlib import Path

from limits import RateLimitItem, parse
from prometheus_client import Counter

from service.access.keys import Key, Scope, digest, name_of, read
from service.errors import KeysError
from service.telemetry import Telemetry

# Of a key that names no caller: it takes as long to refuse as one with a wrong secret.
_NO_DIGEST = bytes(32)
_MOST_KEY_BYTES = 256

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Caller:
    """The holder of a key: what the key allows, until when and how often."""

    name: str
    digest: bytes
    scopes: frozenset[Scope]
    expires_s: float  # Unix time
    rate: RateLimitItem | None
    admitted: Counter  # requests


class Keyring:
    """The callers of a keys file, which is followed.

    A file that breaks or disappears later changes nothing: ``fault`` is the reason, and the callers
    of the last valid file stay.
    """

    def __init__(self, path: Path, poll_s: float, telemetry: Telemetry) -> None:
        self.fault: str | None = None
        self._path = path
        self._poll_s = poll_s
        self._telemetry = telemetry
        self._callers: dict[bytes, Caller] = {}
        self._version: tuple[int, ...] = ()  # of the file that ``_callers`` is of

    def load(self) -> None:
        """Read the file for the first time; raises KeysError."""
        self._version = self._stat()
        self._replace(read(self._path).keys)

    async def watch(self) -> None:
        """Follow the file without end."""
        while True:
            await asyncio.sleep(self._poll_s)
            try:
                await self._refresh()
            except Exception:
                log.exception("following %s failed; the keys before stay valid", self._path)

    def find(self, key: bytes) -> Caller | None:
        """Return the caller whose key this is, expired or not; None if there is none."""
        if len(key) > _MOST_KEY_BYTES:
            return None
        caller = self._callers.get(name_of(key))
        expected = _NO_DIGEST if caller is None else caller.digest
        return caller if hmac.compare_digest(digest(key), expected) else None

    async def _refresh(self) -> None:
        version = self._stat()
        if version == self._version and self.fault is None:
            return
        try:
            keys = (await asyncio.to_thread(read, self._path)).keys
        except KeysError as error:
            if self.fault != str(error):
                log.error("%s; the keys before stay valid", error)
            self.fault = str(error)
            self._telemetry.keys_file_fault.set(1)
            return
        self.fault = None
        self._version = version
        self._replace(keys)
        log.info("%s: %d keys", self._path, len(keys))

    def _stat(self) -> tuple[int, ...]:
        """Return what changes whenever the file does; empty without a file."""
        try:
            status = self._path.stat()
        except OSError:
            return ()
        return status.st_mtime_ns, status.st_size, status.st_ino, status.st_dev

    def _replace(self, keys: tuple[Key, ...]) -> None:
        gone = {caller.name for caller in self._callers.values()} - {key.name for key in keys}
        for name in gone:
            self._telemetry.forget_key(name)
        self._callers = {key.name.encode(): self._caller(key) for key in keys}
        self._telemetry.keys_file_fault.set(0)

    def _caller(self, key: Key) -> Caller:
        expires_s = float("inf") if key.expires is None else key.expires.timestamp()
        self._telemetry.key_expires.labels(key.name).set(expires_s)
        return Caller(
            name=key.name,
            digest=bytes.fromhex(key.sha256),
            scopes=key.scopes,
            expires_s=expires_s,
            rate=None if key.rate is None else parse(key.rate),
            admitted=self._telemetry.access.labels(key.name, "admitted"),
        )
