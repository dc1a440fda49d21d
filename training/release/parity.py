"""Golden inputs, and the proof that torch, the graphs and the service agree on them."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import torch

from service.contract.artifact import Golden
from service.contract.manifest import MAX_MODALITIES
from service.contract.measures import parity_error
from training.arrays import Floats
from training.errors import ExportError
from training.fitting.fitted_net import FittedNet
from training.nets.base import with_learned
from training.release.parts import open_graphs

_GOLDEN_ITEMS = MAX_MODALITIES + 2  # a row without each modality, without all, without proxies
_GOLDEN_HISTORY = 5
_GOLDEN_TRADEOFFS = (0.0, 0.25, 0.5, 0.75, 1.0)


@torch.inference_mode()
def make_golden(fitted: FittedNet) -> Golden:
    """Return golden inputs, and torch's logits (T, N) of items for one user.

    Items are evenly spaced in the dataset. Some rows lose their modalities, learned features or
    proxies, so that the golden inputs cover these cases for any dataset.
    """
    net, dataset = fitted.net, fitted.dataset
    rows = np.linspace(0, len(dataset.item_ids) - 1, _GOLDEN_ITEMS).astype(np.int64)
    embedding, mask = with_learned(
        torch.from_numpy(dataset.embedding[rows]),
        torch.from_numpy(dataset.modality_mask[rows]).float(),
        net.learned_items()[rows],
        fitted.warm[rows],
    )
    proxies = torch.from_numpy(dataset.proxies[rows])
    sizes = [modality.dim for modality in dataset.modalities] + [net.learned_items().shape[1]]
    starts = np.cumsum([0, *sizes])
    for modality in range(len(sizes)):  # one row lacks each modality in turn
        embedding[modality, starts[modality] : starts[modality + 1]] = 0.0
        mask[modality, modality] = 0.0
    embedding[len(sizes)], mask[len(sizes)] = 0.0, 0.0
    proxies[len(sizes) + 1] = torch.nan
    state = net.item_encoder(embedding, mask, proxies)
    user = net.user_vectors()[:1]
    history = np.arange(min(_GOLDEN_HISTORY, len(rows)))
    logits = torch.stack([net.ranker(user, state, torch.tensor([w])) for w in _GOLDEN_TRADEOFFS])
    moved = {}
    if (moves := net.user_moves()) is not None:
        record, trace = net.user_records()[:1], moves.history_encoder(embedding, mask)[history]
        moved = {"record": record.numpy(), "moved_user": moves.user_update(record, trace).numpy()}
    return Golden(
        embedding=embedding.numpy(),
        modality_mask=mask.numpy(),
        proxies=proxies.numpy(),
        user=user.numpy(),
        tradeoffs=np.array(_GOLDEN_TRADEOFFS, np.float32),
        logits=logits.numpy(),
        history=history,
        cold_user=net.user_encoder(state[history]).numpy(),
        **moved,
    )


def prove_parity(folder: Path, golden: Golden, tolerance: float) -> None:
    """Raise ExportError where the ``parity_error`` of a graph's golden results is too large."""
    run = open_graphs(folder)
    item = {name: getattr(golden, name) for name in ("embedding", "modality_mask", "proxies")}
    state = run["item_encoder"](None, item)[0]
    _agree(
        "user_encoder",
        run["user_encoder"](None, {"history": state[golden.history]})[0],
        golden.cold_user,
        tolerance,
    )
    if golden.record is not None and golden.moved_user is not None:
        del item["proxies"]
        trace = run["history_encoder"](None, item)[0][golden.history]
        moved = run["user_update"](None, {"record": golden.record, "trace": trace})[0]
        _agree("user_update", moved, golden.moved_user, tolerance)
    for w, logits in zip(golden.tradeoffs, golden.logits, strict=True):
        feed = {"user": golden.user, "state": state, "tradeoff": np.array([w], np.float32)}
        _agree(f"ranker at tradeoff {w}", run["ranker"](None, feed)[0], logits, tolerance)


def _agree(graph: str, actual: Floats, expected: Floats, tolerance: float) -> None:
    error = parity_error(actual, expected)
    if not error <= tolerance:  # also NaN
        raise ExportError(
            f"{graph}: ONNX and torch differ by {error:.2e}, over parity_tolerance {tolerance:g}; "
            "to accept that, repeat the command with a larger --set parity_tolerance=, which keeps "
            "the training"
        )


def prove_service(folder: Path) -> None:
    """Raise ExportError unless a process of the service accepts the artifact."""
    command = [sys.executable, "-m", "service", "--check", str(folder)]
    process = subprocess.run(command, capture_output=True, text=True, check=False)  # noqa: S603  # our own
    if process.returncode:
        raise ExportError(f"the service refuses the artifact: {process.stderr.strip()}")
