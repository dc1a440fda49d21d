"""A client of Paretorank's HTTP API in one file, which needs httpx alone: copy it.

    from paretorank_client import Client

    with Client("http://127.0.0.1:8000", api_key="pr_...") as client:
        ranking = client.rank("u0007", tradeoff=0.5, top_k=10, deadline_ms=200)
        print([item["item_id"] for item in ranking["items"]])

``AsyncClient`` has the same methods as coroutines.
"""

from __future__ import annotations

import asyncio
import random
import time
import uuid
from collections.abc import Generator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Literal, NotRequired, Self, TypedDict, Unpack, cast
from urllib.parse import quote

import httpx

_MOST_EVENTS = 1000  # of one request
_FIRST_PAUSE_S = 0.05  # most, before the first retry after a failed connection
_SHARE_OF_SERVICE = 0.8  # of the time that is left; the rest is for the way of the answer


class Target(TypedDict, total=False):
    """What rankings should have on average, in place of a tradeoff: one of these."""

    tail_share: float
    popularity_percentile: float
    logged_auc_cost: float


class RankOptions(TypedDict, total=False):
    """The fields of ``POST /rank`` besides the user; the service has defaults for all.

    ``deadline_ms`` limits the whole call with its retries; each try sends a share of what is left.
    """

    candidates: Sequence[str] | None
    history: Sequence[str]
    profiling: bool
    tradeoff: float | None
    target: Target | None
    top_k: int
    model: str | None
    exclude: Sequence[str]
    explain: bool
    titles: bool
    explore: bool
    request_id: str | None
    deadline_ms: float | None


class EndPoint(TypedDict):
    """An item's place at one end of the front."""

    score: float
    rank: int


class Explanation(TypedDict):
    """An item's place at tradeoff 0 (debiased) and 1 (logged)."""

    debiased: EndPoint
    logged: EndPoint


class RankedItem(TypedDict):
    """One place of a ranking; ``explain`` and the fields of ``titles`` only on request."""

    item_id: str
    rank: int
    score: float | None
    status: Literal["ok", "cold", "missing"]
    explain: NotRequired[Explanation]
    title: NotRequired[str | None]
    picture: NotRequired[str | None]
    link: NotRequired[str | None]


class Explored(TypedDict):
    """What was drawn at random in a ranking; ``rank`` is that of an item drawn from the pool."""

    policy: Literal["uniform_slot", "randomised_tradeoff", "both"]
    rank: NotRequired[int]


class Ranking(TypedDict):
    """A ranking, best item first. ``degraded`` names the reasons why it lacks something."""

    request_id: str
    model: str
    tradeoff: float
    items: list[RankedItem]
    degraded: list[str]
    timing_ms: dict[str, float]
    tradeoff_from: NotRequired[Literal["target", "user", "arm"]]
    target_missed: NotRequired[bool]
    arm: NotRequired[str]
    explored: NotRequired[Explored]


class PutItem(TypedDict):
    """An item for ``put_items``: ``vectors`` by modality; ``attributes``, ``proxies`` by name.

    Proxies that are left out stay as they are; all else that is left out is gone.
    """

    item_id: str
    title: NotRequired[str | None]
    picture: NotRequired[str | None]
    link: NotRequired[str | None]
    vectors: NotRequired[Mapping[str, Sequence[float]]]
    attributes: NotRequired[Mapping[str, float | str | None]]
    proxies: NotRequired[Mapping[str, float | str | None]]


class ItemsChanged(TypedDict):
    """What a change of items did; ``unknown`` are items that no catalogue lists."""

    request_id: str
    models: list[str]
    changed: int
    unknown: list[str]


class UserDeleted(TypedDict):
    """What the store held of a deleted user."""

    request_id: str
    records: int
    histories: int
    tradeoffs: int
    decisions: int
    events: int


class Event(TypedDict):
    """What a user did with a shown item; ``time`` is RFC 3339, by default the time of the call."""

    request_id: str
    item_id: str
    kind: str
    value: NotRequired[float]
    time: NotRequired[str]
    user_id: NotRequired[str]


