"""The graphs of every registered architecture give torch's results, at every size."""

from __future__ import annotations

from pathlib import Path
from unittest import mock

import numpy as np
import onnxruntime as ort
import pytest
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.onnx._internal.exporter._capture_strategies import TorchExportStrictStrategy

from service.catalog.item_table import TILE_ROWS
from service.models.graph_nodes import graph_nodes
from service.models.product import folded, is_product
from tests.contract.architectures import LoggedRows, small
from training.config import PARITY_TOLERANCE
from training.nets.base import FrontNet
from training.nets.registry import configurable
from training.release.export import export_graphs

TRADEOFFS = (0.0, 0.37, 1.0)

Array = NDArray[np.float32]


class Graphs:
    """A net and its graphs, as the service would run them."""

    def __init__(self, net: FrontNet, rows: LoggedRows, folder: Path) -> None:
        self.net, self.rows = net, rows
        self._inputs: dict[str, list[str]] = {}
        self._sessions: dict[str, ort.InferenceSession] = {}
        for name, graph in export_graphs(net, rows.dataset, folder).items():
            path, providers = folder / f"{name}.onnx", ["CPUExecutionProvider"]
            self._sessions[name] = ort.InferenceSession(path, providers=providers)
            self._inputs[name] = [tensor.name for tensor in graph.inputs]

        self.ranker = folder / "ranker.onnx"

    def run(self, name: str, *inputs: Tensor) -> Array:
        """Return the output of one graph."""
        feed = dict(zip(self._inputs[name], (x.numpy() for x in inputs), strict=True))
        (output,) = self._sessions[name].run(None, feed)
        return np.asarray(output)


@pytest.fixture(scope="module", params=configurable())
def graphs(
    request: pytest.FixtureRequest,
    logged_rows: LoggedRows,
    tmp_path_factory: pytest.TempPathFactory,
) -> Graphs:
    net = logged_rows.net(small(request.param))
    # PyTorch's second way, for a net that fixes a size, takes several times as long.
    with mock.patch.object(TorchExportStrictStrategy, "_capture", side_effect=AssertionError):
        return Graphs(net, logged_rows, tmp_path_factory.mktemp("graphs"))


def assert_same(output: Array, expected: Tensor) -> None:
    assert output.shape == tuple(expected.shape)
    assert np.isfinite(output).all()
    np.testing.assert_allclose(output, expected.numpy(), rtol=0, atol=PARITY_TOLERANCE)


@pytest.mark.parametrize("count", [1, 3, 65])
@torch.inference_mode()
def test_items_and_scores_at_any_number_of_candidates(graphs: Graphs, count: int) -> None:
    net = graphs.net
    embedding, mask, proxies = (x[:count].clone() for x in graphs.rows.inputs(net))
    proxies[0] = torch.nan
    if count > 2:
        embedding[2], mask[2] = 0.0, 0.0  # neither content nor id

    state = net.item_encoder(embedding, mask, proxies)

    assert_same(graphs.run("item_encoder", embedding, mask, proxies), state)
    user = net.user_vectors()[3:4]
    for tradeoff in TRADEOFFS:
        w = torch.tensor([tradeoff])
        assert_same(graphs.run("ranker", user, state, w), net.ranker(user, state, w))


@pytest.mark.parametrize("length", [0, 1, 5])
@torch.inference_mode()
def test_users_at_any_length_of_history(graphs: Graphs, length: int) -> None:
    history = graphs.rows.states(graphs.net)[:length]

    assert_same(graphs.run("user_encoder", history), graphs.net.user_encoder(history))


@pytest.mark.parametrize("length", [0, 1, 5])
@torch.inference_mode()
def test_known_users_after_any_number_of_engagements(graphs: Graphs, length: int) -> None:
    moves = graphs.net.user_moves()
    if moves is None:
        pytest.skip("known users do not move")
    embedding, mask, _ = graphs.rows.inputs(graphs.net)
    trace = moves.history_encoder(embedding, mask)[:length]
    record = graphs.net.user_records()[4:5]

    assert_same(graphs.run("history_encoder", embedding[:length], mask[:length]), trace)
    moved = moves.user_update(record, trace)
    assert_same(graphs.run("user_update", record, trace), moved)
    assert torch.allclose(moved, graphs.net.user_vectors()[4:5]) is (length == 0)


@torch.inference_mode()
def test_equal_candidates_get_equal_scores_in_whole_tiles(graphs: Graphs) -> None:
    """The service pads candidates to whole tiles: a product rounds a tile's rest differently."""
    repeated = graphs.rows.states(graphs.net)[11:12].repeat(4 * TILE_ROWS, 1)

    for user in graphs.net.user_vectors()[:5].split(1):
        logits = graphs.run("ranker", user, repeated, torch.tensor([0.37]))
        assert len(np.unique(logits)) == 1


@torch.inference_mode()
def test_a_ranker_that_is_affine_in_each_input_is_served_as_one_product(graphs: Graphs) -> None:
    """The service reads from the graph what one sees in its logits: half-way between two inputs."""
    generator = torch.Generator().manual_seed(1)
    state, user = graphs.rows.states(graphs.net), graphs.net.user_vectors()[3:4]
    first = (user, state, torch.zeros(1))
    affine = True
    for place, second in enumerate(
        (torch.randn(user.shape, generator=generator), state.flip(0), torch.ones(1))
    ):
        other, middle = list(first), list(first)
        other[place], middle[place] = second, (first[place] + second) / 2
        ends = graphs.run("ranker", *first) + graphs.run("ranker", *other)
        affine &= np.allclose(graphs.run("ranker", *middle), ends / 2, rtol=0, atol=1e-4)

    assert is_product(graph_nodes(graphs.ranker)) is affine


@pytest.mark.parametrize("count", [0, 1, 2, 3, 65])
@torch.inference_mode()
def test_the_product_has_the_logits_of_the_graph(graphs: Graphs, count: int) -> None:
    if not is_product(graph_nodes(graphs.ranker)):
        pytest.skip("not one product")
    state, user = graphs.rows.states(graphs.net)[:count], graphs.net.user_vectors()[3:4]

    def run(user: Array, state: Array, tradeoff: float) -> Array:
        inputs = (torch.from_numpy(user), torch.from_numpy(state), torch.tensor([tradeoff]))
        return graphs.run("ranker", *inputs)

    product = folded(run, user.shape[1], state.shape[1])

    for row, tradeoff in zip(
        product.logits(user.numpy(), state.numpy(), TRADEOFFS), TRADEOFFS, strict=True
    ):
        assert_same(row, graphs.net.ranker(user, state, torch.tensor([tradeoff])))
