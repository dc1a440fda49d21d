"""A net continues from another one's state, whatever its architecture."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import Tensor

from tests.contract.architectures import LoggedRows, small
from tests.datasets import make_dataset
from training.data.dataset import Dataset
from training.data.split import Split
from training.errors import ConfigError
from training.fitting.batches import training_tables, warm_items
from training.fitting.fitted_net import FittedNet
from training.fitting.row_adagrad import Past
from training.fitting.trainer import NOT_FITTED
from training.fitting.warm_start import (
    MEMORY,
    TrainingState,
    WarmStart,
    table_names,
    training_state,
)
from training.nets.base import FrontNet
from training.nets.cp2rec.decomposed import Cp2recOptions
from training.nets.registry import build_net, configurable

NEW = 0  # the place of the user and of the item that the later dataset renames
UNTRAINED = 1  # the place of the user and of the item whose rows were never trained


def split_of(dataset: Dataset) -> Split:
    """Return the split whose logged rows all train."""
    logged = np.flatnonzero(~dataset.impressions.uniform)
    return Split(logged, logged[:0], logged[:0], logged[:0])


def state_of(name: str, dataset: Dataset) -> TrainingState:
    """Return the state of a net with random weights and a random past."""
    rows = LoggedRows.of(dataset)
    net = rows.net(small(name))
    past = []
    for table in table_names(net):
        squares = torch.rand(len(net.get_parameter(table)), 3) + 0.1
        squares[UNTRAINED] = 0.0
        past.append(Past(squares, 70))
    fit = replace(NOT_FITTED, past=tuple(past))
    fitted = FittedNet(net, dataset, split_of(dataset), warm_items(rows.tables), fit=fit)
    return training_state(fitted, None)


def later(dataset: Dataset, order: np.ndarray, positions: int) -> Dataset:
    """Return the dataset with its first users in ``order``, so its items; one of each is new.

    Its rows have ``positions``.
    """
    place = np.argsort(order)
    impressions = dataset.impressions
    users, items = ([ids[k] for k in order] for ids in (dataset.user_ids, dataset.item_ids))
    users[place[NEW]], items[place[NEW]] = "new user", "new item"
    position = impressions.position
    assert position is not None
    return replace(
        dataset,
        user_ids=users,
        item_ids=items,
        embedding=dataset.embedding[order],
        modality_mask=dataset.modality_mask[order],
        proxies=dataset.proxies[order],
        user_attributes=dataset.user_attributes[order],
        impressions=replace(
            impressions,
            user=place[impressions.user],
            item=place[impressions.item],
            position=np.minimum(position, positions - 1),
        ),
    )


def continued(name: str, state: TrainingState, dataset: Dataset) -> tuple[FrontNet, list[Past]]:
    """Return a new net that continues from ``state``, and the past of its tables."""
    tables = training_tables(dataset, split_of(dataset).train, state.attributes)
    torch.manual_seed(5)
    net = build_net(small(name), tables)
    past = WarmStart("toy@1", "0" * 64, state).hand_over(net, dataset, tables)
    return net.eval(), past


@pytest.fixture(scope="module")
def dataset() -> Dataset:
    return make_dataset(items=12, users=12)


@pytest.fixture(params=configurable())
def name(request: pytest.FixtureRequest) -> str:
    return str(request.param)


def test_rows_follow_their_ids_and_new_ids_start_cold(name: str, dataset: Dataset) -> None:
    state = state_of(name, dataset)
    order = np.random.default_rng(3).permutation(12)
    after = later(dataset, order, positions=4)
    torch.manual_seed(5)
    fresh = build_net(
        small(name), training_tables(after, split_of(after).train, state.attributes)
    ).state_dict()

    net, past = continued(name, state, after)

    weights = net.state_dict()
    for table in (*net.of_items, *net.of_users):
        cold = [NEW, UNTRAINED] if past else [NEW]
        expected = torch.stack(
            [
                fresh[table][row] if then in cold else state.weights[table][then]
                for row, then in enumerate(order)
            ]
        )
        assert torch.equal(weights[table], expected), table
    for memory, table in zip(past, table_names(net), strict=True):
        then = state.past[table].squares.clone()
        then[NEW] = 0.0
        assert torch.equal(memory.squares, MEMORY * then[order])
        assert memory.steps == 70


def test_known_users_and_items_score_as_before(name: str, dataset: Dataset) -> None:
    state = state_of(name, dataset)
    before, _ = continued(name, state, dataset)
    order = np.random.default_rng(4).permutation(12)
    after = later(dataset, order, positions=4)
    # All ids are known: propagation would join the others to them.
    known = replace(after, user_ids=[f"u{k}" for k in order], item_ids=[f"i{k}" for k in order])
    # What one user skipped changes the exposure of items, by which content would be standardised.
    shown = known.impressions
    skips = (order[shown.user] == NEW) & (shown.label < 0.5)
    items = np.where(skips, np.argsort(order)[3], shown.item)
    known = replace(known, impressions=replace(shown, item=items))

    net, _ = continued(name, state, known)

    trained = np.flatnonzero(order != UNTRAINED)  # users and items have the same order
    others = np.flatnonzero((order != UNTRAINED) & (order != NEW))
    one, other = _scores(before, dataset)[order][:, order], _scores(net, known)
    torch.testing.assert_close(
        other[others][:, trained], one[others][:, trained], rtol=1e-4, atol=1e-4
    )


def _scores(net: FrontNet, dataset: Dataset) -> Tensor:
    """Return the logits (U, I) at w = 0.5 of all users and items."""
    warm = torch.ones(len(dataset.item_ids), dtype=torch.bool)
    fitted = FittedNet(net, dataset, split_of(dataset), warm)
    return torch.from_numpy(fitted.catalogue_scores()(0.5)(np.arange(len(dataset.user_ids))))


@pytest.mark.parametrize("positions", [2, 6])
def test_positions_that_both_logs_have_keep_their_examination(positions: int) -> None:
    position = np.random.default_rng(0).integers(6, size=240)
    dataset = make_dataset(items=12, users=12, position=position)
    state = state_of("decomposed", later(dataset, np.arange(12), positions=4))
    before = state.weights["examination.theta"]

    net, _ = continued("decomposed", state, later(dataset, np.arange(12), positions=positions))

    theta = net.state_dict()["examination.theta"]
    common = min(positions - 1, 3)
    assert len(theta) == positions - 1
    assert torch.equal(theta[:common], before[:common])
    assert (theta[common:] == 2.0).all()


def test_a_weight_of_another_shape_is_refused(dataset: Dataset) -> None:
    state = state_of("decomposed", dataset)
    tables = training_tables(dataset, split_of(dataset).train)
    net = build_net(Cp2recOptions(dim=3, proxy_bins=4), tables)

    with pytest.raises(ConfigError, match=r"^--from: the net's weight .* is .* and in toy@1 "):
        WarmStart("toy@1", "0" * 64, state).hand_over(net, dataset, tables)


def test_rows_that_the_artifact_may_have_learned_from_measure_nothing(dataset: Dataset) -> None:
    start = WarmStart("toy@1", "0" * 64, replace(state_of("dcn", dataset), trained_until=99.0))
    times = np.arange(240.0)
    timed = replace(dataset, impressions=replace(dataset.impressions, timestamp=times))
    rows = np.arange(240)
    fine = Split(rows[:100], rows[100:120], rows[120:180], rows[180:])

    start.check_rows(timed, fine)
    with pytest.raises(ConfigError, match=r"up to timestamp 99, .* begin at 99"):
        start.check_rows(timed, replace(fine, validation=rows[99:120]))
