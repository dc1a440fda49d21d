from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import Tensor

from tests.unit.training.nets.options import LIKELIHOOD_ALONE, D
from training.data.dataset import Dataset
from training.fitting.batches import SlateBatches, training_tables
from training.nets.base import Slates
from training.nets.cp2rec.decomposed import Cp2recOptions
from training.nets.cp2rec.decomposed_modules import DecomposedRanker
from training.nets.cp2rec.rivals import Cp2recRival, MacrRanker, RivalOptions
from training.nets.layers import content_inputs

MakeDataset = Callable[..., Dataset]


@pytest.fixture
def dataset(make_dataset: MakeDataset) -> Dataset:
    """Two users, six logged rows in slates of three, item 2 clicked twice."""
    return make_dataset(
        6,
        users=2,
        items=4,
        user=np.array([0, 0, 0, 1, 1, 1]),
        item=np.array([0, 1, 2, 2, 3, 0]),
        label=np.array([1, 0, 1, 1, 0, 0], np.float32),
        position=np.array([0, 1, 2, 0, 1, 2]),
        timestamp=np.arange(6.0),
        uniform=np.zeros(6, bool),
    )


def make(dataset: Dataset, options: RivalOptions) -> tuple[Cp2recRival, Slates]:
    """Return a net away from its initial values and the one batch, with all its columns."""
    torch.manual_seed(0)
    rows = np.arange(6)
    net = Cp2recRival(training_tables(dataset, rows), options)
    generator = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for parameter in net.parameters():
            parameter.add_(0.3 * torch.randn(parameter.shape, generator=generator))
    batches = SlateBatches(
        dataset,
        rows,
        slate=3,
        batch_slates=2,
        propensity=np.array([0.1, 0.2, 0.5, 1.0, 0.4, 0.25]),
        offset=np.array([0.5, -1.0, 0.0, 2.0, -0.5, 1.0]),
    )
    return net.eval(), next(batches.epoch(torch.Generator().manual_seed(0)))


@torch.no_grad()
def user_and_state(net: Cp2recRival, dataset: Dataset, batch: Slates) -> tuple[Tensor, Tensor]:
    """Return user vectors (R, U) and states (R, S) of the batch's rows."""
    embedding = torch.from_numpy(dataset.embedding)[batch.item]
    mask = torch.from_numpy(dataset.modality_mask)[batch.item].float()
    content = net.item_encoder.content(embedding, mask)
    learned = net.learned_items()[batch.item]
    common = net.item_encoder.common(content_inputs(content, mask), learned)
    pull = net.item_encoder.readout(net.item_encoder.proxy(batch.proxies))
    state = torch.cat([common, pull, torch.zeros_like(common[:, :D])], 1)
    nobody = torch.zeros(2, dtype=torch.bool)
    return net.slate_users(batch, nobody, net.users(batch.user))[batch.slate], state


def scores(net: Cp2recRival, dataset: Dataset, batch: Slates, w: float) -> Tensor:
    user, state = user_and_state(net, dataset, batch)
    return DecomposedRanker(D).pairwise(user, state, torch.tensor([w]))


def examined(net: Cp2recRival, logit: Tensor, batch: Slates) -> float:
    """-log P(label) with P(click at k) = theta_k sigmoid(logit), row by row."""
    theta = [1.0, *torch.sigmoid(net.examination.theta.detach()).tolist()]
    total = 0.0
    for score, label, k in zip(
        logit.tolist(), batch.label.tolist(), batch.position.tolist(), strict=True
    ):
        click = theta[k] / (1 + math.exp(-score))
        total -= math.log(click if label == 1 else 1 - click)
    return total / len(logit)


