from __future__ import annotations

from typing import Any

import pytest
import torch

from tests.unit.training.nets.painvrl.small_net import net_of
from training.data.dataset import Dataset


class Memory:
    """A progress store in memory, which raises after so many saves."""

    def __init__(self, saves: int = 100) -> None:
        self.state: dict[str, Any] | None = None
        self.saves = saves

    def load(self) -> dict[str, Any] | None:
        return self.state

    def save(self, state: dict[str, Any]) -> None:
        if self.saves == 0:
            raise InterruptedError
        self.saves -= 1
        self.state = {k: list(v) if isinstance(v, list) else v for k, v in state.items()}


def test_the_mask_is_found_before_training_and_half_of_it_is_open(dataset: Dataset) -> None:
    net = net_of(dataset)
    net.prepare(0, Memory())

    mask = net.learned_mask()
    assert mask is not None
    assert sorted(mask.gates.tolist()) == [0, 0, 1, 1, 1]
    assert torch.equal(mask.gates, net.item_encoder.gates)
    assert len(mask.weights) == 3


def test_without_a_mask_nothing_is_sought(dataset: Dataset) -> None:
    net = net_of(dataset, gates="none")
    net.prepare(0, Memory(saves=0))

    assert net.item_encoder.gates.tolist() == [1.0] * 5
    assert net.learned_mask() is None


@pytest.mark.parametrize("environments", ["inferred", "popularity", "time", "random"])
def test_an_interrupted_search_ends_at_the_same_mask(dataset: Dataset, environments: str) -> None:
    whole = net_of(dataset, environments=environments, rounds=2)
    whole.prepare(5, Memory())
    memory = Memory(saves=1)
    cut = net_of(dataset, environments=environments, rounds=2)
    with pytest.raises(InterruptedError):
        cut.prepare(5, memory)
    memory.saves = 100

    cut.prepare(5, memory)

    assert whole.invariance is not None
    assert cut.invariance is not None
    assert cut.invariance.weights == whole.invariance.weights
    torch.testing.assert_close(cut.invariance.mu, whole.invariance.mu, atol=0, rtol=0)
    torch.testing.assert_close(cut.item_encoder.gates, whole.item_encoder.gates)
