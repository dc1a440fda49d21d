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
from training.fitting.batches import training_tables
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
    """Row, user vector of its slate, state and embedded proxies of each row."""
    embedding, mask = with_learned(
        torch.from_numpy(dataset.embedding)[batch.item],
        torch.from_numpy(dataset.modality_mask)[batch.item].float(),
        net.learned_items()[batch.item],
        torch.ones(len(batch.item)),
    )
    state = net.item_encoder(embedding, mask, batch.proxies)
    c = net.item_encoder.proxy(batch.proxies)
    users = slate_users(net, batch)
    for row in range(len(batch.item)):
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
    gradients = [p.grad.to_dense() for p in net.parameters() if p.grad is not None]
    assert all(torch.isfinite(gradient).all() for gradient in gradients)


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


@torch.no_grad()
def priors_by_hand(net: Cp2recDecomposed, data: Dataset, batch: Slates) -> tuple[float, float]:
    """KL of the id terms from their priors, and the part that the factors' uncertainty adds."""
    curvature = 0.6 * 0.4  # three of the five rows are clicks
    rows = list(parts(net, data, batch))
    q = {row: state[:D] for row, _, state, _ in rows}
    p = {row: user[:D] for row, user, _, _ in rows}
    mean_q = sum(float(x.square().mean()) for x in q.values()) / 5
    mean_p = sum(float(x.square().mean()) for x in p.values()) / 5
    pull = sum(float(user[D + 1] * state[D + 1]) ** 2 for _, user, state, _ in rows) / 5
    user_rows, item_rows = [3, 2], [1, 1, 2, 1]
    information = {
        "item_factor": [n * curvature * mean_p for n in item_rows],
        "item_bias": [n * curvature for n in item_rows],
        "user_factor": [n * curvature * mean_q for n in user_rows],
        "user_bias": [n * curvature for n in user_rows],
        "user_conformity": [n * curvature * pull for n in user_rows],
    }
    divergence, variances = 0.0, {}
    for name, curvatures in information.items():
        table, term = name.split("_")
        priors = {"item": net.item_priors, "user": net.user_priors}[table]
        sd = float(priors.log_sd[["factor", "bias", "conformity"].index(term)].exp())
        variances[name] = [1 / (1 / sd**2 + h) for h in curvatures]
        values = {"item": net.items, "user": net.users}[table].term(term)
        for value, v in zip(values, variances[name], strict=True):
            for x in value.tolist():  # KL of N(x, v) from N(0, sd^2)
                divergence += math.log(sd / math.sqrt(v)) + (v + x**2) / (2 * sd**2) - 0.5
    spread = 0.0
    for row, _, _, _ in rows:
        slate, item = int(batch.slate[row]), int(batch.item[row])
        spread += variances["user_factor"][int(batch.user[slate])] * float(q[row].square().sum())
        spread += variances["item_factor"][item] * float(p[row].square().sum())
    return divergence / 5, curvature / 2 * spread / 5


def test_priors_by_hand(make_dataset: MakeDataset) -> None:
    data = tiny(make_dataset)
    batch = batch_of(data, slate=4)
    divergence, spread = priors_by_hand(make_net(data), data, batch)
    assert divergence > 0.01
    assert spread > 0.001

    alone = loss(data, batch)
    certain = loss(data, batch, prior_weight=1.0, uncertainty_weight=0.0)
    both = loss(data, batch, prior_weight=2.0, uncertainty_weight=0.5)

    assert certain - alone == pytest.approx(divergence, rel=1e-4)
    assert both - alone == pytest.approx(2 * (divergence + 0.5 * spread), rel=1e-4)


def test_an_epoch_counts_the_prior_of_each_id_once(dataset: Dataset) -> None:
    whole = batch_of(dataset, slates=99)
    net = make_net(dataset)
    rows = torch.bincount(whole.item)
    share = 1.0 / rows[whole.item]

    total = net.item_priors.loss(net.items(whole.item), share, torch.zeros(len(share), 2))

    squares = [net.items.term(name)[rows > 0].square().sum() for name in ("factor", "bias")]
    expected = torch.stack(squares) / (2 * net.item_priors.log_sd.exp().square())
    assert total.item() == pytest.approx(expected.sum().item(), rel=1e-4)


def test_users_start_at_their_shrunken_click_rates(make_dataset: MakeDataset) -> None:
    net = Cp2recDecomposed(training_tables(tiny(make_dataset), np.arange(5)), LIKELIHOOD_ALONE)

    # Surplus of clicks over 3/5 of the rows, by rows * 3/5 * 2/5 + 1 / .5^2.
    expected = [(2 - 1.8) / (3 * 0.24 + 4), (1 - 1.2) / (2 * 0.24 + 4)]
    assert net.users.term("bias").flatten().tolist() == pytest.approx(expected)


def test_users_of_few_rows_take_short_steps(make_dataset: MakeDataset) -> None:
    net = Cp2recDecomposed(training_tables(tiny(make_dataset), np.arange(5)), LIKELIHOOD_ALONE)

    assert net.users.pace.tolist() == pytest.approx([math.sqrt(3 / 53), math.sqrt(2 / 52)])
    assert net.items.pace.tolist() == [1.0] * 4
