"""``candidate``, ``promote`` with its gate, ``rollback``: what they refuse, and what they move."""

from __future__ import annotations

import hashlib
import json
import shutil
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest

from service.contract.keys import Keys
from service.contract.rollout import Limits, Rollout, read_rollout
from tests.conftest import World
from tests.integration.conftest import Deployment, until
from training.cli.app import main
from training.release.parts import USERS

Run = Callable[..., tuple[int, str, list[str]]]


@pytest.fixture
def _no_process(monkeypatch: pytest.MonkeyPatch) -> None:
    """Leave out the golden check, which starts a process of the service."""
    monkeypatch.setattr("training.release.gate.prove_service", lambda _: None)


@pytest.fixture
def run(
    deployment: Deployment, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Run:
    """Return ``run(*arguments)``: exit code, output and lines of errors of a command."""

    def run_command(*arguments: str) -> tuple[int, str, list[str]]:
        place = ["--models", str(deployment.repository.root)]
        if arguments[0] == "promote":
            place += ["--redis", deployment.settings.redis_url.get_secret_value()]
            place += ["--namespace", deployment.settings.namespace]
        monkeypatch.setattr(sys, "argv", ["training", *arguments, *place])
        with pytest.raises(SystemExit) as stopped:
            main()
        out, err = capsys.readouterr()
        return int(stopped.value.code or 0), out, err.splitlines()

    return run_command


def _add(deployment: Deployment, version: int, **changes: Any) -> Path:
    """Add a copy of version 1 with changes of its manifest; return its folder."""
    folder = deployment.repository.path("toy", version)
    shutil.copytree(deployment.repository.path("toy", 1), folder)
    manifest = json.loads((folder / "manifest.json").read_text())
    (folder / "manifest.json").write_text(json.dumps({**manifest, **changes}))
    return folder


def _replace(folder: Path, name: str) -> None:
    """Correct the hash of a file that was changed."""
    manifest = json.loads((folder / "manifest.json").read_text())
    manifest["files"][name] = hashlib.sha256((folder / name).read_bytes()).hexdigest()
    (folder / "manifest.json").write_text(json.dumps(manifest))


@pytest.mark.usefixtures("_no_process")
def test_an_equal_version_passes_the_gate_and_goes_back(deployment: Deployment, run: Run) -> None:
    _add(deployment, 2)

    assert run("promote", "toy@2")[0] == 0
    assert deployment.repository.aliases("toy") == {"champion": 2}

    code, out, _ = run("rollback", "toy")
    assert (code, out.splitlines()) == (
        0,
        ["toy@champion is now toy@1 (was toy@2)", "before it, the history has no version"],
    )
    assert deployment.repository.aliases("toy") == {"champion": 1}
    code, _, err = run("rollback", "toy")
    assert code == 2
    assert err[-1].endswith(
        "history.json: has no version before that of toy@champion; promote the one that you want"
    )


def test_each_failed_check_is_one_line_and_force_names_it(
    deployment: Deployment, world: World, run: Run
) -> None:
    manifest = json.loads((deployment.repository.path("toy", 1) / "manifest.json").read_text())
    front = manifest["front"]
    estimate = {"mean": 0.6, "se": 0.01}
    lead = {"mean": -0.1, "se": 0.01}
    front["anchors"] = {
        "metric": "auc",
        "model": estimate,
        "anchors": [{"name": "popularity", "value": estimate, "lead": lead}],
        "beaten": False,
        "rows": 10,
    }
    spaces = {**manifest["spaces"], "items": "toy-few"}
    folder = _add(deployment, 2, front=front, spaces=spaces)
    with np.load(folder / "golden.npz") as npz:
        golden = dict(npz)
    np.savez(folder / "golden.npz", **{**golden, "logits": golden["logits"] + 1})
    _replace(folder, "golden.npz")
    few = Keys(
        deployment.settings.namespace, world.artifact.manifest.spaces.model_copy(update=spaces)
    )
    deployment.redis.sadd(few.catalog, *world.dataset.item_ids[:10])

    code, _, err = run("promote", "toy@2")

    assert code == 2
    assert deployment.repository.aliases("toy") == {"champion": 1}
    assert [line.split(": ")[:2] for line in err] == [
        ["refused", "golden"],
        ["refused", "anchors"],
        ["refused", "items"],
        ["refused", "agreement"],
        ["error", "toy@2 does not become the champion; to promote it all the same, add --force"],
    ]
    assert "Redis holds 10 items of toy@2 and " in err[2]
    assert "not checked: " in err[3]

    code, _, err = run("promote", "toy@2", "--force")

    assert code == 0
    assert [line.split(": ")[0] for line in err] == ["overridden"] * 4
    assert deployment.repository.aliases("toy") == {"champion": 2}


@pytest.mark.usefixtures("_no_process")
def test_a_version_that_ranks_otherwise_is_refused(deployment: Deployment, run: Run) -> None:
    folder = _add(deployment, 2)
    users = pl.read_parquet(folder / USERS, glob=False)
    vectors = np.roll(users["vector"].to_numpy(), 1, axis=0)
    pl.DataFrame({"user_id": users["user_id"], "vector": -vectors}).write_parquet(folder / USERS)
    _replace(folder, USERS)

    code, _, err = run("promote", "toy@2")
    assert code == 2
    assert err[0].startswith("refused: agreement: its rankings agree with those of toy@1 by 0.")
    assert err[0].endswith(" rankings of stored users, less than --agreement 0.5")
    assert run("promote", "toy@2", "--agreement", "0")[0] == 0


@pytest.mark.usefixtures("_no_process")
def test_a_service_says_how_far_both_agree(deployment: Deployment, world: World, run: Run) -> None:
    _add(deployment, 2)
    with deployment.serve() as service:
        url = str(service.client.base_url)
        code, _, err = run("promote", "toy@2", "--service", url)
        assert code == 2
        assert err[0] == (
            "refused: agreement: the service does not compare toy@2 with toy@1: run "
            "python -m training candidate toy@2"
        )
        assert run("candidate", "toy@2", "--shadow", "1")[0] == 0
        until(lambda: len(service.client.get("/models").json()["models"]) == 2)

        def compared() -> float:
            service.rank(user_id="u", candidates=world.dataset.item_ids[:20])
            return service.metric('rank_shadow_agreement_count{model="toy@2"}')

        until(lambda: compared() >= 3)
        code, _, err = run("promote", "toy@2", "--service", url, "--compared", "100000")
        assert code == 2
        assert "fewer than 100000: wait, raise the candidate's --shadow" in err[0]
        assert run("promote", "toy@2", "--service", url, "--compared", "3")[0] == 0
    code, _, err = run("promote", "toy@1", "--service", url)
    assert code == 2
    assert err[0].startswith(f"refused: agreement: --service: {url}")


def test_a_candidate_keeps_its_limits_until_they_are_set_anew(
    deployment: Deployment, run: Run
) -> None:
    _add(deployment, 2)
    folder = deployment.repository.root / "toy"

    code, out, _ = run("candidate", "toy@2", "--canary", ".1", "--error-rate", ".2")
    assert code == 0
    assert out == (
        "toy@candidate is now toy@2: it repeats 5.0% of the champion's rankings and serves 10.0% "
        "of users\n"
    )
    limits = Limits(error_rate=0.2)
    assert read_rollout(folder) == Rollout(
        version=2, salt="toy@2", shadow=0.05, canary=0.1, limits=limits
    )
    run("candidate", "toy@candidate", "--shadow", "0", "--rankings", "50")
    limits = Limits(error_rate=0.2, rankings=50)
    assert read_rollout(folder) == Rollout(version=2, salt="toy@2", limits=limits)
    assert run("candidate", "toy", "--stop")[:2] == (0, "toy has no candidate any more\n")
    assert read_rollout(folder) == Rollout(limits=limits)
    assert deployment.repository.aliases("toy") == {"champion": 1}


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("candidate", "toy"), "'toy' is no candidate: write toy@1"),
        (("candidate", "toy@1", "--stop"), "write the name alone, with --stop"),
        (("candidate", "toy@9"), "toy/9: no such version"),
        (("candidate", "nope@1"), "no such model (there are: toy)"),
        (("rollback", "nope"), "no such model (there are: toy)"),
        (("rollback", "toy", "--alias", "Champion"), "'Champion' is no alias"),
    ],
)
def test_mistakes_are_one_line(
    deployment: Deployment, run: Run, arguments: tuple[str, ...], message: str
) -> None:
    code, _, err = run(*arguments)
    assert code == 2
    assert message in err[-1]
    assert deployment.repository.aliases("toy") == {"champion": 1}
