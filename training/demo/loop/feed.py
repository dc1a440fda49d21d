"""A product's backend, reduced to what the loop needs: it ranks, and reports what users did."""

from __future__ import annotations

import http.client
from collections.abc import Sequence
from typing import Any

import msgspec
import numpy as np
from msgspec import Struct

from service.contract.feedback import CLICK
from training.arrays import Rows
from training.demo.loop.figures import item_row
from training.errors import TrainingError

_TIMEOUT_S = 30.0
_BATCH = 500  # events of one request, about


class _Items(Struct):
    item_ids: list[str]


class Explored(Struct):
    """What was drawn at random in a ranking; ``rank`` is the place of the uniform slot, from 1."""

    rank: int | None = None


class Answer(Struct):
    """What a ranking showed: its id, model, tradeoff, and the items from the top."""

    request_id: str
    model: str
    tradeoff: float
    items: _Items
    explored: Explored | None = None

    @property
    def rows(self) -> Rows:
        """The items from the top (K,), as the crowd numbers them."""
        return np.array([item_row(name) for name in self.items.item_ids], np.int64)

    @property
    def slot(self) -> int | None:
        """The place of the item that was drawn uniformly, from 0; None without one."""
        if self.explored is None or self.explored.rank is None:
            return None
        return self.explored.rank - 1


class _Preview(Struct):
    ranking: Answer


class _Model(Struct):
    version: int
    default: bool


class _Models(Struct):
    models: list[_Model]


_decoder = msgspec.json.Decoder(Answer)
_preview_decoder = msgspec.json.Decoder(_Preview)
_models_decoder = msgspec.json.Decoder(_Models)
_encoder = msgspec.json.Encoder()


class Feed:
    """A kept-alive connection to one service."""

    def __init__(self, host: str, port: int) -> None:
        self._connection = http.client.HTTPConnection(host, port, timeout=_TIMEOUT_S)
        self._events: list[dict[str, str]] = []

    def close(self) -> None:
        """Close the connection."""
        self._connection.close()

    def rank(
        self, user_id: str, places: int, exclude: Sequence[str], tradeoff: float | None
    ) -> Answer:
        """Return the first ``places`` of the whole catalogue less ``exclude``.

        Without a tradeoff the service draws one.
        """
        body = _ranking(user_id, places, exclude, tradeoff)
        return _decoder.decode(self._send("POST", "/rank", body))

    def preview(self, user_id: str, places: int, exclude: Sequence[str], tradeoff: float) -> Answer:
        """Return what `rank` would at a tradeoff, unseen: it is neither counted nor logged."""
        body = {**_ranking(user_id, places, exclude, tradeoff), "explore": False}
        return _preview_decoder.decode(self._send("POST", "/explorer/rank", body)).ranking

    def serving(self) -> int | None:
        """Return the version that ranks requests that name no model."""
        models = _models_decoder.decode(self._send("GET", "/models")).models
        return next((model.version for model in models if model.default), None)

    def report(self, request_id: str, user_id: str, clicked: Sequence[str]) -> None:
        """Report the items of a ranking that the user clicked, together with later ones."""
        event = {"request_id": request_id, "user_id": user_id, "kind": CLICK}
        self._events += [{**event, "item_id": item_id} for item_id in clicked]
        if len(self._events) >= _BATCH:
            self.flush()

    def flush(self) -> None:
        """Send what was reported."""
        if self._events:
            self._send("POST", "/events", self._events)
            self._events = []

    def put_items(self, items: Sequence[dict[str, Any]]) -> None:
        """Add items to the feed, or replace them."""
        self._send("PUT", "/items", {"items": items})

    def _send(self, method: str, path: str, body: Any = None) -> bytes:
        """Return the body of an answer; raises TrainingError for one of status 300 or more."""
        headers = {"content-type": "application/json"}
        self._connection.request(method, path, _encoder.encode(body) if body else None, headers)
        response = self._connection.getresponse()
        answer = response.read()
        if response.status >= http.HTTPStatus.MULTIPLE_CHOICES:
            text = answer.decode(errors="replace")[:500]
            raise TrainingError(f"{method} {path} answered {response.status}: {text}")
        return answer


def _ranking(
    user_id: str, places: int, exclude: Sequence[str], tradeoff: float | None
) -> dict[str, Any]:
    body = {"user_id": user_id, "top_k": places, "exclude": exclude, "format": "columns"}
    return body if tradeoff is None else {**body, "tradeoff": tradeoff}
