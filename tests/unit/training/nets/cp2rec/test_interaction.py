from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from training.data.dataset import Dataset
from training.fitting.batches import SlateBatches
from training.nets.base import Slates, with_learned
from training.nets.cp2rec.interaction import Cp2recInteraction
from training.nets.cp2rec.interaction_layers import InteractionOptions
from training.nets.layers import content_inputs

OPTIONS = InteractionOptions(dim=4, hidden=8, proxy_bins=4, proxy_dropout=0.0, id_dropout=0.0)
EVERY = [
    replace(OPTIONS, architecture=architecture, mode=mode)
    for architecture in ("ncf", "dcn")
    for mode in ("paper", "front", "backdoor")
]


def logged(dataset: Dataset) -> np.ndarray:
    return np.flatnonzero(~dataset.impressions.uniform)


def batches(dataset: Dataset, **columns: Any) -> SlateBatches:
    return SlateBatches(dataset, logged(dataset), slate=4, batch_slates=8, **columns)


def a_batch(dataset: Dataset, **columns: Any) -> Slates:
    return next(batches(dataset, **columns).epoch(torch.Generator().manual_seed(0)))


def make_net(dataset: Dataset, options: InteractionOptions) -> Cp2recInteraction:
    """Return a net whose parameters all differ from their initial values."""
    torch.manual_seed(0)
    net = Cp2recInteraction(batches(dataset).tables, options)
    with torch.no_grad():
        for parameter in net.parameters():
            parameter.add_(0.3 * torch.randn(parameter.shape))
    return net.eval()


@torch.no_grad()
def inputs(net: Cp2recInteraction, dataset: Dataset) -> tuple[Tensor, Tensor, Tensor]:
    warm = torch.ones(len(dataset.item_ids))
    embedding, mask = with_learned(
        torch.from_numpy(dataset.embedding),
        torch.from_numpy(dataset.modality_mask).float(),
        net.learned_items(),
        warm,
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


@pytest.mark.parametrize("architecture", ["ncf", "dcn"])
def test_the_ends_of_paper_are_its_two_heads_exactly(dataset: Dataset, architecture: Any) -> None:
    net = make_net(dataset, replace(OPTIONS, architecture=architecture, mode="paper"))
    with torch.no_grad():
        embedding, mask, proxies = inputs(net, dataset)
        state = net.item_encoder(embedding, mask, proxies)
        user = net.user_vectors()[2:3].expand(len(state), -1)
        debiased, biased = net.ranker.heads(user, state)
        raw, present = embedding[:, : -OPTIONS.dim], mask[:, :-1]
        content = net.item_encoder.content(raw, present)
        learned = embedding[:, -OPTIONS.dim :] * mask[:, -1:]
        z, c = net.item_encoder.features(content_inputs(content, present), learned, proxies)
        refine = net.item_encoder.refine
        assert refine is not None
        refined = torch.sigmoid(refine(c))
        for head, proxy in ((debiased, refined), (biased, c)):
            by_hand = net.ranker.biased(user, z, proxy)  # f([u, z, proxy])
            torch.testing.assert_close(head, by_hand, rtol=0, atol=0)
        half = net.ranker.pairwise(user, state, torch.tensor([0.5]))
        torch.testing.assert_close(half, (debiased + biased) / 2)
    assert (debiased - biased).abs().max() > 0.01


@pytest.mark.parametrize("options", EVERY)
def test_each_end_reads_its_own_proxies_alone(
    dataset: Dataset, options: InteractionOptions
) -> None:
    net = make_net(dataset, options)
    with torch.no_grad():
        state = net.item_encoder(*inputs(net, dataset))
        user = net.user_vectors()[2:3]
        d = options.dim
        for w, unread in ((0.0, slice(d, 2 * d)), (1.0, slice(2 * d, 3 * d))):  # c, then c'
            changed = state.clone()
            changed[:, unread] += 1.0
            tradeoff = torch.tensor([w])
            score = net.ranker(user, state, tradeoff)
            assert torch.equal(net.ranker(user, changed, tradeoff), score)
            rows = user.expand(len(state), -1)
            score = net.ranker.pairwise(rows, state, tradeoff)
            assert torch.equal(net.ranker.pairwise(rows, changed, tradeoff), score)


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

        by_donor = [at(1.0, donor.expand(len(proxies), -1)) for donor in donors]
        average = torch.stack(by_donor).mean(0)
        torch.testing.assert_close(at(0.0, proxies), average)
        logged = at(1.0, proxies)
        torch.testing.assert_close(at(0.25, proxies), 0.75 * average + 0.25 * logged)
    assert (logged - average).abs().max() > 0.01


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
    # NCF leaves cross layers unused; attributes learn nothing where no user has any.
    allowed = {name for name in still if ".cross." in name and options.architecture == "ncf"}
    assert still - allowed <= {"attributes"}


def test_the_front_loss_hides_the_offset_from_the_debiased_end(dataset: Dataset) -> None:
    options = replace(OPTIONS, orthogonality_weight=0.0, l2=0.0)
    net = make_net(dataset, options)
    batch = a_batch(dataset, offset=np.full(len(logged(dataset)), 1.7))
    with torch.no_grad():
        for of_history in (net.item_encoder.clicked, net.exposed):  # a slate leaves itself out
            of_history.weight.zero_()
        embedding, mask, _ = inputs(net, dataset)
        state = net.item_encoder(embedding[batch.item], mask[batch.item], batch.proxies)
        user = net.user_vectors()[batch.user[batch.slate]]
    torch.manual_seed(5)
    loss = net.loss(batch)
    torch.manual_seed(5)
    torch.rand(len(state), 1)  # the ids that are dropped
    w = (2.0 * torch.rand(len(state)) - 0.5).clamp(0.0, 1.0)
    assert 0.1 < (w == 0).float().mean() < 0.4
    assert 0.1 < (w == 1).float().mean() < 0.4
    logit = net.ranker.pairwise(user, state, w) + (1 - w) * 1.7
    torch.testing.assert_close(loss, net.examination(logit, batch))
