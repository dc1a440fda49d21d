from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest
import torch

from tests.unit.training.nets.cp2rec.decomposed_by_hand import (
    FULL,
    Formula,
    batch_of,
    logged,
    make_net,
    slate_users,
    states,
    zero,
)
from tests.unit.training.nets.options import D
from training.data.dataset import Dataset


def test_a_user_without_history_is_the_average_user(dataset: Dataset) -> None:
    net = make_net(dataset)

    vector = net.user_encoder(torch.empty(0, 2 * D + 3))

    expected = [*[0.0] * D, net.mu.item(), math.exp(net.conformity.item())]
    assert vector.shape == (1, D + 2)
    assert vector[0].tolist() == pytest.approx(expected, rel=1e-6)


def test_history_is_a_set(dataset: Dataset) -> None:
    net = make_net(dataset)
    state = states(net, dataset)[[3, 1, 4, 1, 5]]

    torch.testing.assert_close(net.user_encoder(state.flip(0)), net.user_encoder(state))
    assert not torch.allclose(net.user_encoder(state[:3]), net.user_encoder(state))


def test_new_users_are_encoded_from_their_other_clicks(dataset: Dataset) -> None:
    net = make_net(dataset)
    rows, impressions = logged(dataset), dataset.impressions
    numbers = np.arange(len(impressions))  # a row's number as its position
    batch = batch_of(replace(dataset, impressions=replace(impressions, position=numbers)))
    new = torch.arange(len(batch.user)) % 2 == 0

    vectors = slate_users(net, batch, new).detach()

    state = states(net, dataset)
    for slate, user in enumerate(batch.user.tolist()):
        slate_rows = batch.position[batch.slate == slate].tolist()
        clicked = rows[(impressions.user[rows] == user) & (impressions.label[rows] == 1)]
        others = clicked[~np.isin(clicked, slate_rows)]
        encoded = net.user_encoder(state[impressions.item[others]])[0].detach()
        assert torch.allclose(vectors[slate], encoded, rtol=0, atol=1e-5) == bool(new[slate])


def test_where_all_users_are_new_nothing_of_a_record_learns(dataset: Dataset) -> None:
    net = make_net(dataset, replace(FULL, new_share=0.999999, prior_weight=0.0)).train()

    net.loss(batch_of(dataset)).backward()

    for of_a_record in (net.users, net.clicked, net.exposed):
        assert of_a_record.weight.grad is not None
        assert not of_a_record.weight.grad.to_dense().any()
    assert net.item_encoder.clicked.weight.grad is not None
    assert net.item_encoder.clicked.weight.grad.any()


def test_a_slate_is_left_out_of_the_history_that_predicts_it(dataset: Dataset) -> None:
    net = make_net(dataset)
    rows = np.arange(len(dataset.impressions))  # a row's number as its position
    numbered = replace(dataset, impressions=replace(dataset.impressions, position=rows))
    batch = batch_of(numbered)

    vectors = slate_users(net, batch)

    formula = Formula(net, dataset)
    for slate, user in enumerate(batch.user.tolist()):
        slate_rows = batch.position[batch.slate == slate].tolist()
        expected = formula.user(user, tuple(slate_rows))
        np.testing.assert_allclose(vectors[slate].detach(), expected, rtol=0, atol=1e-5)
    whole = net.user_vectors()[batch.user]
    assert (vectors - whole).abs().amax(1).min() > 1e-3


def test_a_user_whose_only_slate_is_left_out_has_no_history(dataset: Dataset) -> None:
    net = make_net(dataset)
    batch = batch_of(dataset, slate=64, slates=12)
    assert len(batch.user) == 12

    vectors = slate_users(net, batch)

    zero(net.clicked.weight, net.exposed.weight)
    torch.testing.assert_close(vectors, net.user_vectors()[batch.user], rtol=0, atol=1e-6)
