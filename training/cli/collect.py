"""``collect``: the streams of decisions and events as files, and live proxies."""

from __future__ import annotations

import signal
import threading
from pathlib import Path
from typing import Annotated

import typer

from training.cli.options import REDIS_URL, Models, Namespace, RedisUrl
from training.errors import ConfigError


def collect(
    logs: Annotated[Path, typer.Option(help="Folder of the log; workers share it.")],
    redis: RedisUrl = REDIS_URL,
    namespace: Namespace = "rank",
    feed: Annotated[
        Path | None, typer.Option(help="feed.toml: keep its proxies up to date in the store.")
    ] = None,
    models: Models = Path("models"),
    every: Annotated[float, typer.Option(min=0.1, max=60, help="Seconds between passes.")] = 1.0,
    once: Annotated[bool, typer.Option("--once", help="Collect what is there and end.")] = False,
    forget: Annotated[
        str | None, typer.Option(help="Remove what this user did until now from files, and end.")
    ] = None,
    metrics_port: Annotated[
        int, typer.Option(min=0, max=65_535, help="Serve metrics at this port; 0 does not.")
    ] = 0,
    metrics_host: Annotated[str, typer.Option(help="Address of the metrics.")] = "127.0.0.1",
) -> None:
    """Write the service's decisions and events from Redis to Parquet files, each once.

    It runs until SIGTERM or Ctrl-C, then finishes its file. Any number of workers may share a
    folder; one that is killed loses and doubles nothing. With --feed, the one that holds the lease
    also counts events and writes the proxies of the models that an alias of --models serves.
    """
    from service.contract.files import check_folder
    from service.contract.repository import Repository
    from training.feed.collector import unix_ms
    from training.feed.forgotten import request_forgetting, rewrite
    from training.feed.log_files import LogFolder
    from training.feed.specification import read_feed
    from training.feed.worker import Worker
    from training.release.store import open_store

    check_folder(logs)
    logs.mkdir(parents=True, exist_ok=True)
    files = LogFolder(logs)
    if forget is not None:
        if once or feed is not None:
            raise ConfigError("--forget: goes with neither --once nor --feed; leave them out")
        with open_store(redis) as client:
            now_ms = unix_ms()
            request_forgetting(client, namespace, forget, now_ms)
        removed = rewrite(files, {forget: now_ms})
        typer.echo(f"{removed} rows removed; what still arrives of {forget!r} is not written")
        return
    worker = Worker(
        url=redis,
        namespace=namespace,
        files=files,
        every_s=every,
        feed=None if feed is None else read_feed(feed),
        repository=None if feed is None else Repository(models),
        metrics_address=(metrics_host, metrics_port) if metrics_port else None,
    )
    if once:
        typer.echo(f"{worker.drain()} entries collected")
        return
    stop = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stop.set())
    worker.run(stop)
