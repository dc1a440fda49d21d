from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass, fields, replace

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch import Tensor

from tests.unit.training.nets.options import LIKELIHOOD_ALONE, D
from training.data.dataset import Dataset
from training.fitting.batches import SlateBatches, training_tables
from training.nets.base import Slates, with_learned
from training.nets.cp2rec.decomposed import Cp2recDecomposed, Cp2recOptions, DecomposedRanker

MakeDataset = Callable[..., Dataset]

PRIOR = 5.0
FULL = replace(Cp2recOptions(), dim=D, proxy_bins=4, proxy_dropout=0.0, new_share=0.0)


def logged(dataset: Dataset) -> NDArray[np.int64]:
    return np.flatnonzero(~dataset.impressions.uniform)


def make_net(dataset: Dataset, options: Cp2recOptions = LIKELIHOOD_ALONE) -> Cp2recDecomposed:
    """A net with every parameter away from where it starts."""
    torch.manual_seed(0)
    net = Cp2recDecomposed(training_tables(dataset, logged(dataset)), options)
    generator = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for parameter in net.parameters():
            parameter.add_(0.3 * torch.randn(parameter.shape, generator=generator))
    return net.eval()


def zero(*parameters: Tensor) -> None:
    with torch.no_grad():
        for parameter in parameters:
            parameter.zero_()


@torch.no_grad()
def states(net: Cp2recDecomposed, dataset: Dataset, proxies: Tensor | None = None) -> Tensor:
    """States (I, S) of all items, as served."""
    embedding, mask = with_learned(
        torch.from_numpy(dataset.embedding),
        torch.from_numpy(dataset.modality_mask).float(),
        net.learned_items(),
        torch.ones(len(dataset.item_ids)),
    )
    if proxies is None:
        proxies = torch.from_numpy(dataset.proxies)
    state: Tensor = net.item_encoder(embedding, mask, proxies)
    return state


@torch.no_grad()
def scores(net: Cp2recDecomposed, dataset: Dataset, w: float) -> Tensor:
    """Logits (users, I) of every user with every item."""
    state = states(net, dataset)
    return torch.stack(
        [net.ranker(user[None], state, torch.tensor([w])) for user in net.user_vectors()]
    )


def slate_users(
    net: Cp2recDecomposed, dataset: Dataset, batch: Slates, new: Tensor | None = None
) -> Tensor:
    embedding = torch.from_numpy(dataset.embedding)[batch.item]
    content = net.item_encoder.content(embedding, batch.modality_mask)
    nobody = torch.zeros(len(batch.user), dtype=torch.bool)
    return net.slate_users(batch, content, nobody if new is None else new)


def batch_of(dataset: Dataset, slate: int = 4, slates: int = 7) -> Slates:
    """The first batch of an epoch of the logged rows."""
    batches = SlateBatches(dataset, logged(dataset), slate=slate, batch_slates=slates)
    return next(batches.epoch(torch.Generator().manual_seed(0)))


def loss(dataset: Dataset, batch: Slates, **options: float) -> float:
    net = make_net(dataset, replace(LIKELIHOOD_ALONE, **options))  # type: ignore[arg-type]
    return net.loss(batch).item()


