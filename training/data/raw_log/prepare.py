"""From a raw log to a dataset folder: one preparation, run by polars or by Spark."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path

import narwhals as nw

from service.contract.manifest import Proxy
from training.data.raw_log.engine import Engine, Frame
from training.data.raw_log.specification import CLOCKS_S, RawLog
from training.data.raw_log.tables import VALID, attribute_rows, outcome_rows, shown_rows
from training.data.schema import DESCRIPTION, Description, Embedding
from training.data.statistics import POPULARITY, statistics_at_end, statistics_before
from training.errors import DatasetError

_SECOND_US = 1_000_000
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
CLOCK = "clock"
AGE = "age_s"


def prepare_log(log: RawLog, out: str, engine: Engine) -> str:
    """Write the dataset folder ``out``, all of it or nothing; return a sentence with the counts.

    Rows that lack an id or a value are left out. The copies of an impression (equal request
    and item; without ``request``, equal user, item and time) become one row: its label is their
    largest, each other value their smallest. Raises DatasetError naming table and column.
    """
    with engine.staged(out) as folder:
        description = _write_embeddings(log, engine, folder)
        users = attribute_rows(engine, log.users, "user_id") if log.users else None
        items = attribute_rows(engine, log.items, "item_id") if log.items else None
        shown, usable = shown_rows(engine, log.impressions), nw.col(VALID)
        if log.keep.until is not None:
            usable = usable & (nw.col("timestamp") < _micros(log.keep.until))
        work = f"{folder}/work"
        engine.write_parts(_distinct(engine, log, shown.filter(usable)), work)
        rows = engine.scan(work)  # read several times from here on

        impressions = f"{folder}/{description.impressions}"
        kept = _with_proxies(log, _kept(log, rows, items), rows)
        engine.write_parts(engine.datetimes(kept, "timestamp"), impressions)
        written = engine.scan(impressions)
        counts = [_count(engine, table) for table in (shown, shown.filter(usable), rows, written)]
        if not counts[-1]:
            problem = f"no impression is left of {counts[0]:,} rows; look at [keep] and the label"
            raise DatasetError(Path(log.impressions.path), problem)
        engine.write_file(_users(written, users), f"{folder}/{description.users}")
        items = written.select("item_id").unique() if items is None else items
        engine.write_file(_items(log, items, rows), f"{folder}/{description.items}")
        engine.write_text(description.to_toml(), f"{folder}/{DESCRIPTION}")
        engine.remove(work)
    read, valid, distinct, left = counts
    return (
        f"wrote {left:,} impressions of {read:,} rows to {out}; {read - valid:,} rows lacked an id "
        f"or a value or were too late, {valid - distinct:,} were copies, and [items] and [keep] "
        f"left {distinct - left:,} out"
    )


def _write_embeddings(log: RawLog, engine: Engine, folder: str) -> Description:
    """Copy the embeddings; return the description of the dataset."""
    embeddings = {}
    for name, files in log.embeddings.items():
        place = Embedding(values=f"embeddings/{name}.npy", ids=f"embeddings/{name}.ids.txt")
        engine.copy(files.values, f"{folder}/{place.values}")
        ids = files.ids or f"{files.values.removesuffix('.npy')}.ids.txt"
        engine.copy(ids, f"{folder}/{place.ids}")
        embeddings[name] = place
    return Description(
        name=log.name,
        impressions="impressions",
        title=log.items.title if log.items else None,
        user_attributes=log.users.attributes if log.users else (),
        item_attributes=log.items.attributes if log.items else (),
        proxies=tuple(Proxy(name=name) for name in log.proxies.names),
        embeddings=embeddings,
    )


def _distinct(engine: Engine, log: RawLog, shown: Frame) -> Frame:
    """Return one row for each impression, with its label and its clock."""
    if log.outcomes is not None:
        outcomes = outcome_rows(engine, log.outcomes).with_columns(clicked=nw.lit(1))
        shown = shown.join(outcomes, on=["request", "item_id"], how="left")
        clicked = nw.col("clicked") == 1
        if log.outcomes.within_s is not None:
            wait = nw.col("outcome_time") - nw.col("timestamp")
            clicked = clicked & (wait <= int(log.outcomes.within_s * _SECOND_US))
        label = nw.when(clicked).then(nw.lit(1)).otherwise(nw.lit(0))
        shown = shown.with_columns(label=label.cast(nw.Int64))
    request = log.impressions.request is not None
    keys = ["request", "item_id"] if request else ["user_id", "item_id", "timestamp"]
    columns = ["user_id", "item_id", "timestamp", "exposure", *_optional(log)]
    smallest = [nw.col(name).min() for name in columns if name not in keys]
    clock = nw.col("timestamp") // (CLOCKS_S[log.proxies.clock] * _SECOND_US)
    rows = shown.group_by(keys).agg(nw.col("label").max(), *smallest)
    return rows.with_columns(clock.alias(CLOCK))


def _kept(log: RawLog, rows: Frame, items: Frame | None) -> Frame:
    """Return the rows to write; both least numbers count the rows of the window and known items."""
    window = rows
    if log.keep.since is not None:
        window = window.filter(nw.col("timestamp") >= _micros(log.keep.since))
    if items is not None:
        window = window.join(items.select("item_id"), on="item_id", how="semi")
    kept = window
    for name, least in (("user_id", log.keep.user_rows), ("item_id", log.keep.item_rows)):
        if least > 1:
            number = window.group_by(name).agg(rows=nw.len())
            kept = kept.join(number.filter(nw.col("rows") >= least), on=name, how="semi")
    return kept


def _with_proxies(log: RawLog, kept: Frame, rows: Frame) -> Frame:
    """Add the proxies, which all ``rows`` count for; sort by time."""
    before = statistics_before(rows, CLOCK, log.proxies.prior_rows)
    table = kept.join(before, on=["item_id", CLOCK], how="left")
    table = table.join(_first_times(rows), on="item_id", how="left")
    age = (nw.col("timestamp") - nw.col("first")) // _SECOND_US
    order = ["timestamp", "user_id", "item_id", *(["request"] if log.impressions.request else [])]
    columns = ["user_id", "item_id", "label", "timestamp", "exposure", *_optional(log)]
    return table.with_columns(age.alias(AGE)).sort(order).select(*columns, *log.proxies.names)


def _users(written: Frame, attributes: Frame | None) -> Frame:
    users = written.select("user_id").unique()
    if attributes is not None:
        users = users.join(attributes, on="user_id", how="left")
    return users.sort("user_id")


def _items(log: RawLog, items: Frame, rows: Frame) -> Frame:
    """Add the current proxies, which all ``rows`` count for."""
    columns = items.collect_schema().names()
    current = statistics_at_end(rows, CLOCK, log.proxies.prior_rows)
    now = rows.select(now=nw.col("timestamp").max())
    table = items.join(current, on="item_id", how="left")
    table = table.join(_first_times(rows), on="item_id", how="left").join(now, how="cross")
    age = (nw.col("now") - nw.col("first")) // _SECOND_US
    table = table.with_columns(nw.col(POPULARITY).fill_null(0), age.alias(AGE))
    return table.select(*columns, *log.proxies.names).sort("item_id")


def _first_times(rows: Frame) -> Frame:
    return rows.group_by("item_id").agg(first=nw.col("timestamp").min())


def _optional(log: RawLog) -> list[str]:
    return [n for n in ("position", "propensity") if getattr(log.impressions, n) is not None]


def _micros(instant: datetime) -> int:
    """Return microseconds since 1970, exactly."""
    return (instant - _EPOCH) // timedelta(microseconds=1)


def _count(engine: Engine, table: Frame) -> int:
    row = engine.first_row(table.select(rows=nw.len()))
    return 0 if row is None else int(row["rows"])
