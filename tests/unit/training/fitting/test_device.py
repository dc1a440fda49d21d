from __future__ import annotations

import pytest
import torch

from training.errors import ConfigError
from training.fitting import DeviceName, device
from training.fitting.device import chosen, find_device, on_device


def have(monkeypatch: pytest.MonkeyPatch, *names: str, count: int = 2) -> None:
    """Let PyTorch find these devices, ``count`` of CUDA."""
    available = {name: (lambda found=name in names: found) for name in device._AVAILABLE}
    monkeypatch.setattr(device, "_AVAILABLE", available)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: count)


@pytest.mark.parametrize(
    ("available", "expected"),
    [(("cuda", "mps", "cpu"), "cuda:0"), (("mps", "cpu"), "mps"), (("cpu",), "cpu")],
)
def test_auto_is_the_first_of_cuda_mps_and_cpu(
    monkeypatch: pytest.MonkeyPatch, available: tuple[str, ...], expected: str
) -> None:
    have(monkeypatch, *available)

    assert find_device("auto") == torch.device(expected)
    assert find_device("cpu") == torch.device("cpu")


@pytest.mark.parametrize("name", ["cuda", "mps"])
def test_a_device_that_is_not_there_is_refused(
    monkeypatch: pytest.MonkeyPatch, name: DeviceName
) -> None:
    have(monkeypatch, "cpu")

    with pytest.raises(ConfigError, match=rf"--device {name}: .* name one of auto, cpu$"):
        find_device(name)


def test_each_process_of_torchrun_has_a_device_of_its_own(monkeypatch: pytest.MonkeyPatch) -> None:
    have(monkeypatch, "cuda", "cpu")
    monkeypatch.setenv("WORLD_SIZE", "3")
    monkeypatch.setenv("LOCAL_RANK", "1")
    assert find_device("auto") == torch.device("cuda", 1)

    monkeypatch.setenv("LOCAL_RANK", "2")
    with pytest.raises(ConfigError, match=r"--device cuda: .* the 2 .*; name --nproc-per-node 2$"):
        find_device("auto")


def test_processes_do_not_share_mps(monkeypatch: pytest.MonkeyPatch) -> None:
    have(monkeypatch, "mps", "cpu")
    monkeypatch.setenv("WORLD_SIZE", "2")

    assert find_device("auto") == torch.device("cpu")
    with pytest.raises(ConfigError, match=r"name one of auto, cpu$"):
        find_device("mps")


def test_the_choice_ends_with_its_block(monkeypatch: pytest.MonkeyPatch) -> None:
    have(monkeypatch, "mps", "cpu")
    with on_device("auto") as device:
        assert device == chosen() == torch.device("mps")

    assert chosen() == torch.device("cpu")
