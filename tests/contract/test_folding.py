"""The exported interaction ranker folds per request and gives the logits of training."""

from __future__ import annotations

from typing import Literal

import onnx
import pytest
import torch
from torch import nn

from tests.conftest import World
from training.nets.cp2rec.interaction_layers import InteractionOptions, InteractionRanker

DIM, PROXIES = 8, 5


@pytest.mark.parametrize("tradeoff", [0.0, 0.37, 1.0])
@pytest.mark.parametrize("cross_layers", [1, 2, 4])
@pytest.mark.parametrize("architecture", ["ncf", "dcn"])
@pytest.mark.parametrize("mode", ["paper", "front", "backdoor"])
@torch.inference_mode()
def test_the_folded_ranker_is_the_trained_one(
    mode: Literal["paper", "front", "backdoor"],
    architecture: Literal["ncf", "dcn"],
    cross_layers: int,
    tradeoff: float,
) -> None:
    torch.manual_seed(5)
    options = InteractionOptions(
        mode=mode, architecture=architecture, dim=DIM, hidden=16, cross_layers=cross_layers
    )
    donors = torch.randn(options.donors, PROXIES)
    ranker = InteractionRanker(options, torch.tensor(0.3), nn.Linear(PROXIES, DIM), donors)
    for parameter in ranker.parameters():  # the last layer and FiLM start at zero
        nn.init.normal_(parameter, std=0.4)
    ranker.double()  # differences come from algebra, not from rounding
    users, state = torch.randn(3, DIM).double(), torch.randn(67, 4 * DIM).double()
    w = torch.tensor([tradeoff]).double()
    for user in users:
        expected = ranker.pairwise(user.expand(len(state), -1), state, w)
        assert expected.std() > 0.1
        torch.testing.assert_close(ranker(user[None], state, w), expected, atol=1e-9, rtol=1e-9)


def test_no_user_vector_is_repeated_for_each_item(interaction_world: World) -> None:
    graph = onnx.load(interaction_world.artifact.graph("ranker")).graph
    assert "Expand" not in {node.op_type for node in graph.node}
