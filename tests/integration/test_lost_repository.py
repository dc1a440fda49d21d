"""The model repository is lost or damaged: loaded models keep serving, and the fault shows."""

from __future__ import annotations

import json
import logging
import shutil
import threading
from collections.abc import Callable
from pathlib import Path

import pytest

from service.contract.repository import Repository
from service.models.scorer import Scorer
from tests.integration.conftest import Deployment, Running, until
from tests.integration.unreadable_file import REASON, UNREADABLE


def _remove(path: Path) -> None:
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)


def _moved_away(models: Path) -> str:
    _remove(models)
    return "toy/aliases.json: is missing"


def _empty_mount(models: Path) -> str:
    _remove(models)
    models.mkdir()
    return "toy/aliases.json: is missing"


def _a_file_in_its_place(models: Path) -> str:
    _remove(models)
    models.write_text("")
    return f"{models}: cannot be read: Not a directory"


def _no_aliases(models: Path) -> str:
    (models / "toy/aliases.json").unlink()
    return "toy/aliases.json: is missing"


def _unreadable_aliases(models: Path) -> str:
    _no_aliases(models)
    (models / "toy/aliases.json").symlink_to(UNREADABLE)
    return f"toy/aliases.json: {REASON}"


def _emptied_aliases(models: Path) -> str:
    (models / "toy/aliases.json").write_text("")
    return "toy/aliases.json: is not a table of alias to version: Invalid JSON"


def _no_version(models: Path) -> str:
    _remove(models / "toy/1")
    return "toy/1/manifest.json: is missing"


def _no_model(models: Path) -> str:
    _remove(models / "toy")
    return "toy/aliases.json: is missing"


def _unreadable_model(models: Path) -> str:
    _remove(models / "toy")
    (models / "toy").symlink_to("toy")
    return "toy/aliases.json: cannot be read: Too many levels of symbolic links"


LOSSES = [
    _moved_away,
    _empty_mount,
    _a_file_in_its_place,
    _no_aliases,
    _unreadable_aliases,
    _emptied_aliases,
    _no_version,
    _no_model,
    _unreadable_model,
]


@pytest.fixture
def polls(monkeypatch: pytest.MonkeyPatch) -> threading.Semaphore:
    """A semaphore that each poll of the repository releases."""
    folders, polled = Repository.folders, threading.Semaphore(0)

    def counted(self: Repository) -> list[str]:
        polled.release()
        return folders(self)

    monkeypatch.setattr(Repository, "folders", counted)
    return polled


def _await_polls(polls: threading.Semaphore, count: int) -> None:
    while polls.acquire(blocking=False):
        pass
    for _ in range(count):
        assert polls.acquire(timeout=20)


def _reason(service: Running) -> str:
    readiness = service.client.get("/readyz")
    assert (readiness.status_code, readiness.json()["status"]) == (200, "ok")
    return readiness.json()["reason"] or ""


@pytest.mark.parametrize("lose", LOSSES)
def test_absence_is_no_order_to_stop_serving(
    deployment: Deployment,
    lose: Callable[[Path], str],
    polls: threading.Semaphore,
    caplog: pytest.LogCaptureFixture,
) -> None:
    models = deployment.repository.root
    backup = models.with_name("backup")
    shutil.copytree(models, backup)
    with deployment.serve() as service:
        before = service.rank(user_id="u")["items"]
        fault = lose(models)
        until(lambda: fault in _reason(service))
        assert "loaded models keep serving" in _reason(service)
        _await_polls(polls, 4)
        answer = service.rank(user_id="u")
        assert (answer["model"], answer["items"], answer["degraded"][1:]) == ("toy@1", before, [])
        assert service.metric("rank_repository_faults") >= 1
        errors = [r.getMessage() for r in caplog.records if r.levelno == logging.ERROR]
        assert sum(fault in message for message in errors) == 1  # once, not at every poll
        _remove(models)
        shutil.move(backup, models)
        until(lambda: _reason(service) == "")
        assert service.metric("rank_repository_faults") == 0
        assert service.metric('rank_model_loads_total{result="ok"}') == 1  # it was never dropped


def test_a_readable_table_of_aliases_retires_a_model(deployment: Deployment) -> None:
    repository = deployment.repository
    shutil.copytree(repository.path("toy", 1), repository.path("toy", 2))
    repository.promote("toy", 2, alias="candidate")
    aliases = repository.root / "toy" / "aliases.json"
    with deployment.serve() as service:
        until(lambda: len(service.client.get("/models").json()["models"]) == 2)
        aliases.write_text(json.dumps({"champion": 1}))
        until(lambda: len(service.client.get("/models").json()["models"]) == 1)
        assert service.rank(user_id="u")["model"] == "toy@1"
        aliases.write_text("{}")
        until(lambda: service.client.get("/readyz").status_code == 503)
        assert service.metric("rank_repository_faults") == 0


def test_a_fault_of_one_model_holds_up_no_other(
    deployment: Deployment, monkeypatch: pytest.MonkeyPatch
) -> None:
    models = deployment.repository.root
    broken = models / "broken"  # its name sorts before toy
    broken.mkdir()
    (broken / "aliases.json").symlink_to(UNREADABLE)
    alien = models / "alien"
    shutil.copytree(models / "toy", alien)
    replay = Scorer.replay

    def failing(self: Scorer) -> None:
        if self.artifact.path.parent.name == "toy":
            replay(self)
        else:
            raise ZeroDivisionError("no one knows why")

    monkeypatch.setattr(Scorer, "replay", failing)
    manifest = alien / "1" / "manifest.json"
    manifest.write_text(manifest.read_text().replace('"name": "toy"', '"name": "alien"', 1))
    with deployment.serve() as service:
        assert service.rank(user_id="u")["model"] == "toy@1"
        assert f"broken/aliases.json: {REASON}" in _reason(service)
        assert service.metric('rank_model_loads_total{result="failed"}') >= 1
