"""Every net trains, scores and exports on another device, with the results of the CPU.

No such device is needed: ``tests.contract.far_device`` stands for one, in a process of its own.
"""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import get_args

import pytest

from tests.contract.architectures import VARIANTS
from training.nets.cp2rec.rivals import Objective

ROOT = Path(__file__).parents[2]
RIVALS = tuple(f"rival-{objective}" for objective in get_args(Objective))
BY_ID = ("bpr-mf", "lightgcn", "ultragcn")

Outcomes = dict[str, str | None]


@pytest.fixture(scope="session")  # a module's would be made anew on a worker
def outcomes() -> Outcomes:
    """Return how each case ended: None, or an error."""
    command = [sys.executable, "-m", "tests.contract.placement"]
    process = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert process.returncode == 0, process.stderr[-4000:]
    loaded: Outcomes = json.loads(process.stdout)
    return loaded


@pytest.mark.parametrize("name", [*VARIANTS, *RIVALS, *BY_ID])
def test_a_net_on_a_device_trains_and_scores_as_on_the_cpu(outcomes: Outcomes, name: str) -> None:
    assert outcomes[name] is None


@pytest.mark.parametrize("name", ["checkpoint-to-the-device", "checkpoint-from-the-device"])
def test_a_checkpoint_moves_between_devices(outcomes: Outcomes, name: str) -> None:
    assert outcomes[name] is None


def test_rows_that_do_not_fit_are_streamed(outcomes: Outcomes) -> None:
    assert outcomes["streamed-rows"] is None


def test_gradients_are_averaged_on_their_device(outcomes: Outcomes) -> None:
    assert outcomes["processes"] is None


@pytest.mark.parametrize("mistake", ["constant-on-the-cpu", "draws-on-the-cpu"])
def test_a_tensor_left_on_the_cpu_is_found(outcomes: Outcomes, mistake: str) -> None:
    assert "MixedDevicesError" in str(outcomes[mistake])
