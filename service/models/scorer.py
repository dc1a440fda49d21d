"""The graphs of an artifact as functions of arrays; the only file that knows what runs them."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from typing import Any, Literal

import numpy as np
import onnxruntime as ort
from numpy.typing import NDArray

from service.catalog.item_table import TILE_ROWS
from service.contract.artifact import Artifact, ArtifactError, Golden
from service.contract.manifest import GraphName
from service.contract.measures import parity_error
from service.models.graph_nodes import graph_nodes
from service.models.product import Product, folded, is_product

# Most rows of one run: the activations between two layers stay in the CPU cache.
RUN_ROWS = 8192

Array = NDArray[np.float32]

log = logging.getLogger(__name__)


class Scorer:
    """Runs an artifact's graphs. Every array is float32 and C-contiguous.

    onnxruntime runs them. Once ``replay`` has compared both, NumPy runs a ranker of one product.
    """

    def __init__(self, artifact: Artifact, *, threads: int = 1) -> None:
        self.artifact = artifact
        self._sessions = {
            name: _session(artifact, name, threads) for name in artifact.manifest.graphs
        }
        self._outputs = {
            name: [output.name for output in session.get_outputs()]
            for name, session in self._sessions.items()
        }
        self._product: Product | None = None

    @property
    def ranker(self) -> Literal["product", "onnxruntime"]:
        """What computes logits."""
        return "onnxruntime" if self._product is None else "product"

    def encode_items(self, embedding: Array, modality_mask: Array, proxies: Array) -> Array:
        """Return states (N, S) of embedding (N, D), modality_mask (N, M), proxies (N, P)."""
        feed = {"embedding": embedding, "modality_mask": modality_mask, "proxies": proxies}
        return self._run("item_encoder", feed)

    def encode_user(self, history: Array) -> Array:
        """Return the user vector (1, U) of item states (L, S); L = 0 gives the average user."""
        return self._run("user_encoder", {"history": history})

    def encode_histories(self, embedding: Array, modality_mask: Array) -> Array:
        """Return traces (N, H) of embedding (N, D), modality_mask (N, M)."""
        return self._run(
            "history_encoder", {"embedding": embedding, "modality_mask": modality_mask}
        )

    def update_user(self, record: Array, trace: Array) -> Array:
        """Return the user vector (1, U) of a record (1, V) after engagements: traces (L, H)."""
        return self._run("user_update", {"record": record, "trace": trace})

    def score(self, user: Array, state: Array, tradeoffs: Sequence[float]) -> Array:
        """Return logits (T, N) of a user (1, U) and states (N, S) at tradeoffs (T,).

        Equal states get equal logits in every row.
        """
        product = self._product
        return (self._graph_logits if product is None else product.logits)(user, state, tradeoffs)

    def replay(self) -> None:
        """Score the golden inputs; raises ArtifactError if a result differs from the golden one."""
        golden = self.artifact.golden()
        tolerance = self.artifact.manifest.parity_tolerance
        path = self.artifact.path / "golden.npz"
        try:
            states = self.encode_items(golden.embedding, golden.modality_mask, golden.proxies)
            cold_user = self.encode_user(states[golden.history])
            logits = self._golden_logits(golden, states)
            moved_user = None
            if golden.record is not None:
                traces = self.encode_histories(golden.embedding, golden.modality_mask)
                moved_user = self.update_user(golden.record, traces[golden.history])
        except Exception as error:
            raise ArtifactError(path, f"cannot be replayed: {error}") from error
        for name, actual, expected in (
            ("logits", logits, golden.logits),
            ("cold_user", cold_user, golden.cold_user),
            ("moved_user", moved_user, golden.moved_user),
        ):
            if actual is None or expected is None:  # known users do not move
                continue
            if actual.shape != expected.shape:
                raise ArtifactError(path, f"{name}: shape is {actual.shape}, not {expected.shape}")
            if not np.isfinite(actual).all():
                raise ArtifactError(path, f"{name}: not finite")
            if not (off := parity_error(actual, expected)) <= tolerance:
                raise ArtifactError(
                    path,
                    f"{name}: off by {off:.2e} of the largest value, more than the manifest's "
                    f"parity_tolerance of {tolerance:.0e}",
                )

    def _golden_logits(self, golden: Golden, states: Array) -> Array:
        """Return logits (T, N) of golden states (N, S), by what computes logits from now on."""
        manifest, ranker = self.artifact.manifest, self.artifact.graph("ranker")
        inputs = golden.user, states, golden.tradeoffs.tolist()
        logits = self._graph_logits(*inputs)
        if is_product(graph_nodes(ranker)):
            product = folded(self._run_ranker, manifest.user_dim, manifest.state_dim)
            products = product.logits(*inputs)
            if (off := parity_error(products, logits)) <= manifest.parity_tolerance:
                self._product = product
                return products
            log.warning(
                "%s: onnxruntime ranks, because the product folded from %s is off by %.2e",
                self.artifact.label, ranker.name, off,
            )  # fmt: skip
        return logits

    def _graph_logits(self, user: Array, state: Array, tradeoffs: Sequence[float]) -> Array:
        """Return onnxruntime's logits (T, N) of a user (1, U) and states (N, S)."""
        runs = [self._run_ranker(user, state, tradeoff) for tradeoff in tradeoffs]
        return np.stack(runs) if len(runs) > 1 else runs[0][None]

    def _run_ranker(self, user: Array, state: Array, tradeoff: float) -> Array:
        """Return onnxruntime's logits (N,) of a user (1, U) and states (N, S).

        States are padded to whole tiles: in a partial tile a product adds in another order, and
        equal items must get equal logits in every row. More than ``RUN_ROWS`` states take several
        runs.
        """
        feed = {"user": user, "tradeoff": np.array([tradeoff], np.float32)}
        runs = [
            self._run("ranker", {**feed, "state": _padded(state[start : start + RUN_ROWS])})
            for start in range(0, max(1, len(state)), RUN_ROWS)
        ]
        return (runs[0] if len(runs) == 1 else np.concatenate(runs))[: len(state)]

    def _run(self, graph: GraphName, feed: Mapping[str, Array]) -> Array:
        output: Array = self._sessions[graph].run(self._outputs[graph], feed)[0]
        return output


