"""The raw tables in the words of a dataset, with rows that cannot be used marked, not repaired."""

from __future__ import annotations

from pathlib import Path

import narwhals as nw

from service.contract.keys import MAX_ID_CHARS
from training.data.raw_log.engine import Engine, Frame
from training.data.raw_log.specification import Attributes, Outcomes, Shown, TimeUnit
from training.errors import DatasetError

_MICROS = {"s": 1_000_000, "ms": 1000, "us": 1}
VALID = "valid"

Names = dict[str, str]  # our name of a column -> that of the raw table


def shown_rows(engine: Engine, shown: Shown) -> Frame:
    """Return user_id, item_id, timestamp in microseconds, exposure, ``VALID`` and what is named.

    label is 0 or 1, position and propensity are as they are, NaN null; request is a text. A row is
    valid if its ids are, and none of its time, label, position and propensity is null.
    """
    table = engine.scan(shown.path)
    names = {"user_id": shown.user, "item_id": shown.item, "timestamp": shown.time}
    optional = ("request", "label", "position", "propensity", "uniform")
    names |= {name: named for name in optional if (named := getattr(shown, name)) is not None}
    table = _renamed(table, shown.path, names)
    columns = [_id(table, shown.path, name, names) for name in ("user_id", "item_id")]
    valid = [_is_id("user_id"), _is_id("item_id"), ~nw.col("timestamp").is_null()]
    if "request" in names:
        columns.append(_id(table, shown.path, "request", names))
        valid.append(_is_id("request"))
    table = _with_micros(engine, table, shown.path, names, shown.time_unit)
    for name in names.keys() & {"label", "position", "propensity", "uniform"}:
        columns.append(_number(table, shown.path, name, names))
    table = table.with_columns(*columns)
    columns = [_exposure(uniform="uniform" in names)]
    valid += [
        ~nw.col(name).is_null() for name in ("label", "position", "propensity") if name in names
    ]
    if "label" in names:
        columns.append((nw.col("label") >= shown.at_least).cast(nw.Int64).alias("label"))
    return table.with_columns(nw.all_horizontal(*valid, ignore_nulls=False).alias(VALID), *columns)


def outcome_rows(engine: Engine, outcomes: Outcomes) -> Frame:
    """Return request, item_id, and outcome_time in microseconds (or null), of clicks alone."""
    table = engine.scan(outcomes.path)
    names = {"request": outcomes.request, "item_id": outcomes.item}
    names |= {"timestamp": outcomes.time} if outcomes.time is not None else {}
    names |= {"label": outcomes.label} if outcomes.label is not None else {}
    table = _renamed(table, outcomes.path, names)
    ids = [_id(table, outcomes.path, name, names) for name in ("request", "item_id")]
    if outcomes.label is not None:
        number = _number(table, outcomes.path, "label", names)
        table = table.with_columns(number).filter(nw.col("label") >= outcomes.at_least)
    if outcomes.time is not None:
        table = _with_micros(engine, table, outcomes.path, names, outcomes.time_unit)
    else:
        table = table.with_columns(timestamp=nw.lit(None, dtype=nw.Int64))
    return table.select(*ids, outcome_time="timestamp")


def attribute_rows(engine: Engine, attributes: Attributes, name: str) -> Frame:
    """Return the id as ``name``, and the attributes; raises DatasetError unless each id is once."""
    columns = [*attributes.attributes, *_title(attributes)]
    path = attributes.path
    table = engine.scan(path)
    names = {name: attributes.id, **{column: column for column in columns}}
    table = _renamed(table, path, names)
    table = table.with_columns(_id(table, path, name, names))
    bad = engine.first_row(table.filter(~_is_id(name)).select(name))
    if bad is not None:
        problem = f"{bad[name]!r} is no id of 1 to {MAX_ID_CHARS} characters without control ones"
        raise DatasetError(Path(path), problem, column=attributes.id)
    repeated = table.group_by(name).agg(rows=nw.len()).filter(nw.col("rows") > 1).sort(name)
    twice = engine.first_row(repeated)
    if twice is not None:
        raise DatasetError(Path(path), f"{twice[name]!r} occurs twice", column=attributes.id)
    return table


def _title(attributes: Attributes) -> list[str]:
    title = getattr(attributes, "title", None)
    return [] if title is None or title in attributes.attributes else [title]


def _renamed(table: Frame, path: str, names: Names) -> Frame:
    """Select columns by ``names``, new -> old; raises DatasetError for a missing one."""
    present = table.collect_schema().names()
    for old in names.values():
        if old not in present:
            problem = f"is missing; the table has {', '.join(present)}"
            raise DatasetError(Path(path), problem, column=old)
    return table.select(**{new: nw.col(old) for new, old in names.items()})


def _id(table: Frame, path: str, name: str, names: Names) -> nw.Expr:
    """Return ids as texts; raises DatasetError unless they are texts or integers."""
    dtype = table.collect_schema()[name]
    if not (dtype.is_integer() or dtype in (nw.String, nw.Categorical, nw.Enum)):
        raise DatasetError(
            Path(path), f"ids are texts or integers, not {dtype}", column=names[name]
        )
    return nw.col(name).cast(nw.String)


def _is_id(name: str) -> nw.Expr:
    length = nw.col(name).str.len_chars()
    control = nw.col(name).str.contains(r"[\x00-\x1f\x7f]")
    return ((length > 0) & (length <= MAX_ID_CHARS) & ~control).fill_null(False)


def _number(table: Frame, path: str, name: str, names: Names) -> nw.Expr:
    """Return numbers as floats, NaN as null; raises DatasetError unless they are numbers."""
    dtype = table.collect_schema()[name]
    if not (dtype.is_numeric() or dtype == nw.Boolean):
        raise DatasetError(Path(path), f"must be numeric, not {dtype}", column=names[name])
    number = nw.col(name).cast(nw.Float64)
    return nw.when(~number.is_nan()).then(number).alias(name)


def _exposure(*, uniform: bool) -> nw.Expr:
    logged = nw.lit("logged")
    if not uniform:
        return logged.alias("exposure")
    drawn = (nw.col("uniform") == 1).fill_null(False)
    return nw.when(drawn).then(nw.lit("uniform")).otherwise(logged).alias("exposure")


def _with_micros(
    engine: Engine, table: Frame, path: str, names: Names, unit: TimeUnit | None
) -> Frame:
    """Return ``timestamp`` in microseconds since 1970, null where it is no time."""
    dtype = table.collect_schema()["timestamp"]
    if dtype in (nw.Date, nw.Datetime):
        return engine.micros(table, "timestamp")
    if not dtype.is_numeric():
        problem = f"a time is a date, a datetime or a number, not {dtype}"
        raise DatasetError(Path(path), problem, column=names["timestamp"])
    if unit is None:
        raise DatasetError(
            Path(path), "is a number; add time_unit: s, ms or us", column="timestamp"
        )
    factor = _MICROS[unit]
    if dtype.is_integer():
        return table.with_columns(nw.col("timestamp").cast(nw.Int64) * factor)
    seconds = table.with_columns(_number(table, path, "timestamp", names))
    return seconds.with_columns((nw.col("timestamp") * factor + 0.5).floor().cast(nw.Int64))
