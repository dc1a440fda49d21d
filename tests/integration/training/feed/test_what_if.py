"""What-if from a log of known users: its files, its answers and its refusals."""

from __future__ import annotations

from pathlib import Path

import polars as pl
import pytest
from typer.testing import CliRunner

from service.contract.artifact import ArtifactError
from service.contract.feedback import Event
from service.contract.measures import in_tail
from tests.conftest import World
from tests.integration.training.feed.feed_log import HOUR_MS, NOW_MS
from tests.integration.training.feed.what_if_log import PLACES, ServedLog
from training.cli.app import app
from training.data.parquet import read
from training.errors import ConfigError, DatasetError
from training.evaluation.off_policy.advice import TAIL_SHARE, Wish
from training.evaluation.off_policy.schema import WhatIf
from training.feed.log_files import DECISIONS, LogFolder, compact, packed
from training.feed.rankings import Outcome, parse_metric, read_rankings
from training.feed.specification import Feed
from training.feed.what_if import Policy, Question, answer

DRAWN, NAMED = 850, 50
LATER = "2100-01-01"
EVER = (None, NOW_MS + HOUR_MS)
CLICKS = Outcome("clicks", ("click",))


@pytest.fixture(scope="module")
def served(world: World) -> ServedLog:
    log = ServedLog(world)
    log.serve(DRAWN)
    log.serve(NAMED, tradeoff=0.25)
    return log


