"""Decides by path, port and key whether a request is served."""

from __future__ import annotations

import logging
import math
import time
from collections.abc import Iterable, MutableMapping
from typing import Any

from limits import RateLimitItem

from service.access.keyring import Caller, Keyring
from service.access.keys import Scope
from service.access.rate_limits import RateLimits
from service.errors import (
    ForbiddenError,
    KeysError,
    RateLimitedError,
    RouteNotFoundError,
    UnauthorizedError,
)
from service.settings import Settings
from service.telemetry import Telemetry

MODELS = "/models"
OPEN_INFERENCE = "/v2"
ITEMS, PROXIES, USERS = CHANGES = "/items", "/items/proxies", "/users"  # of live changes
USER_TRADEOFF = USERS + "/tradeoff"  # below a user: /users/{user_id}/tradeoff
EXPLORER_START = "/explorer/start"
EXPLORER_RANK = "/explorer/rank"
# The explorer page, the same in every installation. It has no secret: its reader types the key.
PAGE_FILES = frozenset(
    {"/", "/explorer/explorer.js", "/explorer/explorer.css", "/explorer/icon.svg"}
)
FREE = frozenset(  # for load balancers, which have no key
    {
        "/livez",
        "/readyz",
        f"{OPEN_INFERENCE}/health/live",
        f"{OPEN_INFERENCE}/health/ready",
    }
)
SCOPES: dict[str, Scope] = {
    "/rank": "rank",
    "/events": "feedback",
    MODELS: "admin",
    "/metrics": "admin",
    "/docs": "admin",
    "/openapi.json": "admin",
    ITEMS: "admin",
    PROXIES: "admin",
    OPEN_INFERENCE: "rank",
    EXPLORER_START: "admin",
    EXPLORER_RANK: "admin",  # and rank, on the admin port
    **dict.fromkeys(PAGE_FILES, "admin"),  # or no key
}
DOCS_ASSETS = "/docs-assets"
# Every path under these.
BELOW: dict[str, Scope] = {
    DOCS_ASSETS: "admin",
    MODELS: "admin",
    OPEN_INFERENCE: "rank",
    USERS: "admin",
}

_LOG_EVERY_S = 60.0
_BEARER = b"bearer "

Headers = list[tuple[bytes, bytes]]

log = logging.getLogger(__name__)


