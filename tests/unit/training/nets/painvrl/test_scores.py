from __future__ import annotations

import numpy as np
import pytest
import torch

from tests.unit.training.nets.painvrl.small_net import BASES, ROWS, half_open, net_of, scores
from training.data.dataset import Dataset


@pytest.mark.parametrize("base", BASES)
def test_at_one_the_score_is_that_of_the_unmasked_net(dataset: Dataset, base: str) -> None:
    net = net_of(dataset, base=base)
    unmasked = {t: scores(net, dataset, t) for t in (0.0, 1.0)}
    half_open(net)

    torch.testing.assert_close(scores(net, dataset, 1.0), unmasked[1.0], atol=1e-5, rtol=1e-5)
    assert (scores(net, dataset, 0.0) - unmasked[0.0]).abs().max() > 0.05


@pytest.mark.parametrize("base", BASES)
def test_with_all_gates_open_and_no_popularity_t_does_nothing(dataset: Dataset, base: str) -> None:
    net = net_of(dataset, base=base, popularity=0.0)

    zero, one = scores(net, dataset, 0.0), scores(net, dataset, 1.0)
    half_open(net)

    torch.testing.assert_close(zero, one)
    assert (scores(net, dataset, 0.0) - one).abs().max() > 0.05


@pytest.mark.parametrize("base", BASES)
def test_the_score_is_linear_in_t(dataset: Dataset, base: str) -> None:
    net = net_of(dataset, base=base)
    half_open(net)
    zero, one = scores(net, dataset, 0.0), scores(net, dataset, 1.0)

    torch.testing.assert_close(scores(net, dataset, 0.25), 0.75 * zero + 0.25 * one)
    assert (one - zero).abs().max() > 0.05


def test_the_debiased_end_keeps_its_share(dataset: Dataset) -> None:
    whole, short = net_of(dataset), net_of(dataset, kept=0.4)
    for net in (whole, short):
        half_open(net)

    torch.testing.assert_close(scores(short, dataset, 0.0), scores(whole, dataset, 0.4))
    torch.testing.assert_close(scores(short, dataset, 0.5), scores(whole, dataset, 0.7))
    torch.testing.assert_close(scores(short, dataset, 1.0), scores(whole, dataset, 1.0))


def test_ultragcn_s_score_is_the_sum_of_its_four_terms(dataset: Dataset) -> None:
    net = net_of(dataset, base="ultragcn")
    half_open(net)
    user, item, t = 3, 5, 0.4  # an item with all modalities
    with torch.no_grad():
        x = net.item_encoder.content(
            torch.from_numpy(dataset.embedding), torch.from_numpy(dataset.modality_mask).float()
        )[item].numpy()
        m, W = net.item_encoder.gates.numpy(), net.item_encoder.weight.weight.numpy()
        u_id, u_c = net.user_factor.weight[user].numpy().reshape(2, 4)
        v = net.item_factor.weight[item].numpy()
        count = np.bincount(
            dataset.impressions.item[ROWS], dataset.impressions.label[ROWS], minlength=10
        )
        prior = 0.3 * np.log((count + 0.5) / (count + 0.5).mean())
        b = prior[item] + net.item_bias.weight[item].item()

    expected = u_id @ v + u_c @ (W @ (m * x)) + t * (u_c @ (W @ ((1 - m) * x)) + b)

    assert scores(net, dataset, t)[user, item].item() == pytest.approx(float(expected), abs=1e-5)


def test_dropping_variant_content_leaves_popularity_to_t(dataset: Dataset) -> None:
    net = net_of(dataset, convert=False)
    half_open(net)

    change = scores(net, dataset, 1.0) - scores(net, dataset, 0.0)

    torch.testing.assert_close(change, change[:1].expand_as(change), atol=1e-5, rtol=1e-5)
    assert change.abs().max() > 0.05