@pytest.fixture(scope="module")
def folder(served: ServedLog, tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("what-if") / "log"
    root.mkdir()
    served.write(root)
    return root


def ask(folder: Path, world: World, out: Path, *options: str) -> str:
    command = ["what-if", "--logs", str(folder), "--models", str(world.repository.root)]
    command += ["--model", "toy", "--until", LATER, "--out", str(out), *options]
    result = CliRunner().invoke(app, command)
    if result.exception is not None:
        raise result.exception
    return result.output


def test_every_tradeoff_and_other_policies_are_estimated(
    served: ServedLog, folder: Path, tmp_path: Path
) -> None:
    world = served.world
    printed = ask(
        folder, world, tmp_path, "--data", str(world.dataset.path), "--policy", "toy@1:0.8",
        "--at-most", "5% clicks", "--against", "1",
    )  # fmt: skip
    result = WhatIf.model_validate_json((tmp_path / "what-if.json").read_bytes())
    assert (result.read, result.against) == (DRAWN + NAMED, "w = 1")
    assert result.randomised is not None
    assert result.randomised.decisions == DRAWN
    assert result.randomised.left_out == {"whose tradeoff was not drawn": NAMED}
    drawn = range(DRAWN)
    reference = world.artifact.bias_reference()
    assert reference is not None
    flags = in_tail(reference.click_percentile).tolist()
    tail = {i for i, flag in zip(reference.item_ids, flags, strict=True) if flag}
    for policy, w in zip(result.policies, (0.0, 0.5, 1.0), strict=True):
        truth = served.truth(w, PLACES, drawn)
        assert set(policy.outcome) == {"snips", "ips", "dr", "whole_ranking"}
        for estimate in policy.outcome.values():
            assert estimate is not None
            assert estimate.se is not None
            assert abs(estimate.mean - truth) < 3.5 * estimate.se
        assert policy.tail_share is not None
        assert policy.tail_share.mean == pytest.approx(served.share(tail, w, drawn), abs=0.05)
        assert 100 < policy.effective < DRAWN
        assert sum(p.outcome.mean for p in policy.places if p.outcome) == pytest.approx(
            policy.value.mean if policy.value else None
        )
    slotted = [n for n in range(DRAWN + NAMED) if served.decisions[n].slot is not None]
    assert result.slots is not None
    assert result.slots.decisions == len(slotted)
    assert [policy.name for policy in result.ranked_again] == ["toy@1, w = 1", "toy@1, w = 0.8"]
    for policy, w in zip(result.ranked_again, (1.0, 0.8), strict=True):
        assert set(policy.outcome) == {"position_based", "snips", "ips", "dr"}
        assert policy.value is not None
        assert policy.value.se is not None
        truth = served.truth(w, 4, slotted)
        assert abs(policy.value.mean - truth) < 3.5 * policy.value.se
    assert result.advice is not None
    assert result.advice.sentence in printed
    assert "| place | w = 0 | w = 0.5 | w = 1 |" in printed
    page = (tmp_path / "what-if.html").read_text()
    assert result.advice.sentence in page
    assert page.count("<svg") == 1
    assert (tmp_path / "what-if.png").read_bytes().startswith(b"\x89PNG")


def test_a_log_without_drawn_tradeoffs_answers_from_its_slots(world: World, tmp_path: Path) -> None:
    log = ServedLog(world)
    log.serve(80, tradeoff=0.5)
    log.write(tmp_path / "log")
    with pytest.raises(ConfigError, match="no tradeoff was drawn for toy: serve with RANK_EXPLORE"):
        ask(tmp_path / "log", world, tmp_path / "out")
    question = Question(
        artifact=world.artifact,
        served="toy",
        outcome=CLICKS,
        wish=Wish(TAIL_SHARE),
        data=world.dataset.path,
        policies=(Policy(world.artifact, 1.0),),
    )
    result = answer(question, Feed(), tmp_path / "log", EVER)
    assert (result.policies, result.against) == ((), "toy@1, w = 0.5")
    assert result.advice is not None


def test_files_from_before_what_if_are_read_and_count_as_undrawn(
    served: ServedLog, tmp_path: Path
) -> None:
    served.write(tmp_path)
    (file,) = LogFolder(tmp_path).current(DECISIONS)
    rows = read(file.path)
    old = rows.drop("tradeoffs", "chances", "stands", "slot_places", "listed", "pool_known")
    file.path.write_bytes(packed(old.head(100)))
    log, later = LogFolder(tmp_path), rows.tail(-100).with_columns(arrived_ms=pl.lit(NOW_MS + 2))
    for part in later.iter_slices(50):
        log.write(DECISIONS, 0, part)
    assert log.write(DECISIONS, 0, later, again=True) == []  # each entry is in the files
    question = Question(artifact=served.world.artifact, served="toy", outcome=CLICKS)
    before = answer(question, Feed(), tmp_path, EVER)
    assert compact(file.path.parent, 0) == len(later) // 50 + 1
    result = answer(question, Feed(), tmp_path, EVER)
    assert result == before
    assert result.randomised is not None
    assert result.randomised.decisions == DRAWN - 100


def test_an_outcome_is_what_the_metric_names(served: ServedLog, tmp_path: Path) -> None:
    log = ServedLog(served.world, decisions=served.decisions[:2])
    first = served.decisions[0].item_ids

    def event(item_id: str, kind: str, value: float, after_ms: int = 0) -> Event:
        at = NOW_MS + after_ms
        return Event(request_id="r0", item_id=item_id, kind=kind, value=value, time_ms=at)

    log.events = [
        event(first[0], "click", 2.0),
        event(first[0], "click", 3.0, 1),
        event(first[1], "play", 7.5),
        event(first[2], "click", 1.0, HOUR_MS),  # after the window of labels
        event("not shown", "click", 1.0),
    ]
    log.write(tmp_path)
    feed = Feed()

    def outcomes(metric: str) -> list[float]:
        rankings = read_rankings(feed, tmp_path, parse_metric(metric, feed), "toy", EVER)
        assert len(rankings.rows) == 2
        assert set(rankings.rows["outcomes"][1]) == {0.0}
        first_three: list[float] = rankings.rows["outcomes"][0].to_list()[:3]
        return first_three

    assert outcomes("clicks") == [1, 0, 0]
    assert outcomes("value") == [5, 0, 0]
    assert outcomes("play") == [0, 1, 0]
    assert outcomes("play:value") == [0, 7.5, 0]
    with pytest.raises(DatasetError, match="has 2 decisions of that period and none of other"):
        read_rankings(feed, tmp_path, CLICKS, "other", EVER)


@pytest.mark.parametrize(
    ("options", "problem"),
    [
        (("--metric", "Clicks!"), "--metric 'Clicks!'"),
        (("--against", "0.7"), "--against 0.7: the log's tradeoffs are 0, 0.5, 1"),
        (("--policy", "toy:2"), "--policy 'toy:2': is not MODEL:TRADEOFF"),
        (("--policy", "toy:0.5"), "--policy: give --data"),
        (("--at-most", "2 clicks"), "--at-most '2 clicks'"),
        (("--model", "nobody"), "nobody"),
    ],
)
def test_a_bad_question_is_refused_and_nothing_is_written(
    served: ServedLog, folder: Path, tmp_path: Path, options: tuple[str, ...], problem: str
) -> None:
    with pytest.raises((ConfigError, ArtifactError)) as refused:
        ask(folder, served.world, tmp_path / "out", *options)
    assert problem in str(refused.value)
    assert not (tmp_path / "out").exists()