class EventError(TypedDict):
    """An event that was not accepted, by its index in the list."""

    index: int
    field: str | None
    message: str


@dataclass(eq=False)
class RankError(Exception):
    """The service did not answer with what was asked for.

    ``code`` is the service's word for the error, or ``unreachable``, ``timeout`` or ``no_answer``:
    an answer that is not the service's own, such as a proxy's. ``status`` is the HTTP status, None
    without an answer; ``field`` the field of the request to mend, if there is one. After
    ``retry_after_s`` it may be tried again. The service's log has ``request_id``.
    """

    code: str
    message: str
    request_id: str
    status: int | None = None
    field: str | None = None
    retry_after_s: float | None = None

    def __str__(self) -> str:
        return f"{self.code}: {self.message} (request {self.request_id})"


_Result = httpx.Response | httpx.TransportError | None
_Proxies = Mapping[str, Mapping[str, float | str | None]]  # values by item and by proxy
_Steps = Generator[httpx.Request | float, _Result, Any]


class _Calls:
    """The requests and pauses of each call, for a client that sends and waits."""

    _http_class: type[httpx.Client | httpx.AsyncClient]

    def __init__(
        self,
        base_url: str,
        *,
        api_key: str | None = None,
        timeout_s: float = 10.0,
        retries: int = 2,
        **options: Any,
    ) -> None:
        """Connect to nothing yet.

        A call is tried up to ``retries`` times more after a failed connection or a 503, never
        beyond its deadline: ``deadline_ms`` of a ranking, else ``timeout_s``. ``options`` are those
        of httpx's client.
        """
        self._base_url = base_url.rstrip("/")
        self._headers = {} if api_key is None else {"X-API-Key": api_key}
        self._timeout_s = timeout_s
        self._retries = retries
        self._http: Any = self._http_class(**options)

    def _rank(self, user_id: str, options: RankOptions) -> _Steps:
        """Return the steps of a ranking."""
        request_id = options.get("request_id") or uuid.uuid4().hex
        deadline_ms = options.get("deadline_ms")
        within_s = self._timeout_s if deadline_ms is None else deadline_ms / 1000
        body: dict[str, Any] = {"user_id": user_id, **options, "request_id": request_id}
        for name in ("candidates", "history", "exclude"):  # of any kind of sequence
            if body.get(name) is not None:
                body[name] = list(body[name])
        return self._steps("POST", "/rank", within_s, request_id, body)

    def _models(self) -> _Steps:
        """Return the steps of reading the models."""
        answer = yield from self._steps("GET", "/models", self._timeout_s, uuid.uuid4().hex)
        return answer["models"]

    def _events(self, events: Sequence[Event]) -> _Steps:
        """Return the steps of sending events, in batches that a retry does not count twice."""
        now, refused = datetime.now(UTC).isoformat(), []
        for start in range(0, len(events), _MOST_EVENTS):
            batch = [{"time": now, **event} for event in events[start : start + _MOST_EVENTS]]
            answer = yield from self._steps(
                "POST", "/events", self._timeout_s, uuid.uuid4().hex, batch
            )
            refused += [{**error, "index": start + error["index"]} for error in answer["errors"]]
        return refused

    def _send(self, method: str, path: str, body: dict[str, Any] | None = None) -> _Steps:
        """Return the steps of a change, which may be repeated."""
        return self._steps(method, path, self._timeout_s, uuid.uuid4().hex, body)

    def _put_items(self, items: Sequence[PutItem]) -> _Steps:
        bodies = [
            {**item, "vectors": {n: list(v) for n, v in item.get("vectors", {}).items()}}
            for item in items
        ]
        return self._send("PUT", "/items", {"items": bodies})

    def _delete_items(self, item_ids: Sequence[str]) -> _Steps:
        return self._send("DELETE", "/items", {"item_ids": list(item_ids)})

    def _patch_proxies(self, proxies: _Proxies) -> _Steps:
        items = [{"item_id": i, "proxies": dict(values)} for i, values in proxies.items()]
        return self._send("PATCH", "/items/proxies", {"items": items})

    def _delete_user(self, user_id: str) -> _Steps:
        return self._send("DELETE", f"/users/{quote(user_id, safe='')}")

    def _tradeoff(self, method: str, user_id: str, tradeoff: float | None = None) -> _Steps:
        """Return the steps of reading or changing a user's own tradeoff."""
        body = None if tradeoff is None else {"tradeoff": tradeoff}
        answer = yield from self._send(method, f"/users/{quote(user_id, safe='')}/tradeoff", body)
        return answer["tradeoff"]

    def _set_tradeoff(self, user_id: str, tradeoff: float | None) -> _Steps:
        return self._tradeoff("DELETE" if tradeoff is None else "PUT", user_id, tradeoff)

    def _steps(
        self,
        method: str,
        path: str,
        within_s: float,
        request_id: str,
        body: Any = None,
    ) -> _Steps:
        """Yield a request for each try and the seconds to pause between two; return the JSON.

        Raises RankError, at once where a pause would end after ``within_s``.
        """
        end_s = time.monotonic() + within_s
        headers = {**self._headers, "X-Request-ID": request_id}
        for tries_left in range(self._retries, -1, -1):
            left_s = max(end_s - time.monotonic(), 0.001)
            if isinstance(body, dict) and body.get("deadline_ms") is not None:
                body["deadline_ms"] = 1000 * _SHARE_OF_SERVICE * left_s
            answer = yield self._http.build_request(
                method, self._base_url + path, headers=headers, json=body, timeout=left_s
            )
            if isinstance(answer, httpx.Response) and answer.is_success and _is_json(answer):
                return answer.json()
            error = _error(answer, request_id)
            pause_s = self._pause_s(error, self._retries - tries_left)
            if not tries_left or pause_s is None or time.monotonic() + pause_s >= end_s:
                raise error
            yield pause_s
        raise AssertionError  # the last try returns or raises

    @staticmethod
    def _pause_s(error: RankError, tries: int) -> float | None:
        """Return how long to wait before the next try, None if none would help."""
        if error.status == 503:
            return (error.retry_after_s or _FIRST_PAUSE_S) * random.uniform(1.0, 1.5)
        if error.status is None:
            return random.uniform(0, _FIRST_PAUSE_S * 2**tries)
        return None


