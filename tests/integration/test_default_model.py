"""The model for requests that name none: it stays where it is until someone moves it."""

from __future__ import annotations

import json
import shutil
import sys
from pathlib import Path

import pytest

from service.contract.repository import Repository
from tests.integration.conftest import Deployment, Running, running, until
from training.cli.app import main


def _add(models: Path, name: str) -> None:
    """Add a copy of the model toy as ``name``; it shares toy's records."""
    shutil.copytree(models / "toy" / "1", models / name / "1")
    manifest = models / name / "1" / "manifest.json"
    manifest.write_text(manifest.read_text().replace('"name": "toy"', f'"name": "{name}"', 1))


def _served(service: Running) -> set[str]:
    return {model["name"] for model in service.client.get("/models").json()["models"]}


def _ranks(service: Running) -> str:
    return str(service.rank(user_id="u", top_k=1)["model"])


def _run(monkeypatch: pytest.MonkeyPatch, *arguments: str) -> None:
    monkeypatch.setattr(sys, "argv", ["training", *arguments])
    with pytest.raises(SystemExit) as stopped:
        main()
    assert stopped.value.code == 0


@pytest.mark.parametrize("recorded", [True, False], ids=["recorded", "of an older release"])
def test_a_second_model_leaves_the_default_where_it_was(
    deployment: Deployment, *, recorded: bool
) -> None:
    models = deployment.repository.root
    if not recorded:
        (models / "default.json").unlink()
    with deployment.serve() as service:
        _add(models, "other")
        deployment.repository.promote("other", 1)
        answers = {_ranks(service) for _ in range(20)}
        until(lambda: _served(service) == {"toy", "other"})
        assert answers | {_ranks(service)} == {"toy@1"}
        assert service.client.get("/readyz").status_code == 200
    with deployment.serve() as again:
        until(lambda: _served(again) == {"toy", "other"})
        assert _ranks(again) == "toy@1"


def test_promote_moves_the_default(
    deployment: Deployment, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    models = deployment.repository.root
    _add(models, "other")
    place = ("--models", str(models))
    with deployment.serve() as service:
        _run(monkeypatch, "promote", "other@1", *place)
        assert (
            "requests that name no model are still ranked by toy; to move them: "
            "python -m training promote other@champion --default" in capsys.readouterr().out
        )
        until(lambda: _served(service) == {"toy", "other"})
        assert _ranks(service) == "toy@1"

        _run(monkeypatch, "promote", "other@champion", "--default", *place)
        assert "requests that name no model are ranked by other" in capsys.readouterr().out
        until(lambda: _ranks(service) == "other@1")

        _run(monkeypatch, "promote", "toy@1", "--alias", "candidate", "--default", *place)
        until(lambda: _ranks(service) == "toy@1")
        assert deployment.repository.default() == "toy@candidate"
    with running(deployment.settings.model_copy(update={"model": "other"})) as service:
        until(lambda: service.client.get("/readyz").status_code == 200)
        assert _ranks(service) == "other@1"  # RANK_MODEL overrides


def test_the_default_waits_until_its_model_is_loaded(deployment: Deployment) -> None:
    models = deployment.repository.root
    with deployment.serve() as service:
        _add(models, "other")
        (models / "other/aliases.json").write_text('{"champion": 1}')
        graph = models / "other/1/ranker.onnx"
        whole = graph.read_bytes()
        graph.write_bytes(b"")
        deployment.repository.make_default("other")
        until(lambda: service.metric('rank_model_loads_total{result="failed"}') >= 2)
        assert _ranks(service) == "toy@1"
        graph.write_bytes(whole)
        until(lambda: _ranks(service) == "other@1")


@pytest.mark.parametrize("content", [None, "", "{}", '{"model": "../toy"}'])
def test_a_lost_or_damaged_default_is_no_order(deployment: Deployment, content: str | None) -> None:
    models = deployment.repository.root
    _add(models, "other")
    deployment.repository.promote("other", 1)
    with deployment.serve() as service:
        until(lambda: _served(service) == {"toy", "other"})
        file = models / "default.json"
        file.unlink() if content is None else file.write_text(content)
        until(lambda: service.metric("rank_repository_faults") == 1)
        assert "default.json" in service.client.get("/readyz").json()["reason"]
        assert _ranks(service) == "toy@1"
        deployment.repository.make_default("toy")
        until(lambda: service.metric("rank_repository_faults") == 0)


def test_a_retired_default_leaves_the_only_other_model(deployment: Deployment) -> None:
    models = deployment.repository.root
    _add(models, "other")
    deployment.repository.promote("other", 1)
    with deployment.serve() as service:
        until(lambda: _served(service) == {"toy", "other"})
        (models / "toy/aliases.json").write_text("{}")
        until(lambda: _served(service) == {"other"})
        assert _ranks(service) == "other@1"
        assert service.metric("rank_repository_faults") == 0


def test_a_default_whose_aliases_are_lost_is_not_replaced_by_another_model(
    deployment: Deployment,
) -> None:
    models = deployment.repository.root
    _add(models, "other")
    deployment.repository.promote("other", 1)
    (models / "toy/aliases.json").unlink()
    with deployment.serve(ready=False) as service:
        until(lambda: _served(service) == {"other"})
        assert service.client.post("/rank", json={"user_id": "u"}).status_code == 404
        assert "'toy' is not loaded" in service.client.get("/readyz").json()["reason"]


def test_a_promotion_of_one_of_several_champions_records_no_default(
    deployment: Deployment,
) -> None:
    repository, models = deployment.repository, deployment.repository.root
    _add(models, "other")
    (models / "other/aliases.json").write_text(json.dumps({"champion": 1}))
    (models / "default.json").unlink()

    repository.promote("toy", 1)
    repository.promote("other", 1)

    assert repository.default() is None


def test_aliases_that_cannot_be_read_do_not_keep_another_model_from_being_promoted(
    deployment: Deployment,
) -> None:
    models = deployment.repository.root
    (models / "broken").mkdir()
    (models / "broken/aliases.json").write_text("{")
    (models / "default.json").unlink()

    assert Repository(models).promote("toy", 1) == 1
    assert Repository(models).default() is None


def test_a_damaged_default_keeps_no_alias_from_moving_and_can_be_mended(
    deployment: Deployment, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    models = deployment.repository.root
    shutil.copytree(models / "toy" / "1", models / "toy" / "2")
    (models / "default.json").write_text("{")
    place = ("--models", str(models))

    _run(monkeypatch, "promote", "toy@2", "--force", *place)

    assert deployment.repository.aliases("toy") == {"champion": 2}
    assert "names no default model" in capsys.readouterr().out
    assert (models / "default.json").read_text() == "{"
    _run(monkeypatch, "promote", "toy@2", "--default", *place)
    assert deployment.repository.default() == "toy"
