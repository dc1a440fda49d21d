"""A dataset of as many modalities as the mask of a record has bits for."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from service.contract.manifest import MAX_MODALITIES, Modality
from service.contract.records import mask_bits, mask_matrix
from tests.datasets import make_dataset
from tests.fitted_nets import fitted_net
from training.config import PARITY_TOLERANCE
from training.data.dataset import Dataset
from training.release.export import export_graphs
from training.release.parity import make_golden, prove_parity


def with_modalities(count: int) -> Dataset:
    rng = np.random.default_rng(0)
    return replace(
        make_dataset(),
        modalities=tuple(Modality(name=f"m{row}", dim=1) for row in range(count)),
        embedding=rng.normal(size=(10, count)).astype(np.float32),
        modality_mask=np.ones((10, count), np.bool_),
    )


@pytest.mark.parametrize("count", [61, 62, MAX_MODALITIES - 1])
def test_the_golden_inputs_lack_each_modality_in_turn(count: int) -> None:
    golden = make_golden(fitted_net(with_modalities(count)))

    assert golden.modality_mask.shape[1] == count + 1
    assert (golden.modality_mask == 0).any(axis=0).all()
    assert (golden.modality_mask == 0).all(axis=1).any()
    assert np.isnan(golden.proxies).all(axis=1).any()
    mask = mask_bits(golden.modality_mask > 0)
    np.testing.assert_array_equal(mask_matrix(mask, count + 1), golden.modality_mask)


def test_the_graphs_of_all_modalities_agree_with_torch(tmp_path: Path) -> None:
    fitted = fitted_net(with_modalities(MAX_MODALITIES - 1))
    export_graphs(fitted.net.eval(), fitted.dataset, tmp_path)

    prove_parity(tmp_path, make_golden(fitted), PARITY_TOLERANCE)
