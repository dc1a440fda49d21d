from __future__ import annotations

from dataclasses import replace

import numpy as np
from sklearn.decomposition import PCA

from service.contract.attributes import Coding
from tests.datasets import MakeDataset
from training.evaluation.anchors.trees import content_columns, principal_components


def test_principal_components_are_those_of_scikit_learn() -> None:
    rng = np.random.default_rng(0)
    embedding = (rng.normal(size=(200, 12)) * np.arange(1, 13) + 3).astype(np.float32)

    components = principal_components(embedding)

    expected = PCA(8).fit_transform(embedding)[:, ::-1]
    centred = components - components.mean(axis=0)
    np.testing.assert_allclose(np.abs(centred), np.abs(expected), atol=1e-3)
    assert principal_components(embedding[:, :3]).shape == (200, 3)
    assert np.isfinite(principal_components(np.zeros((5, 4), np.float32))).all()


def test_attributes_are_columns_of_their_own(make_dataset: MakeDataset) -> None:
    dataset = make_dataset(items=40)
    components, attributes = content_columns(dataset)
    assert attributes.shape == (40, 0)

    codings = (Coding(name="length"), Coding(name="genre", categories=("jazz", "rock")))
    values = np.random.default_rng(1).normal(size=(40, 3)).astype(np.float32)
    known = np.arange(40) > 0
    described = replace(
        dataset,
        item_codings=codings,
        embedding=np.column_stack([dataset.embedding, values]),
        modality_mask=np.column_stack([dataset.modality_mask, known]),
    )

    of_content, of_attributes = content_columns(described)

    np.testing.assert_array_equal(of_content, components)
    np.testing.assert_array_equal(of_attributes[1:], values[1:])
    assert np.isnan(of_attributes[0]).all()
