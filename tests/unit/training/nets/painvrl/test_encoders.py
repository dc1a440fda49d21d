from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from tests.unit.training.nets.painvrl.small_net import net_of, states
from training.data.dataset import Dataset
from training.nets.base import with_learned


def test_a_cold_item_is_known_by_its_content_alone(dataset: Dataset) -> None:
    net = net_of(dataset)
    embedding = torch.from_numpy(dataset.embedding[2:4])
    mask = torch.from_numpy(dataset.modality_mask[2:4]).float()
    learned = net.learned_items()[2:4].detach()
    cold = with_learned(embedding, mask, learned, torch.tensor([False, False]))
    other = with_learned(embedding, mask, learned + 1.0, torch.tensor([False, False]))
    proxies = torch.from_numpy(dataset.proxies[2:4])

    state = net.item_encoder(*cold, proxies)

    torch.testing.assert_close(state, net.item_encoder(*other, proxies))
    torch.testing.assert_close(state[:, -1], net.item_encoder.new_bias.expand(2))
    assert (state[0] - state[1]).abs().max() > 0.05


def test_a_missing_modality_is_a_learned_vector(dataset: Dataset) -> None:
    net = net_of(dataset)
    embedding = torch.from_numpy(dataset.embedding[:1])
    lacking = torch.tensor([[0.0, 1.0]])
    content = net.item_encoder.content
    filled = content.filled(content(embedding, lacking), lacking)

    torch.testing.assert_close(filled[0, :3], content.missing[:3])
    torch.testing.assert_close(filled[0, 3:], content(embedding, lacking)[0, 3:])


def test_a_history_gives_a_user_and_an_empty_one_gives_the_average_user(dataset: Dataset) -> None:
    net = net_of(dataset)
    state = states(net, dataset)
    with torch.no_grad():
        one, two, none = (net.user_encoder(state[:n]) for n in (1, 2, 0))

    for user in (one, two, none):
        assert user.norm().item() == pytest.approx(1 / 0.15, rel=1e-4)
    assert (one - two).abs().max() > 0.05
    bias = net.user_encoder.taste.bias
    torch.testing.assert_close(none[0], bias / bias.norm() / 0.15)


def test_users_without_clicks_are_average_ones(dataset: Dataset) -> None:
    label = dataset.impressions.label.copy()
    label[dataset.impressions.user == 4] = 0
    silent = replace(dataset, impressions=replace(dataset.impressions, label=label))
    net = net_of(silent)
    history = torch.zeros(0, 9)

    torch.testing.assert_close(net.user_vectors()[4], net.user_encoder(history)[0])
