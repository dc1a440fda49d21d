"""Two machines train one net: a process in each of two network namespaces, joined by a cable."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
import torch

from tests.e2e.two_processes import SHORT, TRAIN_ONLY, unbroken_run

ADDRESSES = ("10.213.7.1", "10.213.7.2")


@dataclass(frozen=True)
class Machine:
    """A network namespace with one address, and a folder of its own."""

    name: str
    interface: str
    folder: Path


def ip(*words: str) -> None:
    subprocess.run(["ip", *words], check=True, capture_output=True, timeout=20)


@pytest.fixture
def machines(tmp_path: Path) -> Iterator[list[Machine]]:
    """Two namespaces that reach each other, and nothing else."""
    if os.geteuid() != 0 or shutil.which("ip") is None:
        pytest.skip("network namespaces need root and ip (Debian's iproute2)")
    # Interfaces stand in one list until they are moved: their names hold the process id.
    machines = [
        Machine(f"paretorank-{os.getpid()}-{end}", f"pr{os.getpid() % 10**8}{end}", tmp_path / end)
        for end in ("a", "b")
    ]
    first, second = machines
    try:
        try:
            for machine in machines:
                ip("netns", "add", machine.name)
            cable = ("link", "add", first.interface, "type", "veth", "peer", second.interface)
            ip(*cable)
        except subprocess.CalledProcessError as error:
            pytest.skip(f"no network namespaces here: {error.stderr.decode().strip()}")
        for machine, address in zip(machines, ADDRESSES, strict=True):
            machine.folder.mkdir()
            ip("link", "set", machine.interface, "netns", machine.name)
            ip("-n", machine.name, "address", "add", f"{address}/24", "dev", machine.interface)
            for device in ("lo", machine.interface):
                ip("-n", machine.name, "link", "set", device, "up")
        yield machines
    finally:
        for machine in machines:  # their interfaces go with them
            subprocess.run(
                ["ip", "netns", "delete", machine.name], capture_output=True, check=False
            )


def torchrun(
    options: list[str], arguments: list[str], folder: Path, interface: str, prefix: list[str]
) -> subprocess.Popen[str]:
    command = [*prefix, sys.executable, "-m", "torch.distributed.run", *options, *arguments]
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "GLOO_SOCKET_IFNAME": interface}
    return subprocess.Popen(command, cwd=folder, env=environment, stderr=subprocess.PIPE, text=True)


def finish(*runs: subprocess.Popen[str]) -> None:
    """Wait for runs that must end well; none outlives the test."""
    try:
        for run in runs:
            _, errors = run.communicate(timeout=240)
            assert run.returncode == 0, errors[-4000:]
    finally:
        for run in runs:
            run.terminate()  # torchrun ends its workers
            run.wait(timeout=60)


def test_two_machines_learn_what_two_processes_of_one_do(
    machines: list[Machine], tmp_path: Path, tmp_path_factory: pytest.TempPathFactory
) -> None:
    one = unbroken_run(tmp_path_factory)
    program = tmp_path / "program.py"
    program.write_text(TRAIN_ONLY)
    arguments = [str(program), str(one.small.path), " ".join(SHORT)]
    address = ["--master-addr", ADDRESSES[0], "--master-port", "29500"]
    finish(
        *(
            torchrun(
                ["--nnodes", "2", "--node-rank", str(rank), "--nproc-per-node", "1", *address],
                arguments,
                machine.folder,
                machine.interface,
                ["ip", "netns", "exec", machine.name],
            )
            for rank, machine in enumerate(machines)
        )
    )

    places = [machine.folder / f"weights-{rank}.pt" for rank, machine in enumerate(machines)]
    places += [one.folder / f"weights-{rank}.pt" for rank in range(2)]
    first, *others = [torch.load(place) for place in places]
    assert len(first) > 10
    for weights in others:
        for name, value in first.items():
            torch.testing.assert_close(weights[name], value, rtol=0, atol=0, msg=name)
    # The first machine alone writes the run.
    assert list((machines[0].folder / "build" / "training").glob("*.pt"))
    assert [path.name for path in machines[1].folder.iterdir()] == ["weights-1.pt"]
