"""Requests with their expected rankings, and the comparison of answers with them."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import onnxruntime as ort
import redis
from numpy.typing import NDArray

from service.contract.artifact import Artifact
from service.contract.records import mask_matrix
from tests.bench.hotpath.protocol import TOP_K, state_key
from tests.bench.hotpath.world import NAMESPACE, Floats, Items, World

_DIGITS = 3  # decimals of a score in the normal form


class DisagreementError(Exception):
    """An answer differs from the expected ranking."""


class Reference:
    """The plainest run of the artifact's graphs: item encoder, then ranker."""

    def __init__(self, artifact: Artifact) -> None:
        self.manifest = artifact.manifest
        options = ort.SessionOptions()
        options.intra_op_num_threads = 1
        self._encoder, self._ranker = (
            ort.InferenceSession(artifact.graph(name), options, providers=["CPUExecutionProvider"])
            for name in ("item_encoder", "ranker")
        )

    def encode(self, items: Items) -> tuple[Floats, NDArray[np.bool_]]:
        """Return the states (N, S) of items, and which are cold (N,)."""
        mask = mask_matrix(items.mask, len(self.manifest.modalities))
        feed = {"embedding": items.embedding, "modality_mask": mask, "proxies": items.proxies}
        state: Floats = self._encoder.run(None, feed)[0]
        return state, (items.mask & np.uint64(self.manifest.learned_mask)) == 0

    def logits(self, user: Floats, state: Floats, tradeoff: float) -> Floats:
        """Return logits (N,) of a user (1, U) and states (N, S)."""
        feed = {"user": user, "state": state, "tradeoff": np.array([tradeoff], np.float32)}
        logits: Floats = self._ranker.run(None, feed)[0]
        return logits


@dataclass(frozen=True)
class Case:
    """A request with the normal form of its answer and the unrounded scores."""

    body: bytes
    expected: bytes
    scores: NDArray[np.float64]


class Cases:
    """Makes requests over a catalogue and holds the states of its items."""

    def __init__(self, world: World, count: int) -> None:
        self._reference = Reference(world.artifact)
        chunks = [(items.ids, *self._reference.encode(items)) for items in world.items(count)]
        self.item_ids = [item_id for ids, _, _ in chunks for item_id in ids]
        self.states = np.concatenate([state for _, state, _ in chunks])
        self.cold = np.concatenate([cold for _, _, cold in chunks])
        self.user_ids, records = world.users()
        self._users = np.ascontiguousarray(records[:, : world.artifact.manifest.user_dim])

    def user(self, row: int) -> Floats:
        """Return the vector (1, U) of a user."""
        return self._users[row : row + 1]

    def make(self, candidates: int, count: int) -> list[Case]:
        """Return requests for ``candidates`` random items each."""
        rng = np.random.default_rng((3, candidates))
        cases: list[Case] = []
        while len(cases) < count:
            user = int(rng.integers(len(self.user_ids)))
            rows = rng.choice(len(self.item_ids), candidates, replace=False)
            if case := self._case(user, rows, float(rng.integers(101)) / 100):
                cases.append(case)
        return cases

    def _case(self, user: int, rows: NDArray[np.int64], tradeoff: float) -> Case | None:
        """Return None if float32 sums in another order could change the normal form."""
        manifest = self._reference.manifest
        logits = self._reference.logits(self.user(user), self.states[rows], tradeoff)
        order = np.argsort(-logits, kind="stable")[: TOP_K + 1]
        slope, intercept = manifest.calibration.slope, manifest.calibration.intercept
        scores = 1 / (1 + np.exp(-(slope * logits[order].astype(np.float64) + intercept)))
        best = order[:TOP_K]
        margin = 2 * manifest.parity_tolerance
        to_rounding = np.abs(scores[:TOP_K] * 10**_DIGITS % 1 - 0.5) / 10**_DIGITS
        if (-np.diff(logits[order]) < margin).any() or (to_rounding < margin * slope / 4).any():
            return None
        ids = [self.item_ids[row] for row in rows]
        body = {"user_id": self.user_ids[user], "candidates": ids, "tradeoff": tradeoff}
        items = [
            {"item_id": ids[row], "rank": place, "score": score, "status": status}
            for place, (row, score, status) in enumerate(
                zip(best, scores.tolist(), _statuses(self.cold[rows[best]]), strict=False), 1
            )
        ]
        return Case(json.dumps(body).encode(), normal_form({"items": items}), scores[:TOP_K])

    def write_states(self, client: redis.Redis) -> None:
        """Write the encoded items for the variant ``tuned``."""
        rows = np.column_stack([self.states, self.cold.astype(np.float32)])
        names = (state_key(NAMESPACE, item_id) for item_id in self.item_ids)
        client.mset({name: row.tobytes() for name, row in zip(names, rows, strict=True)})

    def slope(self) -> float:
        """Return the calibration's slope, which converts a tolerance of logits to one of scores."""
        return self._reference.manifest.calibration.slope


def check(cases: Sequence[Case], answers: Sequence[bytes], tolerance: float) -> float:
    """Return the largest difference of a score; raises DisagreementError if rankings differ."""
    worst = 0.0
    for case, body in zip(cases, answers, strict=True):
        answer = json.loads(body)
        actual = normal_form(answer)
        scores = np.array([item["score"] for item in answer["items"]], np.float64)
        if scores.shape == case.scores.shape:
            worst = max(worst, float(np.abs(scores - case.scores).max()))
        if actual != case.expected or not worst <= tolerance:
            raise DisagreementError(
                f"scores differ by {worst:.1e}; got\n{actual[:300]!r}\n"
                f"instead of\n{case.expected[:300]!r}"
            )
    return worst


def normal_form(answer: dict[str, Any]) -> bytes:
    """Return the fields that all variants answer, scores rounded: equal byte for byte."""
    rows = [
        [item["item_id"], item["rank"], item["status"], round(item["score"], _DIGITS)]
        for item in answer["items"]
    ]
    return json.dumps(rows).encode()


def _statuses(cold: NDArray[np.bool_]) -> Iterator[str]:
    return ("cold" if is_cold else "ok" for is_cold in cold)