def _is_json(answer: httpx.Response) -> bool:
    return bool(answer.headers.get("Content-Type", "").startswith("application/json"))


def _error(answer: _Result, request_id: str) -> RankError:
    if not isinstance(answer, httpx.Response):
        code = "timeout" if isinstance(answer, httpx.TimeoutException) else "unreachable"
        return RankError(code, str(answer) or type(answer).__name__, request_id)
    wait = answer.headers.get("Retry-After", "")
    retry_after_s = float(wait) if wait.isdigit() else None
    try:
        error = answer.json()["error"]
        code, message, field = error["code"], error["message"], error["field"]
    except (ValueError, KeyError, TypeError):
        code, message, field = "no_answer", f"HTTP {answer.status_code}", None
    request_id = answer.headers.get("X-Request-ID", request_id)
    return RankError(code, message, request_id, answer.status_code, field, retry_after_s)


class Client(_Calls):
    """Calls a service."""

    _http_class = httpx.Client

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Close the connections."""
        self._http.close()

    def rank(self, user_id: str, **options: Unpack[RankOptions]) -> Ranking:
        """Rank candidates, or the whole catalogue, for a user; raises RankError."""
        return cast(Ranking, self._run(self._rank(user_id, options)))

    def models(self) -> list[dict[str, Any]]:
        """Return the loaded models and their fronts; raises RankError."""
        return cast(list[dict[str, Any]], self._run(self._models()))

    def events(self, events: Sequence[Event]) -> list[EventError]:
        """Send what users did; return those refused. Raises RankError: then send all again."""
        return cast(list[EventError], self._run(self._events(events)))

    def put_items(self, items: Sequence[PutItem]) -> ItemsChanged:
        """Put up to 1,000 items; raises RankError."""
        return cast(ItemsChanged, self._run(self._put_items(items)))

    def delete_items(self, item_ids: Sequence[str]) -> ItemsChanged:
        """Remove up to 1,000 items from the catalogues; raises RankError."""
        return cast(ItemsChanged, self._run(self._delete_items(item_ids)))

    def patch_proxies(self, proxies: _Proxies) -> ItemsChanged:
        """Set proxies of up to 1,000 items, by item and by name; raises RankError."""
        return cast(ItemsChanged, self._run(self._patch_proxies(proxies)))

    def delete_user(self, user_id: str) -> UserDeleted:
        """Delete what the store holds of a user; raises RankError."""
        return cast(UserDeleted, self._run(self._delete_user(user_id)))

    def tradeoff(self, user_id: str) -> float | None:
        """Return the user's own tradeoff, None without one; raises RankError."""
        return cast(float | None, self._run(self._tradeoff("GET", user_id)))

    def set_tradeoff(self, user_id: str, tradeoff: float | None) -> None:
        """Keep a tradeoff for rankings that name none; None forgets it. Raises RankError."""
        self._run(self._set_tradeoff(user_id, tradeoff))

    def _run(self, steps: _Steps) -> Any:
        """Send and wait as ``steps`` say, and return their result."""
        result: _Result = None
        while True:
            try:
                step, result = steps.send(result), None
                if isinstance(step, float):
                    time.sleep(step)
                else:
                    result = self._http.send(step)
            except StopIteration as end:
                return end.value
            except httpx.TransportError as error:
                result = error


