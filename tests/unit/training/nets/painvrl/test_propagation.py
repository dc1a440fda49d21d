from __future__ import annotations

import numpy as np
import torch

from tests.unit.training.nets.painvrl.small_net import ROWS, clicks_of
from training.data.dataset import Dataset
from training.nets.painvrl.propagation import Propagation


def test_propagation_is_the_dense_formula(dataset: Dataset) -> None:
    propagate = Propagation(clicks_of(dataset), users=12, items=10, layers=2)
    impressions = dataset.impressions
    clicked = ROWS[impressions.label[ROWS] > 0]
    A = np.zeros((12, 10))
    A[impressions.user[clicked], impressions.item[clicked]] = 1
    A /= np.sqrt(A.sum(1, keepdims=True) * A.sum(0, keepdims=True))
    rng = np.random.default_rng(0)
    users, items = rng.normal(size=(12, 4)), rng.normal(size=(10, 4))

    result = propagate(torch.from_numpy(users).float(), torch.from_numpy(items).float())

    np.testing.assert_allclose(result[0], (users + A @ items + A @ A.T @ users) / 3, atol=1e-5)
    np.testing.assert_allclose(result[1], (items + A.T @ users + A.T @ A @ items) / 3, atol=1e-5)


def test_gradients_travel_back_as_embeddings_travel(dataset: Dataset) -> None:
    # A symmetric linear map is its own gradient.
    propagate = Propagation(clicks_of(dataset), users=12, items=10, layers=2)
    inputs = [torch.randn(n, 2, requires_grad=True) for n in (12, 10)]
    toward = [torch.randn(n, 2) for n in (12, 10)]
    out = propagate(*inputs)

    gradients = torch.autograd.grad(out, inputs, grad_outputs=toward)

    for gradient, expected in zip(gradients, propagate(*toward), strict=True):
        torch.testing.assert_close(gradient, expected)
