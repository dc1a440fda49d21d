from __future__ import annotations

import numpy as np

from service.contract.artifact import BiasReference
from tests.conftest import World
from training.data.split import training_clicks
from training.release.bias_reference import bias_reference


def test_an_artifact_stores_the_reference_of_its_net(world: World) -> None:
    reference = bias_reference(world.fitted)

    stored = world.artifact.bias_reference()
    assert isinstance(stored, BiasReference)
    np.testing.assert_allclose(stored.score_deciles, reference.score_deciles, rtol=1e-5)
    assert stored.item_ids == world.dataset.item_ids
    clicks = training_clicks(world.dataset, world.fitted.split)
    most, least = int(np.argmax(clicks)), int(np.argmin(clicks))
    assert reference.click_percentile[most] > 99
    assert reference.click_percentile[least] == reference.click_percentile.min()
    assert (np.diff(reference.score_deciles, axis=1) >= 0).all()
    assert ((reference.score_deciles > 0) & (reference.score_deciles < 1)).all()
    np.testing.assert_allclose(reference.tradeoffs, np.arange(11) / 10, atol=1e-6)
    assert ((reference.exposure_gini > 0) & (reference.exposure_gini < 1)).all()
