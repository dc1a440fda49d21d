"""What computes a model's logits: one product where it equals the graph, else onnxruntime."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import pytest

from service.contract.artifact import ArtifactError
from service.models.product import Product
from service.models.scorer import Scorer
from tests.conftest import World
from tests.contract.harmed import append_node, rehashed


def test_a_product_has_the_logits_of_the_run(world: World, copy: Path) -> None:
    product, run = Scorer(world.artifact), Scorer(world.artifact)
    product.replay()
    append_node(copy / "ranker.onnx", "Max")  # of one tensor: itself, but no proof of it
    other = Scorer(rehashed(copy, "ranker.onnx"))
    other.replay()
    assert (product.ranker, run.ranker, other.ranker) == ("product", "onnxruntime", "onnxruntime")
    states = np.eye(world.artifact.manifest.state_dim, dtype=np.float32)
    inputs = (world.artifact.golden().user, states, [0.0, 0.4, 1.0])
    logits = product.score(*inputs)
    assert logits.shape == (3, len(states))
    np.testing.assert_allclose(logits, run.score(*inputs), atol=1e-5)
    np.testing.assert_allclose(logits, other.score(*inputs), atol=1e-5)


def test_a_changed_weight_of_a_product_is_refused(copy: Path) -> None:
    model = onnx.load(copy / "ranker.onnx")
    (ones,) = [tensor for tensor in model.graph.initializer if tensor.name == "ones_like"]
    ones.CopyFrom(onnx.numpy_helper.from_array(np.full((1, 1), 1.01, np.float32), ones.name))
    onnx.save(model, copy / "ranker.onnx")
    scorer = Scorer(rehashed(copy, "ranker.onnx"))
    with pytest.raises(ArtifactError, match=r"golden.npz: logits: off by"):
        scorer.replay()
    assert scorer.ranker == "product"


@pytest.mark.parametrize("wrong", [1e-3, np.nan])
def test_a_product_that_differs_from_the_run_is_not_used(
    world: World, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, wrong: float
) -> None:
    logits = Product.logits
    monkeypatch.setattr(Product, "logits", lambda *inputs: logits(*inputs) + wrong)
    scorer = Scorer(world.artifact)
    scorer.replay()
    assert scorer.ranker == "onnxruntime"
    assert "toy@1: onnxruntime ranks, because the product folded from ranker.onnx is" in caplog.text
