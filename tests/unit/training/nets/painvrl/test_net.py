from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch

from training.data.dataset import Dataset
from training.fitting.batches import SlateBatches, training_tables
from training.nets.base import Slates, with_learned
from training.nets.painvrl.modules import PainvrlOptions
from training.nets.painvrl.net import Painvrl

ROWS = np.arange(180)
SMALL = PainvrlOptions(
    dim=4, layers=2, temperature=0.15, gates="half", rounds=1, mask_steps=3, new_share=0.0, kept=0.0
)
BASES = ("lightgcn", "ultragcn")


class Memory:
    """What ``prepare`` keeps, in memory; raises once so many saves are done."""

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


def net_of(dataset: Dataset, seed: int = 0, **options: Any) -> Painvrl:
    torch.manual_seed(seed)
    net = Painvrl(training_tables(dataset, ROWS), replace(SMALL, **options))
    with torch.no_grad():  # as if trained
        for parameter in net.parameters():
            parameter.add_(0.3 * torch.randn(parameter.shape))
    return net


def batch_of(dataset: Dataset) -> Slates:
    batches = SlateBatches(dataset, ROWS, slate=16, batch_slates=100)
    (batch,) = batches.epoch(torch.Generator().manual_seed(0))
    return batch


@torch.no_grad()
def scores(net: Painvrl, dataset: Dataset, t: float) -> torch.Tensor:
    """Return the logits (U, I) as they are served."""
    inputs = with_learned(
        torch.from_numpy(dataset.embedding),
        torch.from_numpy(dataset.modality_mask).float(),
        net.learned_items(),
        torch.ones(len(dataset.item_ids), dtype=torch.bool),
    )
    state = net.item_encoder(*inputs, torch.from_numpy(dataset.proxies))
    return net.ranker.all_pairs(net.user_vectors(), state, torch.tensor([t]))


def half_open(net: Painvrl) -> None:
    net.item_encoder.gates[::2] = 0.0


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


def test_ultragcn_s_score_is_the_sum_of_its_four_parts(dataset: Dataset) -> None:
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


def test_propagation_is_the_dense_formula(dataset: Dataset) -> None:
    net = net_of(dataset)
    impressions = dataset.impressions
    clicked = ROWS[impressions.label[ROWS] > 0]
    A = np.zeros((12, 10))
    A[impressions.user[clicked], impressions.item[clicked]] = 1
    A /= np.sqrt(A.sum(1, keepdims=True) * A.sum(0, keepdims=True))
    rng = np.random.default_rng(0)
    users, items = rng.normal(size=(12, 4)), rng.normal(size=(10, 4))

    got = net._propagate(torch.from_numpy(users).float(), torch.from_numpy(items).float())

    np.testing.assert_allclose(got[0], (users + A @ items + A @ A.T @ users) / 3, atol=1e-5)
    np.testing.assert_allclose(got[1], (items + A.T @ users + A.T @ A @ items) / 3, atol=1e-5)


def test_gradients_travel_back_as_embeddings_travel(dataset: Dataset) -> None:
    propagate = net_of(dataset)._propagate  # a symmetric linear map is its own gradient
    inputs = [torch.randn(n, 2, requires_grad=True) for n in (12, 10)]
    toward = [torch.randn(n, 2) for n in (12, 10)]
    out = propagate(*inputs)

    gradients = torch.autograd.grad(out, inputs, grad_outputs=toward)

    for got, expected in zip(gradients, propagate(*toward), strict=True):
        torch.testing.assert_close(got, expected)


@pytest.mark.parametrize("base", BASES)
def test_the_softmax_sees_what_is_served(dataset: Dataset, base: str) -> None:
    net = net_of(dataset, base=base, debiased_share=0.0)
    batch = batch_of(dataset)
    clicked = batch.valid & (batch.label > 0.5)
    user, item = batch.user[batch.slate[clicked]], batch.item[clicked]

    loss = net.loss(batch).item()

    served = scores(net, dataset, 1.0)
    if base == "lightgcn":
        log_softmax = served.log_softmax(1)
        assert loss == pytest.approx(-log_softmax[user, item].mean().item(), abs=1e-4)
    else:
        assert loss > 0


def test_at_zero_popularity_stands_in_for_what_t_adds(dataset: Dataset) -> None:
    net = net_of(dataset, debiased_share=1.0)
    batch = batch_of(dataset)
    clicked = batch.valid & (batch.label > 0.5)
    user, item = batch.user[batch.slate[clicked]], batch.item[clicked]
    clicks = torch.bincount(net._clicks.item, minlength=10) + 0.5

    logits = scores(net, dataset, 0.0) + 0.3 * torch.log(clicks / clicks.mean())

    expected = -logits.log_softmax(1)[user, item].mean().item()
    assert net.loss(batch).item() == pytest.approx(expected, abs=1e-4)


def test_a_batch_without_clicks_teaches_nothing(dataset: Dataset) -> None:
    batch = batch_of(dataset)
    silent = replace(batch, label=torch.zeros_like(batch.label))

    assert net_of(dataset).loss(silent).item() == 0.0


def test_ultragcn_s_loss_is_its_formula_by_hand(dataset: Dataset) -> None:
    net = net_of(dataset, base="ultragcn", debiased_share=0.0, negative_weight=0.0, l2=0.0)
    batch = batch_of(dataset)
    served = scores(net, dataset, 1.0).numpy()
    impressions = dataset.impressions
    clicked = ROWS[impressions.label[ROWS] > 0]
    user, item = impressions.user[clicked], impressions.item[clicked]
    of_user, of_item = np.bincount(user, minlength=12), np.bincount(item, minlength=10)
    terms = [
        np.sqrt((of_user[u] + 1) / (of_item[i] + 1)) / of_user[u] * np.log1p(np.exp(-served[u, i]))
        for u, i in zip(user, item, strict=True)
    ]

    assert net.loss(batch).item() == pytest.approx(np.mean(terms), rel=1e-4)


