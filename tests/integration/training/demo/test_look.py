"""``look`` prints what a service would rank, without one."""

from __future__ import annotations

import dataclasses
import re
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from tests.conftest import World
from tests.integration.conftest import Running
from tests.integration.training.data.small_dataset import write
from training.cli.app import main
from training.demo.look import look_at

Look = Callable[..., tuple[int, str, str]]


@pytest.fixture
def look(world: World, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Look:
    """Return ``look(*arguments)`` on the world: exit code, output, errors."""
    place = ("--models", str(world.repository.root), "--data", str(world.dataset.path))

    def run(*arguments: str) -> tuple[int, str, str]:
        monkeypatch.setattr(sys, "argv", ["training", "look", "toy", *place, *arguments])
        with pytest.raises(SystemExit) as stopped:
            main()
        return (stopped.value.code, *capsys.readouterr())  # type: ignore[return-value]  # an exit code is an int here

    return run


@pytest.mark.parametrize("known", [True, False], ids=["user", "history"])
def test_rankings_are_those_of_the_service(service: Running, world: World, *, known: bool) -> None:
    dataset = world.dataset
    user_id, body = dataset.user_ids[3], {}
    if not known:
        user_id = "new"
        dataset = dataclasses.replace(dataset, user_ids=["new", *dataset.user_ids[1:]])
        rows = np.flatnonzero((dataset.impressions.user == 0) & (dataset.impressions.label == 1))
        rows = rows[np.argsort(dataset.impressions.timestamp[rows], kind="stable")]
        body = {"history": [dataset.item_ids[row] for row in dataset.impressions.item[rows]]}
    tradeoffs = (0.0, 0.3, 1.0)

    seen = look_at(world.artifact, dataset, user_id, tradeoffs, 20)

    title_of = dict(zip(dataset.item_ids, dataset.titles, strict=True))
    for w, ranking in zip(tradeoffs, seen.rankings, strict=True):
        items = service.rank(user_id=user_id, tradeoff=w, top_k=20, **body)["items"]
        assert [title for title, _ in ranking] == [title_of[item["item_id"]] for item in items]
        scores = [score for _, score in ranking]
        np.testing.assert_allclose(scores, [item["score"] for item in items], rtol=1e-5)
    assert seen.by_history is not known


def test_the_command_prints_history_and_rankings(world: World, look: Look) -> None:
    dataset = world.dataset
    user_id = dataset.user_ids[0]

    code, text, _ = look("--user", user_id, "--tradeoffs", "0,1", "--top", "3")

    assert code == 0
    seen = look_at(world.artifact, dataset, user_id, (0.0, 1.0), 3)
    rows = np.flatnonzero((dataset.impressions.user == 0) & (dataset.impressions.label == 1))
    latest = dataset.impressions.item[rows[np.argmax(dataset.impressions.timestamp[rows])]]
    lines = text.splitlines()
    assert lines[0] == f"Last clicks of user {user_id}, latest first:"
    assert lines[1] == f"    {dataset.titles[latest]}"
    assert lines[5] == f"The whole catalogue ranked for user {user_id}: title and score"
    assert lines[7].split() == ["tradeoff", "0", "tradeoff", "1"]
    assert len(lines) == 11
    for place, line in enumerate(lines[8:]):
        assert line.startswith(f" {place + 1}  {seen.rankings[0][place][0]}")
        assert line.endswith(f"{seen.rankings[1][place][1]:.3f}")


@pytest.mark.parametrize(
    ("arguments", "problem"),
    [
        (("--user", "nobody"), "--user 'nobody' is not in .*users.parquet; its first user is 'u"),
        (("--user", "u0000", "--tradeoffs", "0,2"), "--tradeoffs '0,2': write numbers from 0 to 1"),
        (("--user", "u0000", "--tradeoffs", "all"), "--tradeoffs 'all': write numbers"),
        (("--user", "u0000", "--tradeoffs", "nan"), "--tradeoffs 'nan': write numbers"),
    ],
)
def test_mistakes_are_named(look: Look, arguments: tuple[str, ...], problem: str) -> None:
    code, _, errors = look(*arguments)

    assert code == 2
    assert re.search(problem, errors.splitlines()[-1])


def test_a_dataset_that_does_not_fit_is_refused(look: Look, tmp_path: Path) -> None:
    write(tmp_path / "d")
    code, _, errors = look("--user", "u1", "--data", str(tmp_path / "d"))

    assert code == 2
    assert "toy@1 was trained on modalities" in errors
