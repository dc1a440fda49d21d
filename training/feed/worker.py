"""A worker: passes over the streams until it is stopped, whatever the store does meanwhile."""

from __future__ import annotations

import contextlib
import logging
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import polars as pl
import redis
from prometheus_client import start_http_server
from redis.exceptions import NoPermissionError, RedisClusterException

from service.contract.repository import Repository
from training.errors import ConfigError, TrainingError
from training.feed.collector import Collector, unix_ms
from training.feed.live_proxies import LiveProxies
from training.feed.log_files import LogFolder
from training.feed.metrics import Metrics
from training.feed.specification import Feed
from training.feed.targets import Targets
from training.release.store import Client, connect, open_store, parse_url, problem_of

_REPORT_S = 60.0
_LONGEST_WAIT_S = 30.0
_FAILURES = (redis.RedisError, RedisClusterException, OSError)
_HOPELESS = (redis.AuthenticationError, NoPermissionError)

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Worker:
    """What a worker collects, and where to.

    ``every_s`` is the pause between passes. With ``feed`` and ``repository`` it also keeps the
    proxies of ``feed`` up to date, at most once a second.
    """

    url: str
    namespace: str
    files: LogFolder
    every_s: float = 1.0
    feed: Feed | None = None
    repository: Repository | None = None
    metrics_address: tuple[str, int] | None = None

    def drain(self) -> int:
        """Collect all that the streams hold now, once; return the number of entries.

        Raises PublishError if the store fails.
        """
        with open_store(self.url) as client:
            collector = Collector(
                self.files, client, self.namespace, metrics=Metrics(), stop=threading.Event()
            )
            collected = collector.run()
            proxies = self._proxies()
            if proxies is not None:
                proxies.step(client, unix_ms())
                proxies.release(client)
            return collected

    def run(self, stop: threading.Event) -> None:
        """Collect until ``stop`` is set; a store or disk that fails is tried again.

        Raises PublishError if the store refuses the credentials, and ConfigError if the port of
        the metrics is taken.
        """
        metrics = Metrics()
        with _served(metrics, self.metrics_address):
            self._persist(metrics, stop)

    def _persist(self, metrics: Metrics, stop: threading.Event) -> None:
        """Begin anew after each failure, at longer and longer intervals."""
        proxies = self._proxies()
        failures = 0

        def succeeded() -> None:
            nonlocal failures
            failures = 0

        while not stop.is_set():
            try:
                with connect(parse_url(self.url)) as client:
                    self._passes(client, proxies, metrics, stop, succeeded)
            except _FAILURES as error:
                if isinstance(error, _HOPELESS):
                    with open_store(self.url):
                        raise
                failures += 1
                metrics.failures.inc()
                wait_s = min(2.0 ** min(failures, 10) / 4, _LONGEST_WAIT_S)
                log.warning("%s; trying again in %.1f s", problem_of(error), wait_s)
                stop.wait(wait_s)

    def _passes(
        self,
        client: Client,
        proxies: LiveProxies | None,
        metrics: Metrics,
        stop: threading.Event,
        succeeded: Callable[[], None],
    ) -> None:
        collector = Collector(self.files, client, self.namespace, metrics=metrics, stop=stop)
        collected, reported, counted = 0, time.monotonic(), -1.0
        while not stop.is_set():
            collected += collector.run()
            now = time.monotonic()
            if proxies is not None and now - counted >= 1:
                metrics.proxies.inc(self._count(client, proxies, metrics))
                counted = now
            succeeded()
            if collected and now - reported >= _REPORT_S:
                log.info("%d entries collected, behind by %d", collected, collector.behind())
                collected, reported = 0, now
            stop.wait(self.every_s)
        if proxies is not None:
            proxies.release(client)
        log.info("stopped; %d entries since the last line are in the files", collected)

    def _count(self, client: Client, proxies: LiveProxies, metrics: Metrics) -> int:
        """Write live proxies; a failure, such as of a full store, does not keep from collecting."""
        try:
            return proxies.step(client, unix_ms())
        except (*_FAILURES, TrainingError, pl.exceptions.PolarsError) as error:
            metrics.failures.inc()
            log.warning("live proxies are late: %s", problem_of(error))
            return 0

    def _proxies(self) -> LiveProxies | None:
        if self.feed is None or not self.feed.proxies or self.repository is None:
            return None
        targets = Targets(self.repository, self.feed)
        return LiveProxies(self.feed, self.files, targets, self.namespace)


@contextlib.contextmanager
def _served(metrics: Metrics, address: tuple[str, int] | None) -> Iterator[None]:
    """Serve the metrics for the length of a block."""
    if address is None:
        yield
        return
    host, port = address
    try:
        server, thread = start_http_server(port, host, metrics.registry)
    except OSError as error:
        problem = f"{error.strerror}; name another port or --metrics-host"
        raise ConfigError(f"--metrics-port {port}: {problem}") from error
    try:
        yield
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
