from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor
from torch.nn import functional as F  # noqa: N812  # its usual name

from training.data.dataset import Dataset
from training.fitting.batches import SlateBatches
from training.nets.base import Slates, with_learned
from training.nets.cp2rec.debiased_loss import debiased_loss
from training.nets.cp2rec.interaction import Cp2recInteraction
from training.nets.cp2rec.interaction_layers import (
    ConditionalGaussian,
    InteractionOptions,
    Purifier,
)

OPTIONS = InteractionOptions(dim=4, hidden=8, proxy_bins=4, proxy_dropout=0.0, id_dropout=0.0)
EVERY = [
    replace(OPTIONS, main=main, mode=mode)
    for main in ("ncf", "dcn")
    for mode in ("paper", "front", "backdoor")
]


def logged(dataset: Dataset) -> np.ndarray:
    return np.flatnonzero(~dataset.impressions.uniform)


def batches(dataset: Dataset, **columns: Any) -> SlateBatches:
    return SlateBatches(dataset, logged(dataset), slate=4, batch_slates=8, **columns)


def a_batch(dataset: Dataset, **columns: Any) -> Slates:
    return next(batches(dataset, **columns).epoch(torch.Generator().manual_seed(0)))


def make_net(dataset: Dataset, options: InteractionOptions) -> Cp2recInteraction:
    """A net with every parameter away from where it starts."""
    torch.manual_seed(0)
    net = Cp2recInteraction(batches(dataset).tables, options)
    with torch.no_grad():
        for parameter in net.parameters():
            parameter.add_(0.3 * torch.randn(parameter.shape))
    return net.eval()


@torch.no_grad()
def inputs(net: Cp2recInteraction, dataset: Dataset) -> tuple[Tensor, Tensor, Tensor]:
    known = torch.ones(len(dataset.item_ids))
    embedding, mask = with_learned(
        torch.from_numpy(dataset.embedding),
        torch.from_numpy(dataset.modality_mask).float(),
        net.learned_items(),
        known,
    )
    return embedding, mask, torch.from_numpy(dataset.proxies)


@pytest.mark.parametrize("options", EVERY)
def test_the_exported_form_equals_the_row_by_row_form(
    dataset: Dataset, options: InteractionOptions
) -> None:
    net = make_net(dataset, options)
    with torch.no_grad():
        state = net.item_encoder(*inputs(net, dataset))
        user = net.user_vectors()[3:4]
        for w in (0.0, 0.3, 1.0):
            tradeoff = torch.tensor([w])
            rows = net.ranker.pairwise(user.expand(len(state), -1), state, tradeoff)
            torch.testing.assert_close(net.ranker(user, state, tradeoff), rows)
            one_a_row = net.ranker.pairwise(
                user.expand(len(state), -1), state, tradeoff.expand(len(state))
            )
            torch.testing.assert_close(one_a_row, rows)
    assert state.shape[1] == 4 * options.dim


@pytest.mark.parametrize("main", ["ncf", "dcn"])
def test_the_ends_of_paper_are_its_two_heads_exactly(dataset: Dataset, main: Any) -> None:
    net = make_net(dataset, replace(OPTIONS, main=main, mode="paper"))
    with torch.no_grad():
        embedding, mask, proxies = inputs(net, dataset)
        state = net.item_encoder(embedding, mask, proxies)
        user = net.user_vectors()[2:3].expand(len(state), -1)
        debiased, biased = net.ranker.heads(user, state)
        raw, known = embedding[:, : -OPTIONS.dim], mask[:, :-1]
        content = net.item_encoder.content(raw, known)
        learned = embedding[:, -OPTIONS.dim :] * mask[:, -1:]
        z, c = net.item_encoder.features(content, known, learned, proxies)
        refine = net.item_encoder.refine
        assert refine is not None
        refined = torch.sigmoid(refine(c))
        for head, proxy in ((debiased, refined), (biased, c)):
            by_hand = net.ranker._logit(user, z, proxy, torch.zeros(1, 1))
            torch.testing.assert_close(head, by_hand, rtol=0, atol=0)
        half = net.ranker.pairwise(user, state, torch.tensor([0.5]))
        torch.testing.assert_close(half, (debiased + biased) / 2)
    assert (debiased - biased).abs().max() > 0.01


