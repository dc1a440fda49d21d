"""Variant ``tuned``: the idiomatic app, made fast within its design.

msgspec decodes the body and orjson encodes the answer. Items are encoded beforehand. One MGET reads
the user and all states. onnxruntime runs one thread without spinning.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Annotated, Any

import msgspec
import numpy as np
import onnxruntime as ort
import orjson
import uvicorn
from fastapi import FastAPI, Request, Response
from redis.asyncio import Redis

from service.contract.artifact import open_artifact
from service.contract.keys import Keys
from service.contract.records import decode
from tests.bench.hotpath.protocol import HOST, STORE_TIMEOUT_S, TOP_K, Task, state_key


class RankRequest(msgspec.Struct):
    """A request to rank candidates for a user."""

    user_id: str
    candidates: list[str]
    tradeoff: Annotated[float, msgspec.Meta(ge=0, le=1)] = 0.5
    top_k: Annotated[int, msgspec.Meta(ge=1, le=1000)] = TOP_K


class Tuned:
    """Reads encoded items and ranks them."""

    def __init__(self, task: Task) -> None:
        artifact = open_artifact(Path(task.artifact))
        self._label = artifact.label
        self._manifest = artifact.manifest
        self._record_dim = artifact.manifest.record_dim
        self._user_dim = artifact.manifest.user_dim
        self._keys = Keys(task.namespace, artifact.manifest.spaces)
        self._prefix = state_key(task.namespace, "")
        self._absent = bytes(4 * (artifact.manifest.state_dim + 1))
        self._redis: Any = Redis.from_url(task.redis_url, socket_timeout=STORE_TIMEOUT_S)
        self._decoder = msgspec.json.Decoder(RankRequest)
        options = ort.SessionOptions()
        options.intra_op_num_threads = options.inter_op_num_threads = 1
        options.add_session_config_entry("session.intra_op.allow_spinning", "0")
        self._ranker = ort.InferenceSession(
            artifact.graph("ranker"), options, providers=["CPUExecutionProvider"]
        )

    async def rank(self, body: bytes) -> bytes:
        """Return the ranking; items without a record come last."""
        request = self._decoder.decode(body)
        candidates = request.candidates
        prefix = self._prefix
        keys = [prefix + item_id for item_id in candidates]
        user, *states = await self._redis.mget([self._keys.user(request.user_id), *keys])
        missing = [row for row, state in enumerate(states) if state is None]
        for row in missing:
            states[row] = self._absent
        rows = np.frombuffer(b"".join(states), "<f4").reshape(len(states), -1)  # (N, S + 1)
        (logits,) = self._ranker.run(
            None,
            {
                "user": decode([user], self._record_dim).values[:, : self._user_dim],
                "state": np.ascontiguousarray(rows[:, :-1]),
                "tradeoff": np.array([request.tradeoff], np.float32),
            },
        )
        logits[missing] = -np.inf
        if request.top_k < len(logits):
            best = np.argpartition(-logits, request.top_k)[: request.top_k]
            best = best[np.argsort(-logits[best], kind="stable")]
        else:
            best = np.argsort(-logits, kind="stable")
        calibration = self._manifest.calibration
        scores = 1 / (1 + np.exp(-(calibration.slope * logits[best] + calibration.intercept)))
        cold, absent = rows[best, -1].tolist(), set(missing)
        items = [
            {
                "item_id": candidates[row],
                "rank": place,
                "score": score,
                "status": _STATUS[cold[place - 1]],
            }
            if row not in absent
            else {"item_id": candidates[row], "rank": place, "score": None, "status": "missing"}
            for place, (row, score) in enumerate(
                zip(best.tolist(), scores.tolist(), strict=True), start=1
            )
        ]
        answer = {"model": self._label, "tradeoff": request.tradeoff, "items": items}
        encoded: bytes = orjson.dumps(answer)
        return encoded


_STATUS = {0.0: "ok", 1.0: "cold"}


def main() -> None:
    """Serve until a signal."""
    task = Task.read()
    state: dict[str, Tuned] = {}

    @asynccontextmanager
    async def lifespan(_app: FastAPI) -> AsyncIterator[None]:
        state["ranker"] = Tuned(task)
        yield

    app = FastAPI(lifespan=lifespan)

    @app.post("/rank")
    async def rank(request: Request) -> Response:
        answer = await state["ranker"].rank(await request.body())
        return Response(answer, media_type="application/json")

    uvicorn.run(app, host=HOST, port=task.port, log_level="warning", access_log=False)


if __name__ == "__main__":
    main()
