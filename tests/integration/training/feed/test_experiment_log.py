"""The users of an experiment, as the files of the log have them."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from service.contract.experiments import Experiment
from tests.integration.training.feed.feed_log import HOUR_MS, NOW_MS, FeedLog, decision, event
from training.errors import DatasetError
from training.feed.experiment_log import ExperimentLog, read_experiment
from training.feed.rankings import Outcome
from training.feed.specification import Feed

START = datetime.fromtimestamp(NOW_MS / 1000, UTC)
CLICKS = Outcome("clicks", ("click",))
WINDOW = 2 * HOUR_MS
LATER = NOW_MS + 5 * HOUR_MS  # when the last event arrives: all before it but half an hour counts


def experiment(**changes: Any) -> Experiment:
    arms = [{"name": "a", "share": 0.5}, {"name": "b", "share": 0.5}]
    fields = {"name": "x", "salt": "s", "arms": arms, "started": START}
    return Experiment.model_validate({**fields, **changes})


def users(arm: str, count: int) -> list[str]:
    """Return users of an arm."""
    names = (f"u{number}" for number in range(1000))
    own = [name for name in names if (its := experiment().arm(name)) and its.name == arm]
    return own[:count]


A, B = users("a", 2), users("b", 2)


def read(feed_log: FeedLog, outcome: Outcome = CLICKS, **options: Any) -> ExperimentLog:
    feed_log.collect()
    feed = Feed.model_validate({"late": "1d"})
    chosen = options.pop("experiment", experiment())
    return read_experiment(feed, feed_log.folder, chosen, outcome, WINDOW, **options)


def put(feed_log: FeedLog) -> None:
    feed_log.put(
        decision("r1", NOW_MS, user_id=A[0], arm="a"),
        decision("r1", NOW_MS + 1, user_id=A[0], arm="a"),  # a repeat of its request
        decision("r2", NOW_MS + HOUR_MS, user_id=A[0], arm="a"),
        decision("r3", NOW_MS + WINDOW, user_id=A[0], arm="a"),  # after the window
        decision("r4", NOW_MS + HOUR_MS, user_id=B[0], arm="b"),
        decision("r5", NOW_MS + 3 * HOUR_MS, user_id=B[1], arm="b"),  # has not been there for long
        decision("r6", NOW_MS - 1, user_id=A[1], arm="a"),  # before the start
        decision("r7", NOW_MS, user_id=A[1]),  # of a request that names its model
    )
    feed_log.put(
        event("r1", "a", NOW_MS + 1000, value=2.0),
        event("r1", "a", NOW_MS + 1000, value=2.0),  # sent twice
        event("r1", "b", NOW_MS + 1000),
        event("r2", "a", NOW_MS + 2 * HOUR_MS),  # after the window of labels
        event("r3", "a", NOW_MS + WINDOW),
        event("r4", "a", NOW_MS + HOUR_MS, kind="view"),
        arrived_ms=LATER,
    )


def test_a_user_is_the_sum_over_the_time_from_its_first_ranking(feed_log: FeedLog) -> None:
    put(feed_log)
    log = read(feed_log, head={"a"})
    found = log.users
    assert found.arm.tolist() == [0, 1]
    assert found.counted_ms.tolist() == [NOW_MS + WINDOW, NOW_MS + HOUR_MS + WINDOW]
    assert found.rankings.tolist() == [2, 1]
    assert found.outcome.tolist() == [2, 0]
    assert (found.places.tolist(), found.tail.tolist()) == ([6, 3], [4, 2])
    assert found.entered.tolist() == [1, 2]
    assert (log.until_ms, log.rankings, log.misplaced) == (LATER - HOUR_MS // 2, 5, 0)
    assert read(feed_log).users.places.tolist() == [0, 0]
    assert read(feed_log, Outcome("value", ("click",), summed=True)).users.outcome[0] == 3


def test_a_stop_or_an_end_leaves_out_who_was_not_there_for_long(feed_log: FeedLog) -> None:
    put(feed_log)
    stopped = experiment(stopped=START + timedelta(hours=2.5))
    assert read(feed_log, experiment=stopped).users.arm.tolist() == [0]
    ended = read(feed_log, until_ms=NOW_MS + 2 * HOUR_MS)
    assert (ended.users.arm.tolist(), ended.users.entered.tolist()) == ([0], [1, 1])


def test_rankings_of_another_arm_than_the_hash_says_are_found(feed_log: FeedLog) -> None:
    put(feed_log)
    feed_log.put(decision("r8", NOW_MS, user_id=A[1], arm="b"))
    log = read(feed_log)
    assert (log.misplaced, log.rankings) == (1, 6)
    assert log.users.arm.tolist() == [0, 0, 1]


def test_a_log_without_the_arms_is_refused(feed_log: FeedLog) -> None:
    feed_log.put(decision("r1", NOW_MS, user_id=A[0]), arrived_ms=LATER)
    with pytest.raises(DatasetError, match="no decision of an arm of x"):
        read(feed_log)