class AsyncClient(_Calls):
    """Calls a service from coroutines."""

    _http_class = httpx.AsyncClient

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.aclose()

    async def aclose(self) -> None:
        """Close the connections."""
        await self._http.aclose()

    async def rank(self, user_id: str, **options: Unpack[RankOptions]) -> Ranking:
        """Rank candidates, or the whole catalogue, for a user; raises RankError."""
        return cast(Ranking, await self._run(self._rank(user_id, options)))

    async def models(self) -> list[dict[str, Any]]:
        """Return the loaded models and their fronts; raises RankError."""
        return cast(list[dict[str, Any]], await self._run(self._models()))

    async def events(self, events: Sequence[Event]) -> list[EventError]:
        """Send what users did; return those refused. Raises RankError: then send all again."""
        return cast(list[EventError], await self._run(self._events(events)))

    async def put_items(self, items: Sequence[PutItem]) -> ItemsChanged:
        """Put up to 1,000 items; raises RankError."""
        return cast(ItemsChanged, await self._run(self._put_items(items)))

    async def delete_items(self, item_ids: Sequence[str]) -> ItemsChanged:
        """Remove up to 1,000 items from the catalogues; raises RankError."""
        return cast(ItemsChanged, await self._run(self._delete_items(item_ids)))

    async def patch_proxies(self, proxies: _Proxies) -> ItemsChanged:
        """Set proxies of up to 1,000 items, by item and by name; raises RankError."""
        return cast(ItemsChanged, await self._run(self._patch_proxies(proxies)))

    async def delete_user(self, user_id: str) -> UserDeleted:
        """Delete what the store holds of a user; raises RankError."""
        return cast(UserDeleted, await self._run(self._delete_user(user_id)))

    async def tradeoff(self, user_id: str) -> float | None:
        """Return the user's own tradeoff, None without one; raises RankError."""
        return cast(float | None, await self._run(self._tradeoff("GET", user_id)))

    async def set_tradeoff(self, user_id: str, tradeoff: float | None) -> None:
        """Keep a tradeoff for rankings that name none; None forgets it. Raises RankError."""
        await self._run(self._set_tradeoff(user_id, tradeoff))

    async def _run(self, steps: _Steps) -> Any:
        """Send and wait as ``steps`` say, and return their result."""
        result: _Result = None
        while True:
            try:
                step, result = steps.send(result), None
                if isinstance(step, float):
                    await asyncio.sleep(step)
                else:
                    result = await self._http.send(step)
            except StopIteration as end:
                return end.value
            except httpx.TransportError as error:
                result = error