class Guard:
    """Admits requests before their body is read.

    With keys, a route without an entry in ``FREE``, ``SCOPES`` or ``BELOW`` does not exist. With an
    admin port, the scope ``admin`` is needed and served there, all else on the other port. An open
    admin port needs no key to read; a live change needs one.
    """

    def __init__(self, settings: Settings, telemetry: Telemetry) -> None:
        self._settings = settings
        self._telemetry = telemetry
        self._root = settings.root_path
        self._admin_port = settings.admin_port
        self._admin_open = settings.admin_access == "open"
        self._keyring: Keyring | None = None
        self._rate_limits = RateLimits(settings, telemetry)
        self._refused = 0  # without a valid key, since the last line in the log
        self._log_again_at = 0.0
        if settings.access == "keys" and settings.keys_file is not None:
            self._keyring = Keyring(settings.keys_file, settings.keys_poll_s, telemetry)

    def load(self) -> None:
        """Read the keys, if callers need them; raises KeysError without a valid file of them."""
        if self._settings.access == "open":
            return
        if self._keyring is None:
            raise KeysError(
                "callers need keys: make one with `python -m service keys add NAME --scope rank "
                "--file FILE` and set RANK_KEYS_FILE=FILE, or let anybody in with RANK_ACCESS=open"
            )
        self._keyring.load()

    async def watch(self) -> None:
        """Follow the keys file without end; return at once without keys."""
        if self._keyring is not None:
            await self._keyring.watch()

    async def close(self) -> None:
        """Close the connections to the store."""
        await self._rate_limits.close()

    @property
    def fault(self) -> str | None:
        """Why the keys file cannot be read; the keys before stay valid."""
        return None if self._keyring is None else self._keyring.fault

    async def admit(self, scope: MutableMapping[str, Any]) -> Headers:
        """Return the headers that the answer to a request has to have besides its own.

        Raises RouteNotFoundError, UnauthorizedError, ForbiddenError or RateLimitedError.
        """
        path: str = scope["path"]
        if self._root and path.startswith(f"{self._root}/"):
            path = path.removeprefix(self._root)
        if path in FREE:
            return []
        route, needed = scope_of(path)
        if needed is not None:
            scope["state"]["route"] = route
        if self._admin_port is not None and needed is not None:
            is_admin_port = scope["server"][1] == self._admin_port
            if is_admin_port != (needed == "admin"):
                raise RouteNotFoundError(f"{path}: no such route on this port")
            if is_admin_port and self._admin_open and route not in CHANGES:
                return []
        if self._keyring is None or path in PAGE_FILES:
            return []
        caller = self._caller(self._keyring, scope)
        if needed is None:
            raise RouteNotFoundError(f"{path}: no such route")
        if path == EXPLORER_RANK and needed in caller.scopes:
            needed = "rank"  # it needs both
        if needed not in caller.scopes:
            self._telemetry.access.labels(caller.name, "no_scope").inc()
            raise ForbiddenError(caller.name, needed)
        headers = [] if caller.rate is None else await self._take(caller, caller.rate)
        caller.admitted.inc()
        return headers

    def _caller(self, keyring: Keyring, scope: MutableMapping[str, Any]) -> Caller:
        """Return the caller of a request; raises UnauthorizedError."""
        key = key_of(scope["headers"])
        if key is None:
            raise self._unauthorized(
                "", "no_key", scope, "send a key: `Authorization: Bearer KEY` or `X-API-Key: KEY`"
            )
        if (caller := keyring.find(key)) is None:
            raise self._unauthorized("", "unknown_key", scope, "the key is not known")
        if caller.expires_s <= time.time():
            message = f"the key {caller.name} has expired"
            raise self._unauthorized(caller.name, "expired", scope, message)
        scope["state"]["key_name"] = caller.name
        return caller

    def _unauthorized(
        self, name: str, result: str, scope: MutableMapping[str, Any], message: str
    ) -> UnauthorizedError:
        """Count a refusal, and log at most one line a minute."""
        self._telemetry.access.labels(name, result).inc()
        self._refused += 1
        if (now := time.monotonic()) >= self._log_again_at:
            client = (scope.get("client") or ("an unknown address",))[0]
            log.warning(
                "%d requests refused without a valid key, the last from %s: %s",
                self._refused, client, message,
            )  # fmt: skip
            self._refused, self._log_again_at = 0, now + _LOG_EVERY_S
        return UnauthorizedError(message, has_key=result != "no_key")

    async def _take(self, caller: Caller, rate: RateLimitItem) -> Headers:
        """Count a request against the caller's rate; raises RateLimitedError beyond it."""
        allowed, state = await self._rate_limits.take(rate, caller.name)
        wait_s = max(1, math.ceil(state.reset_time - time.time()))
        headers = {  # of the IETF's draft-ietf-httpapi-ratelimit-headers-10
            "ratelimit-policy": f'"key";q={rate.amount};w={rate.get_expiry()}',
            "ratelimit": f'"key";r={state.remaining};t={wait_s}',
        }
        if not allowed:
            self._telemetry.access.labels(caller.name, "rate").inc()
            raise RateLimitedError(caller.name, str(rate), wait_s, headers)
        return [(name.encode(), value.encode()) for name, value in headers.items()]


def scope_of(path: str) -> tuple[str, Scope | None]:
    """Return the route of ``path``, without the part that varies, and the scope that it needs."""
    if needed := SCOPES.get(path):
        return path, needed
    top, slash, below = path[1:].partition("/")
    # Whoever chooses the tradeoff of a ranking may keep it for the user.
    if f"/{top}" == USERS and below.endswith("/tradeoff"):
        return USER_TRADEOFF, "rank"
    route = f"/{top}" if slash and path not in FREE else ""
    return route, BELOW.get(route)


def key_of(headers: Iterable[tuple[bytes, bytes]]) -> bytes | None:
    """Return the key among the headers of a request.

    ``X-API-Key`` goes first: a gateway may use ``Authorization`` for itself.
    """
    bearer = None
    for name, value in headers:
        if name == b"x-api-key":
            return value.strip()
        if name == b"authorization" and value[:7].lower() == _BEARER:
            bearer = value[7:].strip()
    return bearer
