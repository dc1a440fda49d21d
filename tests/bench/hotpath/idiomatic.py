"""Variant ``idiomatic``: FastAPI with pydantic models, redis.asyncio, default onnxruntime.

The framework peers run the same ``Idiomatic``, each behind its own kind of route.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, Literal

import numpy as np
import onnxruntime as ort
from pydantic import BaseModel, Field
from redis.asyncio import Redis

from service.contract.artifact import open_artifact
from service.contract.keys import Keys
from service.contract.records import decode, mask_matrix
from tests.bench.hotpath.protocol import HOST, STORE_TIMEOUT_S, TOP_K, Task


class RankRequest(BaseModel):
    """A request to rank candidates for a user."""

    user_id: str
    candidates: list[str]
    tradeoff: float = Field(default=0.5, ge=0, le=1)
    top_k: int = Field(default=TOP_K, ge=1, le=1000)


class RankedItem(BaseModel):
    """One place of the ranking."""

    item_id: str
    rank: int
    score: float | None
    status: Literal["ok", "cold", "missing"]


class RankResponse(BaseModel):
    """A ranking."""

    model: str
    tradeoff: float
    items: list[RankedItem]


class Idiomatic:
    """Reads user, items and proxies, encodes and ranks the items, for every request anew."""

    def __init__(self, task: Task) -> None:
        artifact = open_artifact(Path(task.artifact))
        self._label = artifact.label
        self._manifest = artifact.manifest
        self._keys = Keys(task.namespace, artifact.manifest.spaces)
        self._redis: Any = Redis.from_url(
            task.redis_url, socket_timeout=STORE_TIMEOUT_S
        )  # its stubs declare replies as text
        options = ort.SessionOptions()
        options.intra_op_num_threads = task.ort_threads
        self._encoder, self._ranker = (
            ort.InferenceSession(artifact.graph(name), options, providers=["CPUExecutionProvider"])
            for name in ("item_encoder", "ranker")
        )

    async def rank(self, request: RankRequest) -> RankResponse:
        """Return the ranking; items without a record come last."""
        manifest, candidates = self._manifest, request.candidates
        user = await self._redis.get(self._keys.user(request.user_id))
        records = await self._redis.mget(self._keys.items(candidates))
        statistics = await self._redis.mget(self._keys.proxies(candidates))
        items = decode(records, manifest.embedding_dim)
        proxies = decode(statistics, len(manifest.proxies), allow_nan=True).values
        mask = mask_matrix(items.mask, len(manifest.modalities))
        (state,) = self._encoder.run(
            None, {"embedding": items.values, "modality_mask": mask, "proxies": proxies}
        )
        (logits,) = self._ranker.run(
            None,
            {
                "user": decode([user], manifest.record_dim).values[:, : manifest.user_dim],
                "state": state,
                "tradeoff": np.array([request.tradeoff], np.float32),
            },
        )
        logits[~items.present] = -np.inf
        cold = (items.mask & np.uint64(manifest.learned_mask)) == 0
        calibration = manifest.calibration
        scores = 1 / (1 + np.exp(-(calibration.slope * logits + calibration.intercept)))
        best = np.argsort(-logits, kind="stable")[: request.top_k]
        return RankResponse(
            model=self._label,
            tradeoff=request.tradeoff,
            items=[
                RankedItem(
                    item_id=candidates[row],
                    rank=place,
                    score=scores[row],
                    status="cold" if cold[row] else "ok",
                )
                if items.present[row]
                else RankedItem(item_id=candidates[row], rank=place, score=None, status="missing")
                for place, row in enumerate(best, start=1)
            ],
        )


def main() -> None:
    """Serve until a signal."""
    import uvicorn
    from fastapi import FastAPI

    task = Task.read()
    state: dict[str, Idiomatic] = {}

    @asynccontextmanager
    async def lifespan(_app: FastAPI) -> AsyncIterator[None]:
        state["ranker"] = Idiomatic(task)
        yield

    app = FastAPI(lifespan=lifespan)

    @app.post("/rank", response_model=RankResponse)
    async def rank(request: RankRequest) -> RankResponse:
        return await state["ranker"].rank(request)

    uvicorn.run(app, host=HOST, port=task.port, log_level="warning", access_log=False)


if __name__ == "__main__":
    main()