@pytest.mark.parametrize("w", [0.0, 0.25, 1.0])
def test_single_explains_clicks_by_its_score_and_the_teachers_offset(
    dataset: Dataset, w: float
) -> None:
    net, batch = make(dataset, RivalOptions(objective="single", tower=LIKELIHOOD_ALONE, tradeoff=w))

    by_hand = examined(net, scores(net, dataset, batch, 1.0) + (1 - w) * batch.offset, batch)

    assert net.loss(batch).item() == pytest.approx(by_hand, abs=1e-5)


def test_ips_weighs_the_debiased_head_and_adds_the_biased_one(dataset: Dataset) -> None:
    net, batch = make(
        dataset, RivalOptions(objective="ips", tower=LIKELIHOOD_ALONE, biased_weight=0.5)
    )

    debiased = 0.0
    for score, label, theta in zip(
        scores(net, dataset, batch, 0.0).tolist(),
        batch.label.tolist(),
        batch.propensity.tolist(),
        strict=True,
    ):
        p = 1 / (1 + math.exp(-score))
        debiased -= math.log(p if label == 1 else 1 - p) / theta / 6
    by_hand = debiased + 0.5 * examined(net, scores(net, dataset, batch, 1.0), batch)

    assert net.loss(batch).item() == pytest.approx(by_hand, abs=1e-4)


def test_pda_raises_popularity_to_its_exponent(dataset: Dataset) -> None:
    net, batch = make(dataset, RivalOptions(objective="pda", tower=LIKELIHOOD_ALONE))
    clicks = {0: 1, 1: 0, 2: 2, 3: 0}
    exponent = net.exponent.item()
    assert abs(exponent) > 0.05

    debiased = scores(net, dataset, batch, 0.0).tolist()
    served = {
        w: torch.tensor(
            [
                math.log(m + 1 if m > 0 else math.exp(m)) + w * exponent * math.log1p(clicks[i])
                for m, i in zip(debiased, batch.item.tolist(), strict=True)
            ]
        )
        for w in (0.5, 1.0)
    }

    assert net.loss(batch).item() == pytest.approx(examined(net, served[1.0], batch), abs=1e-5)
    half = net.with_popularity(torch.tensor(debiased), batch.item, 0.5).detach()
    torch.testing.assert_close(half, served[0.5], rtol=0, atol=1e-5)


def test_macr_gates_the_match_and_subtracts_the_effects_of_item_and_user_alone(
    dataset: Dataset,
) -> None:
    net, batch = make(dataset, RivalOptions(objective="macr", tower=LIKELIHOOD_ALONE))
    user, state = user_and_state(net, dataset, batch)
    ranker = net.ranker
    assert isinstance(ranker, MacrRanker)
    with torch.no_grad():
        item = state[:, :D] @ ranker.item.weight[0] + ranker.item.bias
        person = user[:, :D] @ ranker.user.weight[0] + ranker.user.bias
    match = scores(net, dataset, batch, 0.0)
    gate = 1 / (1 + torch.exp(-item)) / (1 + torch.exp(-person))

    heads = examined(net, item, batch) + examined(net, person, batch)
    by_hand = examined(net, match * gate, batch) + 1e-3 * heads
    assert net.loss(batch).item() == pytest.approx(by_hand, abs=1e-5)
    served = ranker.pairwise(user, state, torch.tensor([0.25])).detach()
    torch.testing.assert_close(served, (match - 1.5) * gate)


def test_the_tower_is_that_of_the_decomposed_net(dataset: Dataset) -> None:
    """Terms other than the likelihood are added alike."""
    full = replace(Cp2recOptions(), dim=D, proxy_bins=4, proxy_dropout=0.0, new_share=0.0)
    added = []
    for objective in ("single", "pda"):
        plain, batch = make(dataset, RivalOptions(objective=objective, tower=LIKELIHOOD_ALONE))
        whole, _ = make(dataset, RivalOptions(objective=objective, tower=full))
        added.append((whole.loss(batch) - plain.loss(batch)).item())
    assert added[0] == pytest.approx(added[1], abs=1e-5)
    assert added[0] > 0.1
