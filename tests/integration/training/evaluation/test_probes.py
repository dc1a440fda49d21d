from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from service.contract.front import Estimate
from tests.datasets import make_dataset
from training.config import Config, load_config
from training.data.dataset import Dataset
from training.evaluation import probes
from training.evaluation.probes import measure_probes
from training.fitting.runs import RunStore
from training.nets.cp2rec.decomposed import Cp2recOptions


def test_twins_are_compared_by_seed_and_measured_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    measured: list[tuple[float, int]] = []

    def measure(_: Dataset, config: Config, __: RunStore) -> probes._Run:
        assert isinstance(config.net, Cp2recOptions)
        weight = config.net.orthogonality_weight
        measured.append((weight, config.seed))
        common = {"a proxy r2": config.seed / 10 + (0.0 if weight else 0.3), "a proxy auc": 0.75}
        return probes._Run(common=common, content={"a proxy r2": 0.2, "a proxy auc": 0.5})

    monkeypatch.setattr(probes, "_measure", measure)
    dataset, config = make_dataset(), load_config("cp2rec", overrides=("seed=3",))
    runs = RunStore(tmp_path)

    first = measure_probes(dataset, config, 3, runs)
    assert measure_probes(dataset, config, 3, runs) == first

    assert measured == [(0.01, 3), (0.01, 4), (0.01, 5), (0, 3), (0, 4), (0, 5)]
    r2, auc = first
    assert (r2.proxy, r2.measure, auc.proxy, auc.measure) == ("a proxy", "r2", "a proxy", "auc")
    assert r2.purified.mean == pytest.approx(0.4)
    assert r2.purified.se == pytest.approx(0.1 / np.sqrt(3))
    assert r2.unpurified is not None
    assert r2.difference is not None
    assert r2.unpurified.mean == pytest.approx(0.7)
    assert r2.difference.mean == pytest.approx(0.3)
    assert r2.difference.se == pytest.approx(0.0, abs=1e-12)
    assert r2.content.mean == pytest.approx(0.2)
    assert auc.difference == Estimate(mean=0.0, se=0.0)


def test_a_net_without_purification_is_probed_without_a_twin(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    measured: list[Config] = []

    def measure(_: Dataset, config: Config, __: RunStore) -> probes._Run:
        measured.append(config)
        return probes._Run(common={"a proxy auc": 0.75}, content={"a proxy auc": 0.5})

    monkeypatch.setattr(probes, "_measure", measure)
    config = load_config("painvrl")

    (probe,) = measure_probes(make_dataset(), config, 1, RunStore(tmp_path))

    assert measured == [config]
    assert (probe.purified, probe.content) == (Estimate(mean=0.75), Estimate(mean=0.5))
    assert probe.unpurified is None
    assert probe.difference is None