def test_a_sampled_softmax_is_about_the_full_one(dataset: Dataset) -> None:
    batch = batch_of(dataset)
    full = net_of(dataset, debiased_share=0.0).loss(batch).item()
    sampled = net_of(dataset, debiased_share=0.0, candidates=8)

    drawn = np.mean([sampled.loss(batch).item() for _ in range(200)])

    assert drawn == pytest.approx(full, abs=0.25)  # the sample adds each click to its own negatives
    assert drawn != full


@pytest.mark.parametrize("base", BASES)
def test_every_weight_learns(dataset: Dataset, base: str) -> None:
    net = net_of(dataset, base=base, new_share=0.4, debiased_share=0.5)
    half_open(net)

    net.loss(batch_of(dataset)).backward()

    for name, parameter in net.named_parameters():
        assert parameter.grad is not None, name
        assert parameter.grad.abs().max() > 0, name


@pytest.mark.parametrize("base", BASES)
def test_training_ranks_clicks_above_the_rest(dataset: Dataset, base: str) -> None:
    net = net_of(dataset, base=base, debiased_share=0.0)
    optimizer = torch.optim.Adam(net.parameters(), lr=0.05)
    batch = batch_of(dataset)
    before = net.loss(batch).item()
    for _ in range(80):
        optimizer.zero_grad()
        loss = net.loss(batch)
        loss.backward()
        optimizer.step()

    clicked = torch.zeros(12, 10, dtype=torch.bool)
    clicked[net._clicks.user, net._clicks.item] = True
    served = scores(net, dataset, 1.0)

    assert loss.item() < before
    assert served[clicked].mean() > served[~clicked].mean() + 0.5


def test_a_cold_item_is_known_by_its_content_alone(dataset: Dataset) -> None:
    net = net_of(dataset)
    embedding = torch.from_numpy(dataset.embedding[2:4])
    mask = torch.from_numpy(dataset.modality_mask[2:4]).float()
    learned = net.learned_items()[2:4].detach()
    cold = with_learned(embedding, mask, learned, torch.tensor([False, False]))
    other = with_learned(embedding, mask, learned + 1.0, torch.tensor([False, False]))
    proxies = torch.from_numpy(dataset.proxies[2:4])

    states = net.item_encoder(*cold, proxies)

    torch.testing.assert_close(states, net.item_encoder(*other, proxies))
    torch.testing.assert_close(states[:, -1], net.item_encoder.new_bias.expand(2))
    assert (states[0] - states[1]).abs().max() > 0.05


def test_a_missing_modality_is_a_learned_vector(dataset: Dataset) -> None:
    net = net_of(dataset)
    embedding = torch.from_numpy(dataset.embedding[:1])
    lacking = torch.tensor([[0.0, 1.0]])
    content = net.item_encoder.content
    filled = content.filled(content(embedding, lacking), lacking)

    torch.testing.assert_close(filled[0, :3], content.missing[:3])
    torch.testing.assert_close(filled[0, 3:], content(embedding, lacking)[0, 3:])


def test_a_history_gives_a_user_and_nothing_gives_the_average_one(dataset: Dataset) -> None:
    net = net_of(dataset)
    with torch.no_grad():
        inputs = with_learned(
            torch.from_numpy(dataset.embedding),
            torch.from_numpy(dataset.modality_mask).float(),
            net.learned_items(),
            torch.ones(10, dtype=torch.bool),
        )
        state = net.item_encoder(*inputs, torch.from_numpy(dataset.proxies))
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
    state = torch.zeros(0, 9)

    torch.testing.assert_close(net.user_vectors()[4], net.user_encoder(state)[0])


def test_the_mask_is_found_before_training_and_half_of_it_is_open(dataset: Dataset) -> None:
    net = net_of(dataset)
    net.prepare(0, Memory())

    assert sorted(net.item_encoder.gates.tolist()) == [0, 0, 1, 1, 1]
    assert net.invariance is not None
    assert len(net.invariance.weights) == 3


def test_without_a_mask_nothing_is_sought(dataset: Dataset) -> None:
    net = net_of(dataset, gates="none")
    net.prepare(0, Memory(saves=0))

    assert net.item_encoder.gates.tolist() == [1.0] * 5
    assert net.invariance is None


@pytest.mark.parametrize("environments", ["inferred", "popularity", "time", "random"])
def test_an_interrupted_search_ends_at_the_same_mask(dataset: Dataset, environments: str) -> None:
    whole = net_of(dataset, environments=environments, rounds=3)
    whole.prepare(5, Memory())
    memory = Memory(saves=1)
    cut = net_of(dataset, environments=environments, rounds=3)
    with pytest.raises(InterruptedError):
        cut.prepare(5, memory)
    memory.saves = 100

    cut.prepare(5, memory)

    assert whole.invariance is not None
    assert cut.invariance is not None
    assert cut.invariance.weights == whole.invariance.weights
    torch.testing.assert_close(cut.invariance.mu, whole.invariance.mu, atol=0, rtol=0)
    torch.testing.assert_close(cut.item_encoder.gates, whole.item_encoder.gates)


def test_dropping_variant_content_leaves_popularity_to_t(dataset: Dataset) -> None:
    net = net_of(dataset, convert=False)
    half_open(net)

    change = scores(net, dataset, 1.0) - scores(net, dataset, 0.0)

    torch.testing.assert_close(change, change[:1].expand_as(change), atol=1e-5, rtol=1e-5)
    assert change.abs().max() > 0.05
