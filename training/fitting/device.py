"""The device of this process: the nets of a command train and score there."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import torch
from torch import Tensor

from training.errors import ConfigError
from training.fitting import DeviceName
from training.fitting.distributed import launched

_AVAILABLE: dict[str, Callable[[], bool]] = {
    "cuda": torch.cuda.is_available,
    "mps": torch.backends.mps.is_available,
    "cpu": lambda: True,
}


class _Chosen:
    device = torch.device("cpu")


def chosen() -> torch.device:
    """Return the device of this process; the CPU unless a command has chosen another."""
    return _Chosen.device


def limit_threads() -> None:
    """Compute on one thread, unless OMP_NUM_THREADS says otherwise.

    The nets are small: more threads mostly wait for each other.
    """
    if "OMP_NUM_THREADS" not in os.environ:
        torch.set_num_threads(1)


@contextmanager
def on_device(name: DeviceName) -> Iterator[torch.device]:
    """Train and score on ``find_device(name)`` within the block."""
    before, device = _Chosen.device, find_device(name)
    if device.type == "cuda":
        torch.cuda.set_device(device)  # also of collectives between processes
    _Chosen.device = device
    try:
        yield device
    finally:
        _Chosen.device = before


def find_device(name: DeviceName) -> torch.device:
    """Return the named device, or the first of cuda, mps and cpu that is there for ``auto``.

    Under torchrun, the process of local rank k has the k-th CUDA device; MPS has no collectives.
    Raises ConfigError if the device is not there.
    """
    available = [each for each, is_available in _AVAILABLE.items() if is_available()]
    if "mps" in available and launched():
        available.remove("mps")
    if name == "auto":
        name = available[0]  # type: ignore[assignment]  # a key of the table
    if name not in available:
        raise ConfigError(
            f"--device {name}: PyTorch {torch.__version__} finds no such device; name one of auto, "
            f"{', '.join(available)}"
        )
    if name != "cuda":
        return torch.device(name)
    rank, count = int(os.environ.get("LOCAL_RANK", "0")), torch.cuda.device_count()
    if rank >= count:
        raise ConfigError(
            f"--device {name}: torchrun starts more processes than the {count} that this machine "
            f"has; name --nproc-per-node {count}"
        )
    return torch.device(name, rank)


def free_bytes(device: torch.device) -> int:
    """Return the memory of an accelerator that is free."""
    if device.type == "mps":
        return torch.mps.recommended_max_memory() - torch.mps.driver_allocated_memory()
    if device.type == "cuda":
        return torch.cuda.mem_get_info(device)[0]
    raise ValueError(device)


def random_states(device: torch.device) -> dict[str, Tensor]:
    """Return the states of the random numbers of the CPU and of ``device``, by kind of device."""
    states = {"cpu": torch.get_rng_state()}
    if device.type == "cuda":
        states["cuda"] = torch.cuda.get_rng_state(device)
    if device.type == "mps":
        states["mps"] = torch.mps.get_rng_state()
    return states


def restore_random_states(device: torch.device, states: dict[str, Tensor]) -> None:
    """Restore ``random_states``; of another kind of device only the state of the CPU."""
    torch.set_rng_state(states["cpu"])
    if device.type == "cuda" and "cuda" in states:
        torch.cuda.set_rng_state(states["cuda"], device)
    if device.type == "mps" and "mps" in states:
        torch.mps.set_rng_state(states["mps"])
