"""Rankings by torch alone, which those of the service must equal."""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray

from training.config import PARITY_TOLERANCE
from training.data.dataset import Dataset
from training.fitting.fitted_net import FittedNet
from training.nets.base import with_learned


@torch.inference_mode()
def item_states(fitted: FittedNet, dataset: Dataset) -> torch.Tensor:
    """Return the states (I, S) of all items with their current proxies."""
    inputs = with_learned(
        torch.from_numpy(dataset.embedding),
        torch.from_numpy(dataset.modality_mask).float(),
        fitted.net.learned_items(),
        fitted.warm,
    )
    states: torch.Tensor = fitted.net.eval().item_encoder(
        *inputs, torch.from_numpy(dataset.proxies)
    )
    return states


@torch.inference_mode()
def torch_ranking(
    fitted: FittedNet, dataset: Dataset, user: int | torch.Tensor, tradeoff: float
) -> tuple[list[str], NDArray[np.float64]]:
    """Return all item ids, best first, and their logits; ``user`` is a row or a vector (1, U)."""
    states = item_states(fitted, dataset)
    if isinstance(user, int):
        user = fitted.net.user_vectors()[user : user + 1]
    logits = fitted.net.ranker(user, states, torch.tensor([tradeoff])).numpy()
    order = sorted(range(len(logits)), key=lambda row: (-logits[row], dataset.item_ids[row]))
    return [dataset.item_ids[row] for row in order], logits[order].astype(np.float64)


def assert_same_ranking(got: list[str], expected: list[str], logits: NDArray[np.float64]) -> None:
    """Compare id for id; ids whose logits agree within the parity tolerance may trade places."""
    logit_of = dict(zip(expected, logits, strict=True))
    assert sorted(got) == sorted(expected)
    for place, (item_id, wanted) in enumerate(zip(got, expected, strict=True), 1):
        if item_id != wanted:
            gap = abs(logit_of[item_id] - logit_of[wanted])
            assert gap < PARITY_TOLERANCE, f"place {place}: {item_id}, by torch {wanted} ({gap})"
