"""The run store: each result is computed once for its data, options, seed and sources."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from pydantic import BaseModel

from tests.datasets import make_dataset
from tests.integration.training.fitting.source_tree import SourceTree
from training.config import Config, load_config
from training.fitting.runs import Arrays, RunKey, RunStore, over_seeds
from training.fitting.train_net import Checkpoints

KEY = RunKey("toy", 3, "f" * 64, {"lr": 0.5})


class Value(BaseModel):
    value: float


class Computed:
    """Counts its calls; the result of each is a third greater than the last."""

    def __init__(self) -> None:
        self.calls = 0

    def result(self) -> Value:
        self.calls += 1
        return Value(value=self.calls / 3)

    def arrays(self) -> Arrays:
        self.calls += 1
        return {"x": np.arange(3) / 3 + self.calls, "y": np.array([self.calls], np.int32)}


@pytest.fixture
def runs(tmp_path: Path) -> RunStore:
    return RunStore(tmp_path / "build" / "runs")


def test_a_result_is_computed_once_and_read_back_equal(runs: RunStore) -> None:
    computed = Computed()

    first = runs.result(KEY, "front", Value, computed.result)
    again = RunStore(runs.folder).result(KEY, "front", Value, computed.result)

    assert computed.calls == 1
    assert first == again == Value(value=1 / 3)


def test_arrays_are_computed_once_and_read_back_equal_to_the_bit(runs: RunStore) -> None:
    computed = Computed()

    first = runs.arrays(KEY, "offset", computed.arrays)
    again = RunStore(runs.folder).arrays(KEY, "offset", computed.arrays)

    assert computed.calls == 1
    for arrays in (first, again):
        assert set(arrays) == {"x", "y"}
        np.testing.assert_array_equal(arrays["x"], np.arange(3) / 3 + 1)
        assert arrays["y"].dtype == np.int32
        assert arrays["y"].tolist() == [1]


@pytest.mark.parametrize(
    "other",
    [
        RunKey("other", 3, "f" * 64, {"lr": 0.5}),
        RunKey("toy", 4, "f" * 64, {"lr": 0.5}),
        RunKey("toy", 3, "e" * 64, {"lr": 0.5}),
        RunKey("toy", 3, "f" * 64, {"lr": 0.25}),
        RunKey("toy", 3, "f" * 64, {"lr": 0.5, "dim": 4}),
    ],
)
def test_another_run_has_another_result(runs: RunStore, other: RunKey) -> None:
    computed = Computed()

    runs.result(KEY, "front", Value, computed.result)
    runs.result(other, "front", Value, computed.result)

    assert computed.calls == 2
    assert len(list(runs.folder.iterdir())) == 2


def test_results_of_one_run_have_names_of_their_own(runs: RunStore) -> None:
    computed = Computed()

    front = runs.result(KEY, "front", Value, computed.result)
    probes = runs.result(KEY, "probes", Value, computed.result)
    arrays = runs.arrays(KEY, "front", computed.arrays)

    assert (front.value, probes.value, arrays["y"].tolist()) == (1 / 3, 2 / 3, [3])


def test_the_order_of_options_does_not_matter(runs: RunStore) -> None:
    one = RunKey("toy", 3, "f" * 64, {"lr": 0.5, "dim": 4})
    other = RunKey("toy", 3, "f" * 64, {"dim": 4, "lr": 0.5})

    assert runs.path(one, "front", __name__, "json") == runs.path(other, "front", __name__, "json")


def test_a_failed_computation_leaves_nothing(runs: RunStore) -> None:
    def fail() -> Value:
        raise RuntimeError("no memory")

    def fail_arrays() -> Arrays:
        raise RuntimeError("no memory")

    for compute in (
        lambda: runs.result(KEY, "front", Value, fail),
        lambda: runs.arrays(KEY, "offset", fail_arrays),
    ):
        with pytest.raises(RuntimeError, match="no memory"):
            compute()
    assert not runs.folder.exists() or not list(runs.folder.iterdir())
    computed = Computed()
    assert runs.result(KEY, "front", Value, computed.result) == Value(value=1 / 3)


def test_a_config_and_a_dataset_make_a_key() -> None:
    dataset = make_dataset()
    config = load_config("cp2rec-front", overrides=("seed=5",))

    key = RunKey.of(dataset, config)

    assert (key.name, key.seed, key.fingerprint) == ("dcn", 5, dataset.fingerprint)
    left_out = {
        "parity_tolerance": 1e-5,
        "default_tradeoff": None,
        "tuning": None,
        "warm_start": {"epochs": 2, "lr_share": 0.3},
    }
    assert dict(key.options) | left_out == config.model_dump(mode="json")


@pytest.mark.parametrize(
    "override", ["parity_tolerance=1e-3", "default_tradeoff=0.2", "warm_start.epochs=2"]
)
def test_an_option_that_the_training_does_not_read_is_the_same_run(override: str) -> None:
    dataset = make_dataset()
    key = RunKey.of(dataset, load_config("cp2rec"))

    assert key == RunKey.of(dataset, load_config("cp2rec", overrides=(override,)))
    assert key != RunKey.of(dataset, load_config("cp2rec", overrides=("train.lr=0.05",)))


def test_more_seeds_compute_the_further_ones_alone(runs: RunStore) -> None:
    seeds: list[int] = []

    def measure(config: Config) -> Value:
        seeds.append(config.seed)
        return Value(value=config.seed / 10)

    dataset, config = make_dataset(), load_config("cp2rec", overrides=("seed=7",))

    two = over_seeds(dataset, config, 2, runs, "front", Value, measure)
    three = over_seeds(dataset, config, 3, runs, "front", Value, measure)

    assert seeds == [7, 8, 9]
    assert [result.value for result in two] == [0.7, 0.8]
    assert [result.value for result in three] == [0.7, 0.8, 0.9]


@pytest.mark.parametrize(
    ("source", "calls"),
    [
        ("README.md", 1),
        ("training/demo/demo.py", 1),
        ("training/metrics/auc.py", 2),
        ("training/configs/cp2rec.toml", 2),
    ],
)
def test_a_changed_source_is_computed_anew_and_a_changed_readme_is_not(
    runs: RunStore, tree: SourceTree, source: str, calls: int
) -> None:
    computed = Computed()

    def compute() -> Value:
        return computed.result()

    compute.__module__ = "training.fitting.train_net"
    with tree.new_process():
        runs.result(KEY, "front", Value, compute)
    with tree.changed(source), tree.new_process():
        runs.result(KEY, "front", Value, compute)

    assert computed.calls == calls
    with tree.new_process():  # the older sources still have theirs
        assert runs.result(KEY, "front", Value, compute) == Value(value=1 / 3)


def test_a_checkpoint_is_of_the_sources_that_train(runs: RunStore, tree: SourceTree) -> None:
    dataset, config = make_dataset(), load_config("cp2rec")
    with tree.new_process():
        before = Checkpoints.of(dataset, config, runs)
    with tree.changed("README.md"), tree.new_process():
        assert Checkpoints.of(dataset, config, runs) == before
    with tree.changed("training/fitting/trainer.py"), tree.new_process():
        after = Checkpoints.of(dataset, config, runs)
    assert not {before.training, before.preparation} & {after.training, after.preparation}
