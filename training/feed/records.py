"""Entries of the streams as tables: those of decisions, events, and what is neither."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from typing import Any

import msgspec
import numpy as np
import polars as pl

from service.contract.feedback import RECORD, Decision, Event
from service.contract.keys import MAX_ID_CHARS
from training.feed.log_files import DECISIONS, EVENTS, EntryId

Entry = tuple[EntryId, bytes]  # its id and its record

_ENTRY = {"arrived_ms": pl.Int64, "sequence": pl.Int64}
_FLOATS, _TEXTS = pl.List(pl.Float64), pl.List(pl.String)
SCHEMAS: dict[str, dict[str, pl.DataType | type[pl.DataType]]] = {
    DECISIONS: {
        **_ENTRY,
        "request_id": pl.String,
        "time_ms": pl.Int64,
        "user_id": pl.String,
        "model": pl.String,
        "tradeoff": pl.Float64,
        "arm": pl.String,
        "policy": pl.String,
        "pool": pl.String,
        "pool_size": pl.Int64,
        "seed": pl.UInt64,
        "slot": pl.Int64,
        "degraded": _TEXTS,
        "item_ids": _TEXTS,
        "scores": _FLOATS,
        "propensities": _FLOATS,
        "tradeoffs": _FLOATS,
        "chances": _FLOATS,
        "stands": pl.List(pl.Int64),
        "slot_places": pl.Int64,
        "listed": _TEXTS,
        "pool_known": pl.Boolean,
    },
    EVENTS: {
        **_ENTRY,
        "request_id": pl.String,
        "item_id": pl.String,
        "kind": pl.String,
        "value": pl.Float64,
        "time_ms": pl.Int64,
        "user_id": pl.String,
    },
}
REJECTED_SCHEMA = {**_ENTRY, "reason": pl.String, "record": pl.Binary}

_DECODERS: dict[str, msgspec.json.Decoder[Decision] | msgspec.json.Decoder[Event]] = {
    DECISIONS: msgspec.json.Decoder(Decision),
    EVENTS: msgspec.json.Decoder(Event),
}
_EARLIEST_MS, _END_MS = 946_684_800_000, 4_102_444_800_000  # the years 2000 to 2099


def parse_id(text: bytes) -> EntryId:
    """Return the id of a stream's entry."""
    millis, _, sequence = text.partition(b"-")
    return int(millis), int(sequence)


def parse_entry(entry: tuple[bytes, dict[bytes, bytes]]) -> Entry:
    """Return an entry; one without a record has an empty one."""
    text, fields = entry
    return parse_id(text), fields.get(RECORD, b"")


def tables(kind: str, entries: Sequence[Entry]) -> tuple[pl.DataFrame, pl.DataFrame]:
    """Return the records of ``kind`` in ``entries``, and the entries rejected with reasons.

    The schemas are those of ``SCHEMAS`` and ``REJECTED_SCHEMA``; the order is that of the entries.
    """
    refused: list[tuple[Entry, str]] = []
    try:
        rows = _table(kind, entries)
    except (msgspec.DecodeError, OverflowError, TypeError, ValueError, pl.exceptions.PolarsError):
        parts = []
        for entry in entries:
            try:
                parts.append(_table(kind, [entry]))
            except msgspec.DecodeError as error:
                refused.append((entry, str(error)))
            except (OverflowError, TypeError, ValueError, pl.exceptions.PolarsError):
                refused.append((entry, "has a number out of range"))
        rows = pl.concat([_empty(kind), *parts])
    reasons = rows.select(_reason(kind).alias("reason")).to_series()
    if reasons.null_count() < len(rows):
        record_of = dict(entries)
        bad = rows.with_columns(reasons).filter(pl.col("reason").is_not_null())
        for millis, sequence, reason in bad.select(*_ENTRY, "reason").iter_rows():
            entry_id = millis, sequence
            refused.append(((entry_id, record_of[entry_id]), reason))
        rows = rows.filter(reasons.is_null())
    refused.sort()
    rejected = [(*entry_id, reason, record) for (entry_id, record), reason in refused]
    return rows, pl.DataFrame(rejected, REJECTED_SCHEMA, orient="row")


def _empty(kind: str) -> pl.DataFrame:
    return pl.DataFrame(schema=SCHEMAS[kind])


def _table(kind: str, entries: Sequence[Entry]) -> pl.DataFrame:
    """Return one row for each entry; raises where a record is none or does not fit the columns."""
    lines = [record for _, record in entries]
    if any(b"\n" in line or not line for line in lines):
        raise msgspec.DecodeError("is empty, or has more than one line")
    records = _DECODERS[kind].decode_lines(b"\n".join(lines))
    fields = zip(*map(msgspec.structs.astuple, records), strict=True)
    millis, sequence = zip(*(entry_id for entry_id, _ in entries), strict=True)
    names = _DECODERS[kind].type.__struct_fields__
    columns = {"arrived_ms": millis, "sequence": sequence, **dict(zip(names, fields, strict=True))}
    schema = SCHEMAS[kind]
    return pl.DataFrame([_column(name, columns[name], dtype) for name, dtype in schema.items()])


def _column(name: str, values: Sequence[Any], dtype: Any) -> pl.Series:
    """Return a column; polars makes one of lists five times as fast from their joined values."""
    if not isinstance(dtype, pl.List):
        return pl.Series(name, values, dtype)
    rows = np.arange(len(values))
    joined = pl.DataFrame(
        {
            "row": rows.repeat(np.fromiter(map(len, values), np.int64, len(values))),
            name: pl.Series(name, list(itertools.chain.from_iterable(values)), dtype.inner),
        }
    )
    lists = joined.group_by("row", maintain_order=True).agg(name)
    table = pl.DataFrame({"row": rows}).join(lists, on="row", how="left", maintain_order="left")
    return table[name].fill_null(pl.Series([[]], dtype=dtype).first())


def _reason(kind: str) -> pl.Expr:
    """Return why a row is no record that can be used, null where it is one."""
    reasons = [
        (_is_no_id("request_id"), "request_id is no id"),
        (
            ~pl.col("time_ms").is_between(_EARLIEST_MS, _END_MS, closed="left"),
            "time_ms is no time in Unix milliseconds from 2000 to 2099",
        ),
    ]
    if kind == DECISIONS:
        places = pl.col("item_ids").list.len()
        propensities = pl.col("propensities")
        reasons += [
            (_is_no_id("user_id"), "user_id is no id"),
            (places == 0, "item_ids is empty"),
            (
                (pl.col("scores").list.len() != places) | (propensities.list.len() != places),
                "scores and propensities have other lengths than item_ids",
            ),
            (
                (propensities.list.min() <= 0) | (propensities.list.max() > 1),
                "a propensity is not in (0, 1]",
            ),
            (pl.col("item_ids").list.n_unique() != places, "item_ids has an item twice"),
            (~pl.col("slot").is_between(0, places, closed="left"), "slot is no place"),
            (
                pl.col("chances").list.len() != pl.col("tradeoffs").list.len(),
                "chances has another length than tradeoffs",
            ),
            (
                (pl.col("tradeoffs").list.len() > 0) & (pl.col("stands").list.len() != places),
                "stands has another length than item_ids",
            ),
        ]
    chain = pl.lit(None, pl.String)
    for bad, reason in reversed(reasons):
        chain = pl.when(bad).then(pl.lit(reason)).otherwise(chain)
    return chain


def _is_no_id(name: str) -> pl.Expr:
    length = pl.col(name).str.len_chars()
    return ~length.is_between(1, MAX_ID_CHARS) | pl.col(name).str.contains(r"[\x00-\x1f\x7f]")
