"""Two processes that work on the same run take turns: none fails, and both end alike."""

from __future__ import annotations

import subprocess
import sys
import threading
from pathlib import Path

import pytest
from pydantic import BaseModel

from training.config import load_config
from training.data.dataset import Dataset
from training.errors import TrainingError
from training.fitting import runs as run_store
from training.fitting.runs import RunKey, RunStore
from training.fitting.train_net import Checkpoints

OVERRIDES = (
    "train.epochs=1",
    "train.evaluations=20",
    "train.patience=100",
    "net.exposure_weight=1",
)

TRAIN = f"""
import hashlib, io, sys, torch
from pathlib import Path
from training.config import load_config
from training.data.dataset import open_dataset
from training.fitting.runs import RunStore
from training.fitting.train_net import train_net
torch.set_num_threads(1)
dataset = open_dataset(Path(sys.argv[1]))
print("ready", flush=True)
sys.stdin.readline()
config = load_config("cp2rec", overrides={OVERRIDES})
fitted = train_net(dataset, config, RunStore(Path(sys.argv[2])))
weights = [value.numpy().tobytes() for value in fitted.net.state_dict().values()]
print(hashlib.sha256(b"".join(weights)).hexdigest(), fitted.fit.history)
"""


class Value(BaseModel):
    value: int


KEY = RunKey("toy", 0, "f" * 64, {})


def test_two_trainings_at_once_end_with_the_same_weights(
    toy_dataset: Dataset, tmp_path: Path
) -> None:
    command = [sys.executable, "-c", TRAIN, str(toy_dataset.path), str(tmp_path / "runs")]
    pair = [
        subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        for _ in range(2)
    ]
    for process in pair:
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
    for process in pair:
        assert process.stdin is not None
        process.stdin.write("\n")
        process.stdin.flush()
    outputs = [process.communicate(timeout=120)[0] for process in pair]

    assert [process.returncode for process in pair] == [0, 0]
    assert outputs[0] == outputs[1]
    assert outputs[0].count(",") > 4  # evaluations, of which each one writes
    files = Checkpoints.of(
        toy_dataset, load_config("cp2rec", overrides=OVERRIDES), RunStore(tmp_path / "runs")
    )
    assert list((tmp_path / "runs").iterdir()) == [files.training]


def test_a_result_that_another_process_computes_is_waited_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    runs, waits, calls = RunStore(tmp_path), threading.Event(), []
    monkeypatch.setattr(run_store, "_say_waiting", lambda _: waits.set())

    def compute() -> Value:
        calls.append("computed")
        if len(calls) == 1:
            second.start()
            assert waits.wait(timeout=30)
        return Value(value=len(calls))

    results: list[Value] = []
    second = threading.Thread(
        target=lambda: results.append(runs.result(KEY, "front", Value, compute))
    )

    results.append(runs.result(KEY, "front", Value, compute))
    second.join()

    assert calls == ["computed"]
    assert results == [Value(value=1), Value(value=1)]


def test_damaged_results_are_named(tmp_path: Path) -> None:
    runs = RunStore(tmp_path)
    for suffix in ("json", "npz"):
        path = runs.path(KEY, "front", __name__, suffix)
        path.write_bytes(b"{")
    match = r"front\.{}: the stored result cannot be read; remove it"

    with pytest.raises(TrainingError, match=match.format("json")):
        runs.result(KEY, "front", Value, _value)
    with pytest.raises(TrainingError, match=match.format("npz")):
        runs.arrays(KEY, "front", dict)


def _value() -> Value:
    pytest.fail("computes anew")
