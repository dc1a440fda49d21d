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
from tests.datasets import make_dataset
from tests.integration.conftest import Running
from tests.integration.training.data.small_dataset import write
from training.cli.app import main
from training.demo.look import Catalogue, look_at

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
        assert [place.title for place in ranking] == [title_of[item["item_id"]] for item in items]
        scores = [place.score for place in ranking]
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
    assert lines[5].startswith(
        f"The whole catalogue ranked for user {user_id}: title, score, #place"
    )
    assert lines[7].split() == ["tradeoff", "0", "tradeoff", "1"]
    assert len(lines) == 14
    for number, line in enumerate(lines[8:11]):
        first, last = (ranking[number] for ranking in seen.rankings)
        assert line.startswith(f" {number + 1}  {first.title} {first.score:.3f} #")
        assert line.endswith(f" {last.score:.3f} #{last.clicks_rank}")
    counts = [sum(place.popular for place in ranking) for ranking in seen.rankings]
    assert lines[11].split("of 3 popular") == [f"    {counts[0]} ", f"{counts[1]:>21} ", ""]


def test_places_by_clicks_count_logged_clicks_alone() -> None:
    """Item 0 is clicked three times, item 1 twice, the others once, item 9 in no logged row."""
    item = np.array([0, 0, 0, 1, 1, *range(2, 9), *[9] * 10])
    label = np.ones(len(item), np.float32)
    dataset = make_dataset(rows=len(item), item=item, label=label, uniform=item == 9)

    catalogue = Catalogue.of(dataset)

    assert catalogue.clicks_rank.tolist() == [1, 2, *[3] * 7, 10]
    assert catalogue.popular.tolist() == [True, True, *[False] * 8]


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