def _padded(state: Array) -> Array:
    """Return ``state`` (N, S) with rows of zeros up to a whole number of tiles."""
    padding = -len(state) % TILE_ROWS
    if not padding:
        return state
    return np.concatenate([state, np.zeros((padding, state.shape[1]), np.float32)])


def _session(artifact: Artifact, name: GraphName, threads: int) -> Any:
    options = ort.SessionOptions()
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    path = artifact.graph(name)
    try:
        session = ort.InferenceSession(path, options, providers=["CPUExecutionProvider"])
    except Exception as error:  # onnxruntime raises a class of its own for each status
        raise ArtifactError(path, f"onnxruntime cannot load it: {error}") from error
    _check_signature(artifact, name, session)
    return session


def _check_signature(artifact: Artifact, name: GraphName, session: Any) -> None:
    """Raise ArtifactError if a graph's inputs and outputs are not those of the manifest."""
    signature = artifact.manifest.graphs[name]
    for kind, tensors, nodes in (
        ("inputs", signature.inputs, session.get_inputs()),
        ("outputs", signature.outputs, session.get_outputs()),
    ):
        expected = [(tensor.name, _sizes(tensor.shape)) for tensor in tensors]
        actual = [(node.name, _sizes(node.shape)) for node in nodes if node.type == "tensor(float)"]
        if actual != expected or len(actual) != len(nodes):
            reason = f"{kind} are {actual}, not {expected} as in the manifest"
            raise ArtifactError(artifact.graph(name), reason)


def _sizes(shape: Sequence[int | str | None]) -> tuple[int | None, ...]:
    """Return ``shape`` with None for symbolic sizes: an exporter may choose their names."""
    return tuple(size if isinstance(size, int) else None for size in shape)