def test_backdoor_averages_over_the_proxies_of_donors(dataset: Dataset) -> None:
    net = make_net(dataset, replace(OPTIONS, mode="backdoor", donors=3))
    rows = batches(dataset).tables.proxies
    donors = rows[[0, (len(rows) - 1) // 2, len(rows) - 1]]
    with torch.no_grad():
        embedding, mask, proxies = inputs(net, dataset)
        user = net.user_vectors()[2:3]

        def at(w: float, proxies: Tensor) -> Tensor:
            state = net.item_encoder(embedding, mask, proxies)
            logit: Tensor = net.ranker(user, state, torch.tensor([w]))
            return logit

        borrowed = [at(1.0, donor.expand(len(proxies), -1)) for donor in donors]
        average = torch.stack(borrowed).mean(0)
        torch.testing.assert_close(at(0.0, proxies), average)
        own = at(1.0, proxies)
        torch.testing.assert_close(at(0.25, proxies), 0.75 * average + 0.25 * own)
    assert (own - average).abs().max() > 0.01


def test_without_refined_proxies_the_debiased_head_does_not_see_them(dataset: Dataset) -> None:
    net = make_net(dataset, replace(OPTIONS, mode="paper", refine=False))
    with torch.no_grad():
        embedding, mask, proxies = inputs(net, dataset)
        user = net.user_vectors()[:1]
        zero, one = torch.zeros(1), torch.ones(1)
        before = net.item_encoder(embedding, mask, proxies)
        after = net.item_encoder(embedding, mask, proxies + 100.0)
        assert torch.equal(net.ranker(user, before, zero), net.ranker(user, after, zero))
        assert not torch.equal(net.ranker(user, before, one), net.ranker(user, after, one))


def test_modulation_starts_at_nothing(dataset: Dataset) -> None:
    torch.manual_seed(0)
    net = Cp2recInteraction(batches(dataset).tables, OPTIONS).eval()
    with torch.no_grad():
        torch.nn.init.normal_(net.ranker.out.weight)
        state = net.item_encoder(*inputs(net, dataset))
        state[:, 4:12] = 0.0  # c and c' alike: w can then act through modulation alone
        user = net.user_vectors()[:1]
        ends = [net.ranker(user, state, torch.tensor([w])) for w in (0.0, 1.0)]
        assert torch.equal(*ends)
        assert net.ranker.film is not None
        torch.nn.init.normal_(net.ranker.film.weight)
        assert not torch.equal(ends[0], net.ranker(user, state, torch.tensor([1.0])))
        assert torch.equal(ends[0], net.ranker(user, state, torch.tensor([0.0])))


def test_position_never_enters_a_score_but_explains_clicks(dataset: Dataset) -> None:
    net = make_net(dataset, OPTIONS)
    batch = a_batch(dataset)
    lower = replace(batch, position=batch.position.clamp(min=1))
    torch.manual_seed(1)
    first = net.loss(batch)
    torch.manual_seed(1)
    assert net.loss(lower) != first


@pytest.mark.parametrize("options", EVERY)
def test_every_part_learns(dataset: Dataset, options: InteractionOptions) -> None:
    offset = np.random.default_rng(0).normal(size=len(logged(dataset)))
    net = make_net(dataset, options).train()
    net.loss(a_batch(dataset, offset=offset)).backward()
    still = {name for name, p in net.named_parameters() if p.grad is None or not p.grad.any()}
    # Cross layers belong to DCN; who has no user attributes has nothing to learn there.
    allowed = {name for name in still if ".cross." in name and options.main == "ncf"}
    assert still - allowed <= {"attributes"}


def test_the_front_loss_hides_the_offset_from_the_debiased_end(dataset: Dataset) -> None:
    options = replace(OPTIONS, orthogonality_weight=0.0, l2=0.0)
    net = make_net(dataset, options)
    rows = len(logged(dataset))
    batch = a_batch(dataset, offset=np.full(rows, 1.7))
    state = torch.randn(len(batch.item), 16)
    user = torch.randn(len(batch.item), 4)
    torch.manual_seed(5)
    got = net._front_loss(user, state, batch)
    torch.manual_seed(5)
    w = (2.0 * torch.rand(len(state)) - 0.5).clamp(0.0, 1.0)
    assert 0.1 < (w == 0).float().mean() < 0.4
    assert 0.1 < (w == 1).float().mean() < 0.4
    logit = net.ranker.pairwise(user, state, w) + (1 - w) * 1.7
    torch.testing.assert_close(got, net.examination(logit, batch))


# Purification


def test_projection_leaves_nothing_of_the_proxies() -> None:
    torch.manual_seed(0)
    z, c = torch.randn(50, 6), torch.randn(50, 6)
    purified = Purifier("proj", 6)(z, c)
    assert (purified * c).sum(1).abs().max() < 1e-5
    # What was orthogonal before is what is left.
    torch.testing.assert_close(purified + (z * c).sum(1, True) / (c * c).sum(1, True) * c, z)
    assert Purifier("proj", 6).loss(z, c) == 0


def test_cosine_loss_by_hand() -> None:
    z = torch.tensor([[3.0, 4.0], [1.0, 0.0]])
    c = torch.tensor([[4.0, 3.0], [0.0, -2.0]])
    purify = Purifier("cos", 2)
    assert purify.loss(z, c) == pytest.approx((24 / 25 + 0) / 2)
    assert torch.equal(purify(z, c), z)


def test_the_information_bound_equals_all_pairs() -> None:
    torch.manual_seed(0)
    q = ConditionalGaussian(3)
    z, c = torch.randn(9, 3), torch.randn(9, 3)
    with torch.no_grad():
        mean, log_variance = q(z)
    total = 0.0
    for i in range(9):
        log_q = [
            -(((c[j] - mean[i]) ** 2 / log_variance[i].exp()).sum() + log_variance[i].sum()) / 2
            for j in range(9)
        ]
        total += float(log_q[i] - sum(log_q) / 9) / 9
    assert q.bound(z, c).item() == pytest.approx(total, abs=1e-5)


def test_the_bound_trains_the_features_and_the_likelihood_trains_the_estimate() -> None:
    torch.manual_seed(0)
    q = ConditionalGaussian(3)
    z, c = torch.randn(9, 3, requires_grad=True), torch.randn(9, 3)
    q.bound(z, c).backward()
    assert z.grad is not None
    assert z.grad.any()
    assert all(weight.grad is None for weight in q.parameters())
    purify = Purifier("solve", 3)
    z.grad = None
    assert purify.estimate is not None
    purify.estimate.nll(z.detach(), c).backward()
    assert z.grad is None
    assert all(weight.grad is not None for weight in purify.estimate.parameters())


def test_minimising_the_bound_takes_dependence_out() -> None:
    torch.manual_seed(0)
    c = torch.randn(256, 2)
    taste = torch.randn(256, 2)
    mix = torch.nn.Parameter(torch.tensor([1.0]))  # z = taste + mix c
    purify = Purifier("solve", 2)
    # The estimate must keep ahead of what it estimates.
    groups = [{"params": [mix], "lr": 0.005}, {"params": purify.parameters(), "lr": 0.02}]
    optimizer = torch.optim.Adam(groups)
    for _ in range(400):
        optimizer.zero_grad()
        purify.loss(taste + mix * c, c).backward()
        optimizer.step()
    assert abs(mix.item()) < 0.25


# Debiasing losses


def loss_batch(dataset: Dataset, label: list[float], propensity: list[float]) -> Slates:
    rows = len(label)
    return replace(
        a_batch(dataset),
        label=torch.tensor(label),
        propensity=torch.tensor(propensity),
        valid=torch.ones(rows, dtype=torch.bool),
    )


def test_debiasing_losses_by_hand(dataset: Dataset) -> None:
    batch = loss_batch(dataset, [1.0, 0.0], [0.5, 0.25])
    logit = torch.tensor([math.log(3.0), 0.0])  # p = .75, .5
    click, skip = -math.log(0.75), -math.log(0.5)
    expected = {
        "ips": (2 * click + 4 * skip) / 2,
        "snips": (2 * click + 4 * skip) / 6,
        "pos": (2 * click + skip) / 2,
        "rel": ((2 * 0.0625 + (1 - 2) * 0.5625) + 0.25) / 2,
    }
    for kind, value in expected.items():
        assert debiased_loss(logit, batch, kind) == pytest.approx(value, abs=1e-6), kind  # type: ignore[arg-type]


@pytest.mark.parametrize("kind", ["ips", "snips", "pos"])
def test_certain_exposure_leaves_plain_cross_entropy(dataset: Dataset, kind: Any) -> None:
    batch = loss_batch(dataset, [1.0, 0.0, 1.0], [1.0, 1.0, 1.0])
    logit = torch.tensor([0.3, -2.0, 1.0])
    plain = F.binary_cross_entropy_with_logits(logit, batch.label)
    torch.testing.assert_close(debiased_loss(logit, batch, kind), plain)


@pytest.mark.parametrize("kind", ["ips", "snips", "pos", "rel"])
def test_padded_rows_change_no_debiasing_loss(dataset: Dataset, kind: Any) -> None:
    batch = loss_batch(dataset, [1.0, 0.0, 1.0], [0.5, 0.2, 0.1])
    short = loss_batch(dataset, [1.0, 0.0], [0.5, 0.2])
    logit = torch.tensor([0.3, -2.0, 9.0])
    padded = replace(batch, valid=torch.tensor([True, True, False]))
    torch.testing.assert_close(
        debiased_loss(logit, padded, kind), debiased_loss(logit[:2], short, kind)
    )
