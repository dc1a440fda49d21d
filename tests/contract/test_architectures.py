"""Every registered architecture keeps the promises of ``FrontNet`` and of its ranker."""

from __future__ import annotations

import copy
from dataclasses import replace
from typing import get_args

import pytest
import torch
from torch import Tensor

from tests.contract.architectures import LoggedRows, Variant, scores
from training.config import Precision
from training.fitting.trainer import in_precision
from training.nets.id_table import id_tables, sum_by_row
from training.nets.registry import build_net

TRADEOFFS = (0.0, 0.3, 1.0)
NEAR = 1e-5
MOVED = 3  # a user


def test_at_tradeoff_0_a_score_is_without_exposure(variant: Variant) -> None:
    """The net declares which part of a state exposure adds, and the share of it that w = 0 keeps.

    No choice of inputs shows this for every net: proxies carry exposure in one, learned popularity
    in another, variant content in a third, and a net may let w = 0 read refined proxies.
    """
    net, state = variant.net, variant.state
    bare, kept = net.without_exposure(state), net.kept_exposure
    base, debiased, logged = (
        scores(net, bare, 0.0),
        scores(net, state, 0.0),
        scores(net, state, 1.0),
    )

    if kept == 0:
        assert torch.equal(debiased, base)
    else:
        assert 0 < kept < 1
        torch.testing.assert_close(debiased, base + kept * (logged - base), rtol=0, atol=NEAR)
    assert torch.equal(net.without_exposure(bare), bare)
    assert torch.equal(net.without_exposure(net.without_popularity(state)), bare)


def test_at_tradeoff_1_exposure_is_in_the_score(variant: Variant) -> None:
    net, state = variant.net, variant.state
    logged = scores(net, state, 1.0)

    assert (logged - scores(net, net.without_exposure(state), 1.0)).abs().max() > 0.01
    assert (logged - scores(net, state, 0.0)).abs().max() > 0.01


def test_both_ends_belong_to_the_curve(variant: Variant) -> None:
    net, state = variant.net, variant.state
    step = (scores(net, state, 1.0) - scores(net, state, 0.0)).abs().max()

    for end, near in ((0.0, 1e-4), (1.0, 1.0 - 1e-4)):
        jump = (scores(net, state, end) - scores(net, state, near)).abs().max()
        assert jump < 0.01 * step


def test_the_debiased_score_reads_proxies_only_where_the_net_declares_it(
    variant: Variant, logged_rows: LoggedRows
) -> None:
    net = variant.net
    proxies = torch.from_numpy(logged_rows.dataset.proxies)
    other = logged_rows.states(net, proxies.flip(0))

    bare, other_bare = net.without_exposure(variant.state), net.without_exposure(other)

    assert torch.equal(bare, other_bare) is not net.debiased_reads_proxies


@pytest.mark.parametrize("tradeoff", TRADEOFFS)
@torch.no_grad()
def test_row_by_row_one_user_and_all_pairs_give_the_same_scores(
    variant: Variant, tradeoff: float
) -> None:
    net, state, w = variant.net, variant.state[:65], torch.tensor([tradeoff])
    users = net.user_vectors()[:3]

    one_user = scores(net, state, tradeoff)
    pairwise = net.ranker.pairwise(
        users.repeat_interleave(len(state), 0), state.repeat(len(users), 1), w
    )

    torch.testing.assert_close(pairwise.view(one_user.shape), one_user, rtol=0, atol=NEAR)
    torch.testing.assert_close(net.ranker.all_pairs(users, state, w), one_user, rtol=0, atol=NEAR)
    assert one_user.std() > 0.01


@torch.no_grad()
def test_a_cold_item_has_nothing_that_was_learned_of_its_id(
    variant: Variant, logged_rows: LoggedRows
) -> None:
    net = variant.net
    embedding, mask, proxies = logged_rows.inputs(net, warm=False)
    width = net.learned_items().shape[1]
    claimed = embedding.clone()
    claimed[:, -width:] = net.learned_items()  # the mask decides, not the values

    cold = net.item_encoder(embedding, mask, proxies)

    assert torch.equal(net.item_encoder(claimed, mask, proxies), cold)
    assert (cold - variant.state).abs().max() > 0.01
    for tradeoff in TRADEOFFS:
        assert torch.isfinite(scores(net, cold, tradeoff)).all()