@dataclass(frozen=True)
class Formula:
    """The module's docstring, computed from the net's parameters in float64, row by row."""

    net: Cp2recDecomposed
    dataset: Dataset

    def parameter(self, name: str) -> NDArray[np.float64]:
        return self.net.get_parameter(name).detach().double().numpy()

    def content(self) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Standardised content (I, 5) with the missing vector, and with zeros instead."""
        filled, bare = np.zeros((2, *self.dataset.embedding.shape))
        shown = self.dataset.impressions.item[logged(self.dataset)]
        missing = self.parameter("item_encoder.content.missing")
        for modality, dims in enumerate((slice(0, 3), slice(3, 5))):
            has = self.dataset.modality_mask[:, modality]
            rows = shown[has[shown]]
            block = self.dataset.embedding[:, dims].astype(np.float64)
            block = block - block[rows].mean(0)
            block /= np.sqrt((block[rows] ** 2).sum(1).mean())
            filled[has, dims] = bare[has, dims] = block[has]
            filled[~has, dims] = missing[dims]
        return filled, bare

    def user(self, row: int, left_out: tuple[int, ...] = ()) -> NDArray[np.float64]:
        """Vector (d + 2,) of a user whose history is its logged rows less ``left_out``."""
        impressions = self.dataset.impressions
        rows = logged(self.dataset)
        content = self.content()[1]
        mine = [r for r in rows if impressions.user[r] == row and r not in left_out]
        clicked = [r for r in mine if impressions.label[r] == 1]
        means = [
            content[impressions.item[some]].sum(0) / (len(some) + PRIOR) for some in (clicked, mine)
        ]
        raw = self.dataset.user_attributes
        standard = (raw[row] - raw.mean(0)) / raw.std(0)
        attributes = standard @ self.parameter("attributes")
        p = (
            self.parameter("user_factor.weight")[row]
            + attributes[:-1]
            + self.parameter("clicked.weight") @ means[0]
            + self.parameter("exposed.weight") @ means[1]
        )
        bias = self.parameter("mu") + self.parameter("user_bias.weight")[row, 0] + attributes[-1]
        conformity = self.parameter("conformity") + self.parameter("user_conformity.weight")[row, 0]
        return np.array([*p, bias, np.exp(conformity)])

    def scores(self, w: float) -> NDArray[np.float64]:
        x = self.content()[0]
        common = x @ self.parameter("item_encoder.factor.weight").T  # W and a
        q = common[:, :D] + self.parameter("item_factor.weight")
        bias = common[:, D] + self.parameter("item_bias.weight")[:, 0]
        with torch.no_grad():
            c = self.net.item_encoder.proxy(torch.from_numpy(self.dataset.proxies)).double().numpy()
        pull = c @ self.parameter("item_encoder.readout.weight").T
        users = [self.user(row) for row in range(len(self.dataset.user_ids))]
        return np.array(
            [
                q @ u[:D] + bias + u[D] + w * (u[D + 1] * pull[:, 0] + pull[:, 1])
                for u in users
            ]
        )  # fmt: skip


# Scores


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


# Users


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


def test_users_held_to_be_new_are_what_the_user_encoder_makes_of_their_other_clicks(
    dataset: Dataset,
) -> None:
    net = make_net(dataset)
    rows, impressions = logged(dataset), dataset.impressions
    numbers = np.arange(len(impressions))  # let positions tell which rows a slate holds
    batch = batch_of(replace(dataset, impressions=replace(impressions, position=numbers)))
    new = torch.arange(len(batch.user)) % 2 == 0

    vectors = slate_users(net, dataset, batch, new).detach()

    state = states(net, dataset)
    for slate, user in enumerate(batch.user.tolist()):
        own = batch.position[(batch.slate == slate) & batch.valid].tolist()
        clicked = rows[(impressions.user[rows] == user) & (impressions.label[rows] == 1)]
        others = clicked[~np.isin(clicked, own)]
        encoded = net.user_encoder(state[impressions.item[others]])[0].detach()
        assert torch.allclose(vectors[slate], encoded, rtol=0, atol=1e-5) == bool(new[slate])


def test_where_all_users_are_new_nothing_of_a_record_learns(dataset: Dataset) -> None:
    net = make_net(dataset, replace(FULL, new_share=0.999999)).train()

    net.loss(batch_of(dataset)).backward()

    for of_a_record in (net.user_factor, net.clicked, net.exposed):
        assert of_a_record.weight.grad is not None
        assert not of_a_record.weight.grad.any()
    assert net.item_encoder.clicked.weight.grad is not None
    assert net.item_encoder.clicked.weight.grad.any()


def test_a_slate_is_left_out_of_the_history_that_predicts_it(dataset: Dataset) -> None:
    net = make_net(dataset)
    rows = np.arange(len(dataset.impressions))  # let positions tell which rows a slate holds
    told = replace(dataset, impressions=replace(dataset.impressions, position=rows))
    batch = batch_of(told)

    vectors = slate_users(net, dataset, batch)

    formula = Formula(net, dataset)
    for slate, user in enumerate(batch.user.tolist()):
        own = batch.position[(batch.slate == slate) & batch.valid].tolist()
        expected = formula.user(user, tuple(own))
        np.testing.assert_allclose(vectors[slate].detach(), expected, rtol=0, atol=1e-5)
    whole = net.user_vectors()[batch.user]
    assert (vectors - whole).abs().amax(1).min() > 1e-3


def test_a_user_whose_only_slate_is_left_out_has_no_history(dataset: Dataset) -> None:
    net = make_net(dataset)
    batch = batch_of(dataset, slate=64, slates=12)
    assert len(batch.user) == 12

    vectors = slate_users(net, dataset, batch)

    zero(net.clicked.weight, net.exposed.weight)
    torch.testing.assert_close(vectors, net.user_vectors()[batch.user], rtol=0, atol=1e-6)


# Loss


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
    for _, user, mine, _ in rows:
        scores = [gamma * float(user[:D] @ state[:D]) for _, _, state, _ in rows]
        own = gamma * float(user[:D] @ mine[:D])
        total += math.log(sum(math.exp(score) for score in scores)) - own

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


def test_padding_changes_nothing(dataset: Dataset) -> None:
    net = make_net(dataset, FULL)
    batch = batch_of(dataset, slate=7, slates=12)
    assert not batch.valid.all()

    def widened(rows: Tensor) -> Tensor:
        """Rows (B, 7) with two more of another slate behind each."""
        rows = rows.view(12, 7)
        return torch.cat([rows, rows.roll(1, 0)[:, :2]], 1).flatten()

    per_row = {f.name for f in fields(batch)} - {"user", "slate"}
    padded = replace(
        batch,
        slate=torch.arange(12).repeat_interleave(9),
        **{name: getattr(batch, name)[widened(torch.arange(84))] for name in per_row},
    )
    padded.valid.view(12, 9)[:, 7:] = False

    def value_and_gradients(batch: Slates) -> list[Tensor]:
        net.zero_grad()
        value = net.loss(batch)
        value.backward()
        return [value.detach(), *(p.grad.clone() for p in net.parameters() if p.grad is not None)]

    for one, other in zip(value_and_gradients(batch), value_and_gradients(padded), strict=True):
        torch.testing.assert_close(one, other, rtol=1e-5, atol=1e-6)


def test_gradients_reach_every_parameter(dataset: Dataset) -> None:
    net = make_net(dataset, replace(FULL, proxy_bins=2, new_share=0.5)).train()

    net.loss(batch_of(dataset, slates=1000)).backward()

    still = [
        name
        for name, parameter in net.named_parameters()
        if parameter.grad is None or not parameter.grad.any()
    ]
    assert still == []


def test_a_fresh_net_starts_to_learn_in_two_steps(dataset: Dataset) -> None:
    torch.manual_seed(0)
    tables = training_tables(dataset, logged(dataset))
    net = Cp2recDecomposed(tables, replace(FULL, proxy_dropout=0.1, new_share=0.5))
    start = {name: parameter.detach().clone() for name, parameter in net.named_parameters()}
    optimizer = torch.optim.SGD(net.parameters(), lr=0.5)
    batch = batch_of(dataset, slates=1000)
    for _ in range(2):
        optimizer.zero_grad()
        net.loss(batch).backward()
        optimizer.step()

    assert [name for name, p in net.named_parameters() if torch.equal(p, start[name])] == []


def test_a_fresh_net_predicts_the_click_rate(dataset: Dataset) -> None:
    rows = logged(dataset)
    net = Cp2recDecomposed(training_tables(dataset, rows), FULL)

    rate = float(dataset.impressions.label[rows].mean())
    assert torch.sigmoid(net.mu).item() == pytest.approx(rate, abs=1e-6)


def test_a_dataset_without_positions_attributes_and_proxies_trains(
    make_dataset: MakeDataset,
) -> None:
    bare = make_dataset(position=None, proxies=np.empty((240, 0), np.float32))
    bare = replace(
        bare,
        proxies=np.empty((10, 0), np.float32),
        user_attributes=np.empty((12, 0), np.float32),
    )
    net = make_net(bare, FULL)

    value = net.loss(batch_of(bare))
    value.backward()

    assert torch.isfinite(value)
    assert torch.equal(scores(net, bare, 0.0), scores(net, bare, 1.0))


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
