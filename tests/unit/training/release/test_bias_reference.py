"""What an artifact keeps of what its model shows."""

from __future__ import annotations

import numpy as np
import pytest

from service.contract.artifact import BiasReference
from service.contract.measures import gini
from tests.conftest import World
from training.data.split import training_clicks
from training.release.bias_reference import bias_reference, expected_gini


def test_a_list_that_all_users_get_is_as_concentrated_as_can_be() -> None:
    lists = np.tile(np.arange(10), (5, 1))
    assert expected_gini(lists, 40) == pytest.approx(30 / 40)


def test_a_window_smaller_than_the_users_looks_more_concentrated() -> None:
    lists = np.arange(5000).reshape(500, 10)  # nobody shares an item
    everything = gini(np.bincount(lists.ravel(), minlength=5000))
    assert everything == pytest.approx(0)
    # 100 draws of 500 users with replacement reach 18 % of them; of 1,000 places each reached user
    # has 10 x draws: the share of items without any place is (1 - 1/500)^100 = .8186.
    assert expected_gini(lists, 5000) == pytest.approx(0.8345, abs=0.01)


def test_the_reference_is_measured_as_the_service_will_see_it(world: World) -> None:
    trained, data = world.trained, world.dataset
    reference = bias_reference(trained.net, data, trained.known, trained.split, trained.calibration)
    kept = world.artifact.bias_reference()
    assert isinstance(kept, BiasReference)
    np.testing.assert_allclose(kept.score_deciles, reference.score_deciles, rtol=1e-5)
    assert kept.item_ids == data.item_ids
    clicks = training_clicks(data, trained.split)
    most, least = int(np.argmax(clicks)), int(np.argmin(clicks))
    assert reference.click_percentile[most] > 99
    assert reference.click_percentile[least] == reference.click_percentile.min()
    assert (np.diff(reference.score_deciles, axis=1) >= 0).all()
    assert ((reference.score_deciles > 0) & (reference.score_deciles < 1)).all()
    np.testing.assert_allclose(reference.tradeoffs, np.arange(11) / 10, atol=1e-6)
    assert ((reference.exposure_gini > 0) & (reference.exposure_gini < 1)).all()