@torch.no_grad()
def test_content_unlike_all_that_training_saw_puts_no_item_first(
    variant: Variant, logged_rows: LoggedRows
) -> None:
    net = variant.net
    embedding, mask, proxies = logged_rows.inputs(net, warm=False)
    ordinary = net.item_encoder(embedding, mask, proxies)
    strange = net.item_encoder(100.0 * embedding, mask, proxies)

    for tradeoff in TRADEOFFS:
        usual, score = scores(net, ordinary, tradeoff), scores(net, strange, tradeoff)  # (B, N)
        slack = usual.std(1)
        assert (score.amax(1) < usual.amax(1) + slack).all()
        assert (score.amin(1) > usual.amin(1) - slack).all()


@torch.no_grad()
def test_an_empty_history_gives_one_average_user(variant: Variant) -> None:
    net, state = variant.net, variant.state
    average, one_click = net.user_encoder(state[:0]), net.user_encoder(state[:1])

    assert average.shape == one_click.shape == net.user_vectors()[:1].shape
    assert not torch.allclose(average, one_click)
    for tradeoff in TRADEOFFS:
        assert torch.isfinite(net.ranker(average, state, torch.tensor([tradeoff]))).all()


@pytest.mark.parametrize("items", [(), (11,), (2, 7, 7, 40, 31)])
@torch.no_grad()
def test_a_known_user_moves_as_rows_of_the_training_would_move_it(
    variant: Variant, logged_rows: LoggedRows, items: tuple[int, ...]
) -> None:
    net, tables, engaged = copy.deepcopy(variant.net), logged_rows.tables, torch.tensor(items).int()
    moves, records, vectors = net.user_moves(), net.user_records(), net.user_vectors()
    assert torch.equal(records[:, : vectors.shape[1]], vectors)
    if moves is None:
        assert records.shape == vectors.shape
        return
    embedding, mask, _ = logged_rows.inputs(net)
    user = torch.cat([tables.user, torch.full_like(engaged, MOVED)])
    item = torch.cat([tables.item, engaged])
    label = torch.cat([tables.label, torch.ones(len(items))])
    net.read_content(replace(tables, user=user, item=item, label=label))

    trace = moves.history_encoder(embedding, mask)[engaged]
    moved = moves.user_update(records[MOVED : MOVED + 1], trace)[0]

    expected = net.user_vectors()
    torch.testing.assert_close(moved, expected[MOVED], rtol=0, atol=NEAR)
    assert (len(items) > 0) is bool((moved - vectors[MOVED]).abs().max() > 1e-3)
    assert torch.equal(expected[:MOVED], vectors[:MOVED])


def test_unknown_proxies_and_absent_modalities_give_finite_scores(
    variant: Variant, logged_rows: LoggedRows
) -> None:
    net = variant.net
    embedding, mask, proxies = logged_rows.inputs(net)
    unknown = torch.full_like(proxies, torch.nan)
    with torch.no_grad():
        known_by_nothing = net.item_encoder(
            torch.zeros_like(embedding), torch.zeros_like(mask), unknown
        )

    for state in (logged_rows.states(net, unknown), known_by_nothing):
        for tradeoff in TRADEOFFS:
            assert torch.isfinite(scores(net, state, tradeoff)).all()


def test_equal_inputs_give_equal_scores(variant: Variant, logged_rows: LoggedRows) -> None:
    net = variant.net
    again = logged_rows.states(net)
    repeated = variant.state[7:8].expand(65, -1)

    assert torch.equal(again, variant.state)
    for tradeoff in TRADEOFFS:
        assert torch.equal(scores(net, again, tradeoff), scores(net, variant.state, tradeoff))
        equal = scores(net, repeated, tradeoff)
        torch.testing.assert_close(equal, equal[:, :1].expand_as(equal), rtol=0, atol=NEAR)


