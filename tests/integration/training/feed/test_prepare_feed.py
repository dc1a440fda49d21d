"""From the log to a dataset: a small log with known rows."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import polars as pl
import pytest
from typer.testing import CliRunner

from tests.integration.training.feed.feed_log import HOUR_MS, NOW_MS, FeedLog, decision, event
from training.cli.app import app
from training.data.dataset import open_dataset
from training.data.writer import write_dataset
from training.errors import DatasetError
from training.feed.prepare import Prepared, prepare_feed
from training.feed.specification import Feed

MINUTE_MS = 60_000
ITEMS = ["a", "b", "c"]
ALL = (None, NOW_MS + 24 * HOUR_MS)


@pytest.fixture
def items(tmp_path: Path) -> Path:
    """A dataset folder whose items the feed shows."""
    rng = np.random.default_rng(1)
    folder = tmp_path / "items"
    write_dataset(
        folder,
        name="catalogue",
        impressions=pl.DataFrame(
            {"user_id": ["u1"], "item_id": ["a"], "label": [1], "exposure": ["logged"]}
        ),
        items=pl.DataFrame(
            {"item_id": [*ITEMS, "new"], "title": ["A", "B", "C", "N"], "genre": list("xyxy")}
        ),
        users=pl.DataFrame({"user_id": ["u1", "u9"], "age": [30, 40]}),
        embeddings={"text": (rng.normal(size=(4, 3)).astype(np.float32), [*ITEMS, "new"])},
        title="title",
        user_attributes=("age",),
        item_attributes=("genre",),
    )
    return folder


def _feed(**changes: object) -> Feed:
    return Feed.model_validate({"name": "feed", **changes})


def _prepare(log: FeedLog, items: Path, feed: Feed | None = None) -> tuple[pl.DataFrame, Prepared]:
    """Return the impressions by request and position."""
    log.collect()
    out = log.folder.parent / "out"
    prepared = prepare_feed(feed or Feed(), log.folder, items, out, ALL)
    open_dataset(out)
    return pl.read_parquet(out / "impressions", glob=False), prepared


def test_a_row_is_a_place_of_a_decision(feed_log: FeedLog, items: Path) -> None:
    feed_log.put(decision("r1", policy="uniform_slot", slot=1, propensities=[0.9, 1 / 3, 0.8]))
    feed_log.put(decision("r2", NOW_MS + 1000, user_id="u2", item_ids=["c", "a", "gone"]))
    feed_log.put(event("r1", "c", NOW_MS + 5), event("r1", "c", NOW_MS + 5))
    feed_log.put(event("r1", "a", NOW_MS + 31 * MINUTE_MS), event("r1", "b", kind="view"))
    feed_log.put(event("r2", "a", NOW_MS + 30 * MINUTE_MS), event("r9", "a"))
    rows, prepared = _prepare(feed_log, items)
    assert rows.columns[:4] == ["user_id", "item_id", "label", "timestamp"]
    assert rows.select("user_id", "item_id", "label", "exposure", "position").rows() == [
        ("u1", "a", 0, "logged", 0),
        ("u1", "b", 0, "uniform", 1),
        ("u1", "c", 1, "logged", 2),
        ("u2", "c", 0, "logged", 0),
        ("u2", "a", 1, "logged", 1),
    ]
    assert rows["propensity"].to_list() == [0.9, 1 / 3, 0.8, 0.9, 0.5]
    assert rows["timestamp"].dt.epoch("ms").unique().to_list() == [NOW_MS, NOW_MS + 1000]
    assert prepared == Prepared(5, 2, 2, 1, repeated=0, degraded=0, unknown=1)


def test_the_dataset_has_the_items_and_the_users_of_the_log(feed_log: FeedLog, items: Path) -> None:
    feed_log.put(decision("r1"), decision("r2", user_id="u2"))
    _prepare(feed_log, items)
    dataset, known = open_dataset(feed_log.folder.parent / "out"), open_dataset(items)
    assert dataset.item_ids == known.item_ids
    assert dataset.embedding.tolist() == known.embedding.tolist()
    assert dataset.titles == known.titles
    assert dataset.user_ids == ["u1", "u2"]
    assert dataset.description.user_attributes == ("age",)
    assert dataset.modalities == known.modalities


def test_what_a_new_user_was_shown_is_kept(feed_log: FeedLog, items: Path) -> None:
    feed_log.put(decision("r1", degraded=("unknown_user",)))
    rows, prepared = _prepare(feed_log, items)
    assert (len(rows), prepared.degraded) == (3, 0)


def test_repeated_decisions_are_left_out_and_degraded_ones_on_wish(
    feed_log: FeedLog, items: Path
) -> None:
    feed_log.put(decision("r1"), decision("r2", degraded=("deadline",)))
    feed_log.put(decision("r1", NOW_MS + 1, item_ids=["c", "b", "a"]))
    rows, prepared = _prepare(feed_log, items, _feed(impressions={"degraded": "drop"}))
    assert rows["item_id"].to_list() == ["a", "b", "c"]
    assert (prepared.repeated, prepared.degraded) == (1, 1)


def test_options_choose_rows_and_labels(feed_log: FeedLog, items: Path) -> None:
    feed_log.put(decision("r1"), decision("r2", NOW_MS + 1, degraded=("deadline",)))
    for request, item, kind, value in (
        ("r1", "a", "view", 1),
        ("r1", "b", "view", 1),
        ("r2", "c", "view", 1),
        ("r1", "a", "play", 6),
        ("r1", "b", "play", 7),
        ("r2", "c", "like", 9),
    ):
        feed_log.put(event(request, item, NOW_MS + 2, kind=kind, value=value))
    rows, _ = _prepare(
        feed_log,
        items,
        _feed(
            impressions={"places": "viewed", "degraded": "keep"},
            labels={"kinds": ["play", "like"], "at_least": 7},
        ),
    )
    assert rows.select("item_id", "label").rows() == [("a", 0), ("b", 1), ("c", 1)]


def test_proxies_are_as_of_each_row_and_never_its_own_outcome(
    feed_log: FeedLog, items: Path
) -> None:
    start = NOW_MS // MINUTE_MS * MINUTE_MS
    for number, minute in enumerate((0, 0, 1, 3, 4)):
        time_ms = start + minute * MINUTE_MS + number
        feed_log.put(decision(f"r{number}", time_ms))
        feed_log.put(event(f"r{number}", "a", time_ms + 5), arrived_ms=time_ms + 5)
    # Of a store whose clock is three minutes late: the event arrives before its decision.
    late = decision("late", start + 5 * MINUTE_MS)
    feed_log.put(late)
    feed_log.put(event("late", "a", late.time_ms), arrived_ms=start + 4 * MINUTE_MS + 30)
    proxies = [{"name": "clicks_2m", "count": "click", "window": "2m"}]
    rows, _ = _prepare(feed_log, items, _feed(proxies=proxies))
    assert rows.filter(item_id="a")["clicks_2m"].to_list() == [0, 0, 2, 1, 1, 2]
    assert rows.filter(item_id="b")["clicks_2m"].to_list() == [0] * 6
    table = pl.read_parquet(feed_log.folder.parent / "out" / "items.parquet", glob=False)
    assert table["clicks_2m"].to_list() == [0, 0, 0, 0]  # a day later


def test_an_event_that_arrives_too_late_does_not_count(feed_log: FeedLog, items: Path) -> None:
    feed_log.put(decision("r1"))
    for item, late_ms in (("a", 24 * HOUR_MS), ("b", 24 * HOUR_MS + 1)):
        feed_log.put(event("r1", item), arrived_ms=NOW_MS + late_ms)
    rows, _ = _prepare(feed_log, items)
    assert rows["label"].to_list() == [1, 0, 0]


def test_rows_that_may_still_be_clicked_wait(feed_log: FeedLog, items: Path) -> None:
    feed_log.put(decision("r1"), arrived_ms=NOW_MS)
    feed_log.put(decision("r2", NOW_MS + 20 * MINUTE_MS), arrived_ms=NOW_MS + 40 * MINUTE_MS)
    feed_log.collect()
    out = feed_log.folder.parent / "out"
    assert prepare_feed(Feed(), feed_log.folder, items, out).decisions == 1
    assert prepare_feed(Feed(), feed_log.folder, items, out / "b", ALL).decisions == 2


def test_a_period_reads_its_partitions_alone(feed_log: FeedLog, items: Path) -> None:
    for day in range(3):
        feed_log.put(decision(f"r{day}", NOW_MS + 24 * day * HOUR_MS))
    feed_log.collect()
    (broken, *_) = feed_log.files.current("decisions")
    broken.path.write_bytes(b"not read")
    arguments = ["--logs", feed_log.folder, "--items", items, "--out", feed_log.folder / "../out"]
    period = ["--since", "2025-11-28", "--until", "2025-11-29T00:00"]
    done = CliRunner().invoke(app, ["prepare", "feed", *map(str, arguments), *period])
    assert done.exit_code == 0, done.output
    assert "3 impressions of 1 decisions" in done.output


def test_items_may_be_one_file(feed_log: FeedLog, tmp_path: Path) -> None:
    file = tmp_path / "items.parquet"
    vectors = [[0.5, 1.0], [0.25, 2.0], None]
    pl.DataFrame({"item_id": ITEMS, "title": list("ABC"), "image": vectors}).write_parquet(file)
    feed_log.put(decision("r1"))
    rows, _ = _prepare(feed_log, file)
    assert len(rows) == 3
    dataset = open_dataset(feed_log.folder.parent / "out")
    assert dataset.embedding.tolist() == [[0.5, 1.0], [0.25, 2.0], [0, 0]]
    assert dataset.titles == ["A", "B", "C"]


def test_an_empty_log_is_refused_and_nothing_is_left(feed_log: FeedLog, items: Path) -> None:
    with pytest.raises(DatasetError, match=r"has no decisions of that period; `collect` writes"):
        prepare_feed(Feed(), feed_log.folder, items, feed_log.folder.parent / "out", ALL)
    feed_log.put(decision("r1", item_ids=["x", "y", "z"]))
    with pytest.raises(DatasetError, match=r"no impression is left of 1 decisions"):
        _prepare(feed_log, items)
    assert not (feed_log.folder.parent / "out").exists()
    assert not [path for path in feed_log.folder.iterdir() if "pinned" in path.name]
