from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import Tensor

from tests.unit.training.nets.cp2rec.decomposed_by_hand import (
    Formula,
    batch_of,
    make_net,
    scores,
    states,
    zero,
)
from tests.unit.training.nets.options import D
from training.data.dataset import Dataset
from training.nets.cp2rec.decomposed_modules import DecomposedRanker


@pytest.mark.parametrize("w", [0.0, 0.25, 1.0])
def test_scores_are_those_of_the_documented_formula(dataset: Dataset, w: float) -> None:
    net = make_net(dataset)

    expected = Formula(net, dataset).scores(w)

    np.testing.assert_allclose(scores(net, dataset, w), expected, rtol=0, atol=2e-5)
    assert np.ptp(expected) > 1


def eighths(*shape: int) -> Tensor:
    """Numbers whose sums of products are exact in float32, in any order."""
    return torch.randint(-16, 17, shape, generator=torch.Generator().manual_seed(sum(shape))) / 8


def test_both_ends_reproduce_their_heads_bit_for_bit() -> None:
    user, state = eighths(50, D + 2), eighths(50, 2 * D + 3)
    p, user_bias, conformity = user[:, :D], user[:, D], user[:, D + 1]
    q, bias, r1, r2 = state[:, :D], state[:, D], state[:, D + 1], state[:, D + 2]
    ranker = DecomposedRanker(D)

    debiased = (p * q).sum(1) + bias + user_bias

    assert torch.equal(ranker.pairwise(user, state, torch.tensor([0.0])), debiased)
    assert torch.equal(
        ranker.pairwise(user, state, torch.tensor([1.0])), debiased + conformity * r1 + r2
    )


def test_forward_equals_pairwise(dataset: Dataset) -> None:
    net = make_net(dataset)
    state, users = states(net, dataset), net.user_vectors()
    for w in (0.0, 0.3, 1.0):
        tradeoff = torch.tensor([w])
        for user in users[:3]:
            one_by_one = net.ranker.pairwise(user.expand(len(state), -1), state, tradeoff)
            all_at_once = net.ranker(user[None], state, tradeoff)
            torch.testing.assert_close(all_at_once, one_by_one, rtol=0, atol=1e-6)
    assert torch.equal(
        DecomposedRanker(D)(eighths(1, D + 2), eighths(9, 2 * D + 3), torch.tensor([0.5])),
        DecomposedRanker(D).pairwise(
            eighths(1, D + 2).expand(9, -1), eighths(9, 2 * D + 3), torch.tensor([0.5])
        ),
    )


def test_scores_are_affine_in_the_tradeoff(dataset: Dataset) -> None:
    net = make_net(dataset)
    debiased, biased = scores(net, dataset, 0.0), scores(net, dataset, 1.0)
    assert (biased - debiased).abs().min() > 1e-4
    for w in np.linspace(0, 1, 11).tolist():
        mixed = (1 - w) * debiased + w * biased
        torch.testing.assert_close(scores(net, dataset, w), mixed, rtol=0, atol=2e-6)


def test_proxies_move_every_score_but_the_debiased_one(dataset: Dataset) -> None:
    net = make_net(dataset)
    live, unknown = states(net, dataset), states(net, dataset, torch.full((10, 3), torch.nan))
    user = net.user_vectors()[:1]

    def rank(state: Tensor, w: float) -> Tensor:
        logit: Tensor = net.ranker(user, state, torch.tensor([w]))
        return logit

    assert torch.equal(rank(live, 0.0), rank(unknown, 0.0))
    assert (rank(live, 0.1) != rank(unknown, 0.1)).all()


def test_position_enters_the_likelihood_alone(dataset: Dataset) -> None:
    net = make_net(dataset)
    before, seen = scores(net, dataset, 1.0), batch_of(dataset)
    likelihood = net.loss(seen).item()

    zero(net.examination.theta)

    assert torch.equal(scores(net, dataset, 1.0), before)
    assert net.loss(seen).item() != pytest.approx(likelihood, abs=1e-3)

    position = dataset.impressions.position
    assert position is not None
    shuffled = replace(dataset.impressions, position=position[::-1].copy())
    assert torch.equal(
        scores(make_net(replace(dataset, impressions=shuffled)), dataset, 1.0), before
    )


def test_an_item_never_trained_on_lives_by_its_content(dataset: Dataset) -> None:
    net = make_net(dataset)
    embedding, mask = torch.from_numpy(dataset.embedding), torch.ones(10, 2)
    proxies = torch.from_numpy(dataset.proxies)

    def encode(learned: Tensor, known: float) -> Tensor:
        last = torch.full((10, 1), known)
        state: Tensor = net.item_encoder(
            torch.cat([embedding, learned], 1), torch.cat([mask, last], 1), proxies
        )
        return state

    learned = net.learned_items()
    cold = encode(learned, 0.0)
    assert torch.equal(cold, encode(torch.zeros_like(learned), 1.0))
    torch.testing.assert_close(encode(learned, 1.0)[:, : D + 1] - cold[:, : D + 1], learned)


def test_scaling_the_exposure_term_leaves_the_debiased_end(dataset: Dataset) -> None:
    net = make_net(dataset)
    user = net.user_vectors()[:1].detach()
    ends = [torch.tensor([w]) for w in (0.0, 1.0)]
    with torch.no_grad():
        before = [net.ranker(user, states(net, dataset), w) for w in ends]
        net.scale_exposure(0.25)
        after = [net.ranker(user, states(net, dataset), w) for w in ends]
    assert torch.equal(before[0], after[0])
    torch.testing.assert_close(after[1] - after[0], 0.25 * (before[1] - before[0]))
