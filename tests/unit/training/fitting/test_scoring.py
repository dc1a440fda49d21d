from __future__ import annotations

import numpy as np
import pytest
import torch

from service.contract.manifest import Estimate
from training.data.dataset import Dataset
from training.fitting import scoring
from training.fitting.batches import training_tables
from training.fitting.scoring import catalogue_states, sample_users, top_items
from training.metrics.exposure import shown_metrics
from training.nets.base import FrontNet, with_learned
from training.nets.cp2rec.decomposed import Cp2recDecomposed, Cp2recOptions
from training.nets.cp2rec.interaction import Cp2recInteraction
from training.nets.cp2rec.interaction_layers import InteractionOptions

KNOWN = torch.arange(10) != 4


@pytest.fixture(params=["decomposed", "dcn"])
def net(request: pytest.FixtureRequest, dataset: Dataset) -> FrontNet:
    torch.manual_seed(0)
    tables = training_tables(dataset, np.arange(180))
    made: FrontNet = (
        Cp2recDecomposed(tables, Cp2recOptions(dim=4, proxy_bins=4))
        if request.param == "decomposed"
        else Cp2recInteraction(tables, InteractionOptions(dim=4, proxy_bins=4, hidden=8))
    )
    with torch.no_grad():
        for parameter in made.parameters():
            parameter.add_(0.3 * torch.randn_like(parameter))
    return made


def test_items_are_shown_as_they_are_served(dataset: Dataset, net: FrontNet) -> None:
    net.train()  # ranking must not drop proxies
    users, tradeoffs = np.array([3, 0, 7]), np.array([0.0, 0.4, 1.0])

    top = top_items(net, dataset, KNOWN, users, tradeoffs, 3)

    assert top.shape == (3, 3, 3)
    with torch.no_grad():
        states = net.item_encoder(
            *with_learned(
                torch.from_numpy(dataset.embedding),
                torch.from_numpy(dataset.modality_mask).float(),
                net.learned_items(),
                KNOWN,
            ),
            torch.from_numpy(dataset.proxies),  # of the items table
        )
        for t, w in enumerate(tradeoffs.tolist()):
            for row, user in enumerate(users.tolist()):
                vector = net.user_vectors()[[user]].expand(10, -1)
                scores = net.ranker.pairwise(vector, states, torch.tensor([w]))
                assert top[t, row].tolist() == np.argsort(-scores.numpy())[:3].tolist()


def test_states_do_not_depend_on_the_chunks(
    dataset: Dataset, net: FrontNet, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = catalogue_states(net, dataset, KNOWN)
    monkeypatch.setattr(scoring, "_CHUNK_ITEMS", 3)

    torch.testing.assert_close(catalogue_states(net, dataset, KNOWN), whole)


def test_a_small_catalogue_is_shown_whole(dataset: Dataset, net: FrontNet) -> None:
    top = top_items(net, dataset, KNOWN, np.array([1]), np.array([0.5]), 50)

    assert sorted(top[0, 0].tolist()) == list(range(10))


def test_the_sample_of_users_is_fixed() -> None:
    users = np.repeat(np.arange(0, 60, 3), 4)

    assert sample_users(users, 100).tolist() == list(range(0, 60, 3))
    few = sample_users(users, 100, most=7)
    assert len(few) == 7
    assert set(few.tolist()) <= set(range(0, 60, 3))
    assert few.tolist() == sample_users(users[::-1], 100, most=7).tolist()


def test_a_large_catalogue_is_shown_to_fewer() -> None:
    assert len(sample_users(np.arange(900), 40_000)) == 100
    assert len(sample_users(np.arange(900), 10**9)) == 1


def test_what_is_shown_by_hand() -> None:
    clicks = np.array([90.0, 10.0, 40.0, 0.0, 60.0])  # percentiles 90, 30, 50, 10, 70

    table = shown_metrics(np.array([[0, 4], [0, 2]]), clicks)

    assert table["arp"] == Estimate(mean=70.0, se=5.0)  # 75 and 65
    assert table["popularity_percentile"] == Estimate(mean=75.0, se=5.0)
    assert table["tail_share"] == Estimate(mean=0.5, se=0.0)
    assert table["coverage"] == Estimate(mean=3 / 5)
    # Places 0, 0, 1, 1, 2: (1 * 0 + 2 * 0 ...) with weights -4, -2, 0, 2, 4 over 5 * 4.
    assert table["exposure_gini"].mean == pytest.approx((2 * 1 + 4 * 2) / 20)
    assert table["exposure_gini"].se is None
