from __future__ import annotations

import numpy as np
from sklearn.decomposition import PCA

from training.evaluation.anchors.trees import principal_components


def test_principal_components_are_those_of_scikit_learn() -> None:
    rng = np.random.default_rng(0)
    embedding = (rng.normal(size=(200, 12)) * np.arange(1, 13) + 3).astype(np.float32)

    components = principal_components(embedding)

    expected = PCA(8).fit_transform(embedding)[:, ::-1]
    centred = components - components.mean(axis=0)
    np.testing.assert_allclose(np.abs(centred), np.abs(expected), atol=1e-3)
    assert principal_components(embedding[:, :3]).shape == (200, 3)
    assert np.isfinite(principal_components(np.zeros((5, 4), np.float32))).all()
