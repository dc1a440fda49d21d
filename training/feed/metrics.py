"""The worker's metrics, for Prometheus."""

from __future__ import annotations

from prometheus_client import CollectorRegistry, Counter, Gauge

from training.feed.log_files import DECISIONS, EVENTS


class Metrics:
    """What a worker did, and how far all workers are behind the streams."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        self.docs: list[tuple[str, str, tuple[str, ...], str]] = []  # name, kind, labels, text

        def counter(name: str, text: str, *labels: str) -> Counter:
            self.docs.append((f"rank_collect_{name}", "counter", labels, text))
            return Counter(f"rank_collect_{name}", text, labels, registry=self.registry)

        def gauge(name: str, text: str, *labels: str) -> Gauge:
            self.docs.append((f"rank_collect_{name}", "gauge", labels, text))
            return Gauge(f"rank_collect_{name}", text, labels, registry=self.registry)

        self.records = counter("records", "Records that files hold.", "stream")
        self.rejected = counter("rejected", "Entries that are no record.", "stream")
        self.files = counter("files", "Files written.")
        self.trimmed = counter("trimmed", "Entries removed from streams.")
        self.dropped = counter(
            "dropped", "Entries that a full stream removed before a worker read."
        )
        self.failures = counter("failures", "Passes that the store or the disk ended.")
        self.proxies = counter("proxy_records", "Proxy records written.")
        self.lag = gauge("lag_entries", "Entries that files do not hold yet.", "stream")
        self.lag_seconds = gauge("lag_seconds", "Age of the oldest of these entries.", "stream")
        self.passed = gauge("passed_timestamp_seconds", "When a pass over all shards ended.")
        for stream in (DECISIONS, EVENTS):
            for metric in (self.records, self.rejected, self.lag, self.lag_seconds):
                metric.labels(stream)
