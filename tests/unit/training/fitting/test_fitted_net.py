from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from tests.fitted_nets import COLD, fitted_net
from training.data.dataset import Dataset
from training.fitting import fitted_net as module
from training.fitting.fitted_net import FittedNet, sample_users
from training.nets.base import with_learned
from training.nets.cp2rec.decomposed import Cp2recDecomposed, Cp2recOptions
from training.nets.cp2rec.interaction_layers import InteractionOptions
from training.nets.painvrl.modules import PainvrlOptions

OPTIONS = {
    "decomposed": Cp2recOptions(dim=4, proxy_bins=4),
    "dcn": InteractionOptions(dim=4, proxy_bins=4, hidden=8),
}


@pytest.fixture(params=list(OPTIONS))
def fitted(request: pytest.FixtureRequest, dataset: Dataset) -> FittedNet:
    return fitted_net(dataset, OPTIONS[request.param])


# Rows


def test_rows_score_as_the_exported_graphs_do(fitted: FittedNet) -> None:
    net, dataset, impressions = fitted.net, fitted.dataset, fitted.dataset.impressions
    rows = np.array([7, 200, 31, 8, 7])
    net.train()  # scoring must not drop proxies

    logits = fitted.score_rows(rows, np.array([0.0, 0.3, 1.0]))

    assert logits.shape == (3, 5)
    with torch.no_grad():
        for column, row in enumerate(rows):
            item = impressions.item[[row]]
            state = net.item_encoder(
                *with_learned(
                    torch.from_numpy(dataset.embedding[item]),
                    torch.from_numpy(dataset.modality_mask[item]).float(),
                    net.learned_items()[item],
                    fitted.warm[item],
                ),
                torch.from_numpy(impressions.proxies[[row]]),  # as of the row's time
            )
            user = net.user_vectors()[impressions.user[[row]]]
            for t, w in enumerate((0.0, 0.3, 1.0)):
                expected = net.ranker(user, state, torch.tensor([w])).item()
                assert logits[t, column] == pytest.approx(expected, abs=1e-5)


def test_scores_do_not_depend_on_the_chunks(
    dataset: Dataset, monkeypatch: pytest.MonkeyPatch
) -> None:
    fitted = fitted_net(dataset)
    rows, tradeoffs = np.arange(240), np.array([0.0, 1.0])
    whole = fitted.score_rows(rows, tradeoffs)
    monkeypatch.setattr(module, "_CHUNK_ROWS", 7)

    np.testing.assert_allclose(fitted.score_rows(rows, tradeoffs), whole, rtol=0, atol=1e-6)


def test_a_cold_item_scores_without_learned_features(dataset: Dataset) -> None:
    fitted = fitted_net(dataset)
    rows = np.flatnonzero(dataset.impressions.item == COLD)
    before = fitted.score_rows(rows, np.array([0.5]))
    assert isinstance(fitted.net, Cp2recDecomposed)
    fitted.net.items.term("bias")[COLD] += 100.0

    after = fitted.score_rows(rows, np.array([0.5]))
    all_warm = replace(fitted, warm=torch.ones(10, dtype=torch.bool))
    warm = all_warm.score_rows(rows, np.array([0.5]))

    np.testing.assert_array_equal(after, before)
    assert (warm > 50).all()


def test_rows_score_with_the_users_that_replace_the_nets_own(fitted: FittedNet) -> None:
    rows, w = np.arange(20), np.array([0.5])
    users = fitted.net.user_vectors().detach().roll(1, 0)
    moved = replace(fitted.dataset.impressions, user=(fitted.dataset.impressions.user - 1) % 12)
    shifted = replace(fitted, dataset=replace(fitted.dataset, impressions=moved))

    np.testing.assert_allclose(
        fitted.score_rows(rows, w, users), shifted.score_rows(rows, w), rtol=0, atol=1e-6
    )
    assert not np.allclose(fitted.score_rows(rows, w, users), fitted.score_rows(rows, w))


# The catalogue


def test_the_catalogue_is_ranked_as_the_service_ranks_it(fitted: FittedNet) -> None:
    net, dataset = fitted.net, fitted.dataset
    net.train()  # ranking must not drop proxies
    users, tradeoffs = np.array([3, 0, 7]), np.array([0.0, 0.4, 1.0])

    top, logits = fitted.rank_catalogue(users, tradeoffs, 3)

    assert top.shape == logits.shape == (3, 3, 3)
    with torch.no_grad():
        states = net.item_encoder(
            *with_learned(
                torch.from_numpy(dataset.embedding),
                torch.from_numpy(dataset.modality_mask).float(),
                net.learned_items(),
                fitted.warm,
            ),
            torch.from_numpy(dataset.proxies),  # of the items table
        )
        for t, w in enumerate(tradeoffs.tolist()):
            for row, user in enumerate(users.tolist()):
                vector = net.user_vectors()[[user]].expand(10, -1)
                scores = net.ranker.pairwise(vector, states, torch.tensor([w])).numpy()
                best = np.argsort(-scores)[:3]
                assert top[t, row].tolist() == best.tolist()
                assert logits[t, row] == pytest.approx(scores[best], abs=1e-5)


