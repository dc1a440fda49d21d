from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import Tensor

from tests.unit.training.nets.cp2rec.decomposed_by_hand import (
    batch_of,
    make_net,
    slate_users,
    zero,
)
from tests.unit.training.nets.options import LIKELIHOOD_ALONE, D
from training.data.dataset import Dataset
from training.nets.base import Slates, with_learned
from training.nets.cp2rec.decomposed import Cp2recDecomposed

MakeDataset = Callable[..., Dataset]


def loss(dataset: Dataset, batch: Slates, **options: float) -> float:
    net = make_net(dataset, replace(LIKELIHOOD_ALONE, **options))  # type: ignore[arg-type]  # options of several types
    return net.loss(batch).item()


def tiny(make_dataset: MakeDataset, **columns: object) -> Dataset:
    """Two users, five logged rows, positions 0 to 2."""
    return make_dataset(
        5,
        users=2,
        items=4,
        user=np.array([0, 0, 0, 1, 1]),
        item=np.array([0, 1, 2, 2, 3]),
        label=np.array([1, 0, 1, 0, 1], np.float32),
        position=np.array([0, 1, 2, 0, 1]),
        timestamp=np.arange(5.0),
        uniform=np.zeros(5, bool),
        **columns,
    )


@torch.no_grad()
def parts(
    net: Cp2recDecomposed, dataset: Dataset, batch: Slates
) -> Iterator[tuple[int, Tensor, Tensor, Tensor]]:
    """Row, user vector of its slate, state and embedded proxies, of the rows that are valid."""
    embedding, mask = with_learned(
        torch.from_numpy(dataset.embedding)[batch.item],
        batch.modality_mask,
        net.learned_items()[batch.item],
        torch.ones(len(batch.item)),
    )
    state = net.item_encoder(embedding, mask, batch.proxies)
    c = net.item_encoder.proxy(batch.proxies)
    users = slate_users(net, dataset, batch)
    for row in batch.valid.nonzero().flatten().tolist():
        yield row, users[batch.slate[row]], state[row], c[row]


def test_likelihood_by_hand(make_dataset: MakeDataset) -> None:
    data = tiny(make_dataset)
    net, batch = make_net(data), batch_of(data, slate=4)
    theta = [1.0, *torch.sigmoid(net.examination.theta.detach()).tolist()]
    assert len(theta) == 3

    total = 0.0
    for row, user, state, _ in parts(net, data, batch):
        logit = net.ranker(user[None], state[None], torch.tensor([1.0])).item()
        click = theta[int(batch.position[row])] / (1 + math.exp(-logit))
        total -= math.log(click if batch.label[row] == 1 else 1 - click)

    assert net.loss(batch).item() == pytest.approx(total / 5, abs=1e-5)


def test_likelihood_of_a_known_probability(make_dataset: MakeDataset) -> None:
    data = tiny(make_dataset)
    net, batch = make_net(data), batch_of(data)
    zero(*net.parameters())  # sigmoid(0) = 1/2, theta = 1, 1/2, 1/2
    # Clicks of probability 1/2, 1/4, 1/4 at positions 0, 2, 1; skips of 1/4 and 1/2 at 1 and 0.
    by_hand = -sum(math.log(p) for p in (1 / 2, 1 / 4, 1 / 4, 3 / 4, 1 / 2)) / 5

    assert net.loss(batch).item() == pytest.approx(by_hand, abs=1e-6)


def test_likelihood_of_extreme_scores_is_finite(make_dataset: MakeDataset) -> None:
    data = tiny(make_dataset)
    net = make_net(data)
    with torch.no_grad():
        net.mu.fill_(200.0)
    value = net.loss(batch_of(data))
    value.backward()

    assert torch.isfinite(value)
    assert all(torch.isfinite(p.grad).all() for p in net.parameters() if p.grad is not None)


def test_exposure_term_by_hand(make_dataset: MakeDataset) -> None:
    data = tiny(make_dataset)
    net, batch = make_net(data), batch_of(data, slate=4)
    gamma = math.exp(net.log_gamma.item())
    assert gamma != pytest.approx(1.0, abs=0.01)
    rows = list(parts(net, data, batch))

    total = 0.0
    for _, user, exposed, _ in rows:
        scores = [gamma * float(user[:D] @ state[:D]) for _, _, state, _ in rows]
        score_of_exposed = gamma * float(user[:D] @ exposed[:D])
        total += math.log(sum(math.exp(score) for score in scores)) - score_of_exposed

    added = loss(data, batch, exposure_weight=0.5) - loss(data, batch)
    assert added == pytest.approx(0.5 * total / 5, abs=1e-5)


def test_purification_by_hand(make_dataset: MakeDataset) -> None:
    data = tiny(make_dataset)
    batch = batch_of(data, slate=4)
    cosines = [
        abs(float(state[:D] @ c) / float(state[:D].norm() * c.norm()))
        for _, _, state, c in parts(make_net(data), data, batch)
    ]

    added = loss(data, batch, orthogonality_weight=2.0) - loss(data, batch)
    assert added == pytest.approx(2 * sum(cosines) / 5, abs=1e-5)


def test_factor_term_by_hand(make_dataset: MakeDataset) -> None:
    data = tiny(make_dataset)
    batch = batch_of(data, slate=4)
    rows = list(parts(make_net(data), data, batch))
    p = {int(batch.slate[row]): float(user[:D].square().sum()) for row, user, _, _ in rows}
    q = [float(state[:D].square().sum()) for _, _, state, _ in rows]

    added = loss(data, batch, factor_weight=0.5) - loss(data, batch)
    assert added == pytest.approx(0.5 * (sum(p.values()) / 2 + sum(q) / 5), abs=1e-5)


@pytest.mark.parametrize(
    ("option", "table"),
    [
        ("item_factor_sd", "item_factor"),
        ("item_bias_sd", "item_bias"),
        ("user_bias_sd", "user_bias"),
        ("conformity_sd", "user_conformity"),
    ],
)
def test_priors_by_hand(make_dataset: MakeDataset, option: str, table: str) -> None:
    data = tiny(make_dataset)
    batch = batch_of(data)
    values = make_net(data).get_parameter(f"{table}.weight").flatten().tolist()

    added = loss(data, batch, **{option: 0.5}) - loss(data, batch)

    assert added == pytest.approx(sum(v**2 for v in values) / (2 * 0.25) / 5, abs=1e-5)


def test_priors_count_all_training_rows_whatever_the_batch(dataset: Dataset) -> None:
    batches = [batch_of(dataset, slates=slates) for slates in (2, 9)]

    added = [loss(dataset, b, item_bias_sd=0.1) - loss(dataset, b) for b in batches]

    values = make_net(dataset).item_bias.weight.square().sum().item()
    assert added == pytest.approx([values / (2 * 0.01) / 180] * 2, abs=1e-5)
