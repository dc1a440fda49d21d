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

# Forks once all is imported, and before a library starts threads.
TRAIN = f"""
import hashlib, os, sys, torch
from pathlib import Path
from training.config import load_config
from training.data.dataset import open_dataset
from training.fitting.runs import RunStore
from training.fitting.train_net import train_net
torch.set_num_threads(1)
child = os.fork()
dataset, config = open_dataset(Path(sys.argv[1])), load_config("cp2rec", overrides={OVERRIDES})
fitted = train_net(dataset, config, RunStore(Path(sys.argv[2])))
weights = [value.numpy().tobytes() for value in fitted.net.state_dict().values()]
result = f"{{hashlib.sha256(b''.join(weights)).hexdigest()}} {{fitted.fit.history}}\\n"
os.write(1, result.encode())
if child:
    sys.exit(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
"""


class Value(BaseModel):
    value: int


KEY = RunKey("toy", 0, "f" * 64, {})


def test_two_trainings_at_once_end_with_the_same_weights(
    toy_dataset: Dataset, tmp_path: Path
) -> None:
    command = [sys.executable, "-c", TRAIN, str(toy_dataset.path), str(tmp_path / "runs")]
    done = subprocess.run(command, stdout=subprocess.PIPE, text=True, timeout=240, check=True)

    outputs = done.stdout.splitlines()
    assert len(outputs) == 2
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
