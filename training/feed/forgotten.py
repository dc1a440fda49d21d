"""Users who asked to be forgotten leave the files, and what still comes of them is not written."""

from __future__ import annotations

import json
from typing import Any

import polars as pl

from service.contract.feedback import forgotten_key
from service.contract.files import write_atomically
from training.data import parquet
from training.feed.log_files import DECISIONS, EVENTS, REJECTED, LogFile, LogFolder, packed
from training.release.store import Client

GRACE_MS = 60_000  # what waited in the service when the user left has arrived by then

Forgotten = dict[str, int]  # user -> Unix time in milliseconds: what arrived until then goes


def read_forgotten(client: Client, namespace: str) -> Forgotten:
    """Return the users to forget."""
    members: Any = client.zrange(forgotten_key(namespace), 0, -1, withscores=True)
    return {member.decode(): int(score) for member, score in members}


def request_forgetting(client: Client, namespace: str, user_id: str, now_ms: int) -> None:
    """Let workers forget what a user did until now."""
    client.zadd(forgotten_key(namespace), {user_id: now_ms})


def finish_forgetting(client: Client, namespace: str, until_ms: int) -> None:
    """Drop the users of whom nothing can arrive any more; one who left again later stays."""
    client.zremrangebyscore(forgotten_key(namespace), "-inf", until_ms)


def without(rows: pl.DataFrame, forgotten: Forgotten, grace_ms: int = GRACE_MS) -> pl.DataFrame:
    """Return ``rows`` without those of forgotten users that arrived until they left."""
    if not forgotten or "user_id" not in rows.columns:
        return rows
    left = pl.col("user_id").replace_strict(forgotten, default=None, return_dtype=pl.Int64)
    return rows.filter((pl.col("arrived_ms") > left + grace_ms).fill_null(True))


def rewrite(log: LogFolder, forgotten: Forgotten) -> int:
    """Remove forgotten users from all files; return the number of rows removed.

    Events without a user go with the user's decisions. Each file is replaced at once, events before
    decisions, so that a call after an interrupted one finds what is left.
    """
    removed = 0
    for shard in log.shards():
        with log.shard(shard):
            requests = set[str]()
            for file in _of(log, DECISIONS, shard):
                mine = parquet.scan(file.path).select("arrived_ms", "request_id", "user_id")
                rows = mine.filter(pl.col("user_id").is_in(list(forgotten))).collect()
                requests |= set(rows["request_id"]) - set(without(rows, forgotten)["request_id"])
            for file in _of(log, EVENTS, shard):
                removed += _replace(file, forgotten, requests)
            for file in _of(log, DECISIONS, shard):
                removed += _replace(file, forgotten, requests)
            for kind in (DECISIONS, EVENTS):
                for file in _of(log, f"{REJECTED}/{kind}", shard):
                    removed += _replace(file, forgotten, requests)
    if removed:
        log.mark_rewritten()
    return removed


def _of(log: LogFolder, table: str, shard: int) -> list[LogFile]:
    return [file for file in log.current(table) if file.shard == shard]


def _replace(file: LogFile, forgotten: Forgotten, requests: set[str]) -> int:
    """Write a file again without the rows of forgotten users, if it has any."""
    rows = parquet.read(file.path)
    if "record" in rows.columns:  # no record, but it may name the user
        texts = pl.col("record").cast(pl.String, strict=False).fill_null("")
        names = [write(user) for user in forgotten for write in (json.dumps, _plain)]
        kept = rows.filter(~texts.str.contains_any(names))
    else:
        kept = without(rows, forgotten).filter(~pl.col("request_id").is_in(list(requests)))
    if len(kept) < len(rows):
        write_atomically(file.path, packed(kept))
    return len(rows) - len(kept)


def _plain(user_id: str) -> str:
    return json.dumps(user_id, ensure_ascii=False)