@torch.no_grad()
def test_a_net_with_the_same_weights_gives_the_same_scores(
    variant: Variant, logged_rows: LoggedRows
) -> None:
    torch.manual_seed(1)
    other = build_net(variant.options, logged_rows.tables).eval()
    assert not torch.equal(other.user_vectors(), variant.net.user_vectors())

    other.load_state_dict(variant.net.state_dict())

    assert torch.equal(other.user_vectors(), variant.net.user_vectors())
    assert torch.equal(other.learned_items(), variant.net.learned_items())
    state = logged_rows.states(other)
    assert torch.equal(state, variant.state)
    for tradeoff in TRADEOFFS:
        assert torch.equal(scores(other, state, tradeoff), scores(variant.net, state, tradeoff))


def test_the_loss_is_finite_and_a_step_changes_the_scores(
    variant: Variant, logged_rows: LoggedRows
) -> None:
    net = copy.deepcopy(variant.net).train()
    before = scores(variant.net, variant.state, 1.0)
    optimizer = torch.optim.SGD(net.parameters(), lr=0.01)

    loss = net.loss(logged_rows.batch())
    loss.backward()
    optimizer.step()

    assert loss.shape == ()
    assert torch.isfinite(loss)
    gradients = [p.grad for p in net.parameters() if p.grad is not None]
    assert all(torch.isfinite(gradient.to_dense()).all() for gradient in gradients)
    after = scores(net.eval(), logged_rows.states(net), 1.0)
    assert torch.isfinite(after).all()
    assert not torch.equal(after, before)


def test_a_step_touches_the_rows_of_its_batch_alone(
    variant: Variant, logged_rows: LoggedRows
) -> None:
    net = copy.deepcopy(variant.net).train()
    tables = id_tables(net)
    if not tables:
        pytest.skip("this net learns from all users and items at each step")
    batch = logged_rows.batch()
    chosen = replace(batch, user=batch.user % 3, item=batch.item % 5)

    net.loss(chosen).backward()

    sizes = {len(logged_rows.dataset.user_ids): 3, len(logged_rows.dataset.item_ids): 5}
    for parameter in net.parameters():
        if parameter.grad is None or parameter.numel() < min(sizes):
            continue
        if shown := sizes.get(len(parameter)):
            assert parameter.grad.is_sparse
            assert sum_by_row(parameter.grad)[0].tolist() == list(range(shown))


@torch.no_grad()
def test_tables_have_a_row_for_each_item_user_and_position(
    variant: Variant, logged_rows: LoggedRows
) -> None:
    net, dataset = variant.net, logged_rows.dataset
    examination = net.log_examination()

    assert net.learned_items().ndim == 2
    assert len(net.learned_items()) == len(dataset.item_ids)
    assert len(net.user_vectors()) == len(dataset.user_ids)
    assert net.without_popularity(variant.state).shape == variant.state.shape
    common = net.common_features(variant.state)
    assert len(common) == len(dataset.item_ids)
    assert common.shape[1] <= variant.state.shape[1]
    if examination is not None:
        assert len(examination) == logged_rows.tables.position.max() + 1
        assert (examination <= 0).all()


def test_a_net_declares_the_exposure_that_its_loss_reads(
    variant: Variant, logged_rows: LoggedRows
) -> None:
    net, batch = variant.net, logged_rows.batch()
    others = {
        "propensity": replace(batch, propensity=batch.propensity / 2),
        "offset": replace(batch, offset=batch.offset + 1),
    }

    def loss(column: str) -> float:
        torch.manual_seed(2)
        return net.loss(others.get(column, batch)).item()

    for column in others:
        assert loss(column) == loss("neither") or variant.options.exposure == column


def test_a_loss_in_bfloat16_is_near_that_in_float32(
    variant: Variant, logged_rows: LoggedRows
) -> None:
    net = copy.deepcopy(variant.net).train()
    losses: list[Tensor] = []
    gradients: list[Tensor] = []
    for precision in get_args(Precision):
        torch.manual_seed(0)
        net.zero_grad()
        with in_precision(precision, net.device):
            loss = net.loss(logged_rows.batch())
        loss.backward()
        dense = [p.grad.to_dense().flatten() for p in net.parameters() if p.grad is not None]
        losses.append(loss)
        gradients.append(torch.cat(dense))

    exact, rounded = losses
    assert rounded.dtype == torch.float32
    assert rounded.item() == pytest.approx(exact.item(), rel=0.02)
    assert rounded.item() != exact.item()
    assert torch.cosine_similarity(gradients[0], gradients[1], dim=0) > 0.98
