"""Locks of files, and staged folders: held by living processes, freed by dead ones."""

from __future__ import annotations

import fcntl
import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest

from service.contract.files import locked, staged_folder
from service.contract.repository import Repository

HOLD = """
import sys
from pathlib import Path
from service.contract import files
from service.contract.repository import Repository
with {holder}:
    print("held", flush=True)
    sys.stdin.read()
"""


@contextmanager
def process(holder: str) -> Iterator[subprocess.Popen[str]]:
    """Run a process that is inside ``with holder`` until its input ends."""
    with subprocess.Popen(
        [sys.executable, "-c", HOLD.format(holder=holder)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as child:
        try:
            assert child.stdout is not None
            assert child.stdout.readline() == "held\n"
            yield child
        finally:
            child.kill()


def test_the_second_waits_until_the_first_ends(tmp_path: Path) -> None:
    path, waited = tmp_path / "run.pt", []

    with process(f"files.locked(Path({str(path)!r}))") as first:

        def end_first(lock_file: Path) -> None:
            waited.append((lock_file, first.poll()))
            assert first.stdin is not None
            first.stdin.close()

        with locked(path, end_first):
            assert first.wait(timeout=60) == 0

    assert waited == [(tmp_path / "run.pt.lock", None)]
    assert os.listdir(tmp_path) == []


def test_a_killed_holder_frees_the_lock_and_its_temporaries_are_removed(tmp_path: Path) -> None:
    path = tmp_path / "run.pt"
    path.write_bytes(b"last")
    others = [tmp_path / ".run.pt.json", tmp_path / ".run2.pt.0.tmp"]
    for file in (*others, tmp_path / ".run.pt.0123456789abcdef.tmp"):
        file.touch()
    with process(f"files.locked(Path({str(path)!r}))") as holder:
        holder.kill()
        holder.wait()

    with locked(path, lambda _: pytest.fail("waits for a dead process")):
        pass

    assert sorted(tmp_path.iterdir()) == sorted([path, *others])


def test_a_lock_file_that_its_holder_removed_meanwhile_is_no_lock(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    lock_file, flock = tmp_path / "run.pt.lock", fcntl.flock
    removed: list[bool] = []

    def late(descriptor: int, operation: int) -> None:
        if not removed:  # between the opening of the file and its lock
            lock_file.unlink()
            removed.append(True)
        flock(descriptor, operation)

    monkeypatch.setattr(fcntl, "flock", late)

    with locked(tmp_path / "run.pt"):
        assert removed
        assert lock_file.exists()


def test_the_next_run_removes_what_killed_runs_left_and_nothing_else(tmp_path: Path) -> None:
    root, own = tmp_path / "models", tmp_path / "models" / "demo" / ".staging-of-a-person"
    own.mkdir(parents=True)
    staging = f"Repository(Path({str(root)!r})).staging('demo')"

    def staged() -> set[str]:
        return {path.name for path in (root / "demo").iterdir() if path.is_dir()} - {own.name}

    with process(staging) as killed:
        (dead,) = staged()
        killed.kill()
        killed.wait()
        with process(staging) as living:
            (alive,) = staged()
            assert alive != dead
            with Repository(root).staging("demo") as folder:
                assert staged() == {alive, folder.name}
            assert living.poll() is None
            assert staged() == {alive}
    with Repository(root).staging("demo"):
        pass

    assert list((root / "demo").iterdir()) == [own]


def test_a_relative_parent_gives_an_absolute_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)

    with staged_folder(Path(), ".x-") as folder:
        assert folder.parent == tmp_path
        (folder / "file").touch()

    assert os.listdir(tmp_path) == []


def test_promotions_at_once_are_all_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("service.contract.repository.open_artifact", lambda _: None)
    (tmp_path / "demo").mkdir()
    both_have_read = threading.Barrier(2)

    class Slow(Repository):
        """Has read the aliases when the other one reads them, if that can be."""

        def aliases(self, name: str, *, required: bool = False) -> dict[str, int]:
            aliases = super().aliases(name, required=required)
            with suppress(threading.BrokenBarrierError):
                both_have_read.wait(timeout=0.5)
            return aliases

    threads = [
        threading.Thread(target=Slow(tmp_path).promote, args=("demo", version, alias))
        for version, alias in ((1, "champion"), (2, "shadow"))
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert Repository(tmp_path).aliases("demo") == {"champion": 1, "shadow": 2}
