"""Users who asked to be forgotten leave the files, and what still comes of them is not written."""

from __future__ import annotations

import json
from typing import Any

import polars as pl

from service.contract.feedback import FORGOTTEN_S, forgotten_key
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
    client.expire(forgotten_key(namespace), FORGOTTEN_S)


def finish_forgetting(client: Client, namespace: str, until_ms: int) -> None:
    """Drop the users of whom nothing can arrive any more; one who left again later stays."""
    client.zremrangebyscore(forgotten_key(namespace), "-inf", until_ms)


def without(rows: pl.DataFrame, forgotten: Forgotten) -> pl.DataFrame:
    """Return ``rows`` without those of forgotten users that arrived until they left."""
    if not forgotten or "user_id" not in rows.columns:
        return rows
    return rows.filter(~_of_users(forgotten))


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
                gone = parquet.scan(file.path).filter(_of_users(forgotten)).select("request_id")
                requests |= set(gone.collect()["request_id"])
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
    table = parquet.scan(file.path)
    if "record" in table.collect_schema():  # no record, but it may name the user
        names = [text(user) for user in forgotten for text in (json.dumps, _plain)]
        texts = pl.col("record").cast(pl.String, strict=False).fill_null("")
        gone = texts.str.contains_any(names)
    else:
        gone = _of_users(forgotten) | pl.col("request_id").is_in(list(requests))
    removed = int(table.select(gone.sum()).collect().item())
    if removed:
        write_atomically(file.path, packed(parquet.read(file.path).filter(~gone)))
    return removed


def _of_users(forgotten: Forgotten) -> pl.Expr:
    """Return whether a row is of a forgotten user and arrived until the user left."""
    left = pl.col("user_id").replace_strict(forgotten, default=None, return_dtype=pl.Int64)
    return (pl.col("arrived_ms") <= left + GRACE_MS).fill_null(False)


def _plain(user_id: str) -> str:
    return json.dumps(user_id, ensure_ascii=False)