def test_states_do_not_depend_on_the_chunks(
    fitted: FittedNet, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = fitted.item_states()
    monkeypatch.setattr(module, "_CHUNK_ITEMS", 3)

    torch.testing.assert_close(fitted.item_states(), whole)


def test_a_small_catalogue_is_ranked_whole(fitted: FittedNet) -> None:
    top, _ = fitted.rank_catalogue(np.array([1]), np.array([0.5]), 50)

    assert sorted(top[0, 0].tolist()) == list(range(10))


def test_scores_of_the_whole_catalogue_are_those_of_its_ranking(fitted: FittedNet) -> None:
    users = np.array([5, 0])
    top, logits = fitted.rank_catalogue(users, np.array([0.3]), 10)

    scores = fitted.catalogue_scores()(0.3)(users)

    assert scores.shape == (2, 10)
    np.testing.assert_allclose(np.take_along_axis(scores, top[0], 1), logits[0], atol=1e-5)


# Users


def test_users_are_encoded_by_their_earlier_clicks(dataset: Dataset) -> None:
    fitted, rows = fitted_net(dataset), np.arange(10, 120)
    net, impressions = fitted.net, dataset.impressions

    vectors = fitted.user_vectors_by_history(np.array([3, 7]), rows)
    without_history = fitted.user_vectors_by_history(np.array([3, 7]), rows[:0])

    states, learned = fitted.item_states(), net.user_vectors()
    with torch.no_grad():
        for user in range(12):
            clicked = rows[(impressions.user[rows] == user) & (impressions.label[rows] == 1)]
            assert len(clicked) > 0
            if user in (3, 7):
                history = net.user_encoder(states[impressions.item[clicked]])[0]
                torch.testing.assert_close(vectors[user], history)
                torch.testing.assert_close(without_history[user], net.user_encoder(states[:0])[0])
            else:
                torch.testing.assert_close(vectors[user], learned[user])
                torch.testing.assert_close(without_history[user], learned[user])


def test_the_sample_of_users_is_fixed() -> None:
    users = np.repeat(np.arange(0, 60, 3), 4)

    assert sample_users(users, 100).tolist() == list(range(0, 60, 3))
    few = sample_users(users, 100, most=7)
    assert len(few) == 7
    assert set(few.tolist()) <= set(range(0, 60, 3))
    assert few.tolist() == sample_users(users[::-1], 100, most=7).tolist()


def test_a_large_catalogue_is_ranked_for_fewer_users() -> None:
    assert len(sample_users(np.arange(900), 40_000)) == 100
    assert len(sample_users(np.arange(900), 10**9)) == 1


# Examination


def test_examination_is_looked_up_by_position(dataset: Dataset) -> None:
    position = np.arange(240) % 6
    trained = replace(dataset, impressions=replace(dataset.impressions, position=position % 4))
    fitted = fitted_net(trained, Cp2recOptions(dim=4))
    assert isinstance(fitted.net, Cp2recDecomposed)
    with torch.no_grad():
        fitted.net.examination.theta.copy_(torch.tensor([1.0, 0.0, -1.0]))
    logged = replace(dataset, impressions=replace(dataset.impressions, position=position))

    log_theta = replace(fitted, dataset=logged).log_examination(np.array([5, 0, 1, 2, 3, 4]))

    lowest = 1 / (1 + np.e)
    assert log_theta is not None
    assert np.exp(log_theta) == pytest.approx(
        [lowest, 1, 1 - lowest, 0.5, lowest, lowest], abs=1e-6
    )


def test_without_positions_or_an_examination_there_is_none(dataset: Dataset) -> None:
    rows = np.arange(180)
    fitted = fitted_net(dataset)
    unplaced = replace(dataset, impressions=replace(dataset.impressions, position=None))

    assert fitted.log_examination(rows) is not None
    assert replace(fitted, dataset=unplaced).log_examination(rows) is None
    assert fitted_net(dataset, PainvrlOptions(dim=4)).log_examination(rows) is None
