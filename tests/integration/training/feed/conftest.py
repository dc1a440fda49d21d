"""A feed log of each test's own."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
import redis

from service.contract import files
from tests.integration.training.feed.feed_log import FeedLog
from training.feed import log_files


@pytest.fixture(autouse=True)
def no_waiting_for_the_disk(monkeypatch: pytest.MonkeyPatch) -> None:
    """Leave out fsync: no test here loses power."""
    for module in (files, log_files):
        monkeypatch.setattr(module, "sync", lambda _: None)


@pytest.fixture
def feed_log(redis_url: str, tmp_path: Path) -> Iterator[FeedLog]:
    folder = tmp_path / "log"
    folder.mkdir()
    with redis.Redis.from_url(redis_url) as client:
        log = FeedLog(client, folder)
        yield log
        if keys := client.keys(f"*{log.namespace}*"):
            client.unlink(*keys)
