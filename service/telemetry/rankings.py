"""Metrics of rankings and of the store that they read."""

from __future__ import annotations

from service.telemetry.metrics import STAGE_BUCKETS, Metrics

SOURCES = ("request", "target", "user", "arm", "default")
STAGES = ("user", "catalog", "score", "select")
OPERATIONS = (
    "users", "items", "titles", "catalog", "changes", "ping", "verdicts", "histories", "decisions",
    "events", "live", "erase", "tradeoffs", "targets",
)  # fmt: skip


class Rankings(Metrics):
    """Rankings, and the store that they read."""

    def exposition(self) -> bytes:
        """Return all metrics in Prometheus' text format."""
        for source, rankings in self.tradeoff_sources.items():
            self._by_source[source].inc(rankings)
            self.tradeoff_sources[source] = 0
        return super().exposition()

    def _rankings(self) -> None:
        stages = self._histogram(
            "rank_stage_seconds",
            "Time of one stage of a ranking: user, catalog, score or select.",
            "stage",
            buckets=STAGE_BUCKETS,
        )
        self.stage = {stage: stages.labels(stage) for stage in STAGES}
        self.cold_users = self._counter(
            "rank_cold_users_total",
            "Rankings without the user's record, by the source of the user vector: history (the "
            "request's and the stored one), or the average user.",
            "source",
        )
        for source in ("history", "average"):
            self.cold_users.labels(source)
        self.moved_users = self._counter(
            "rank_moved_users_total",
            "Rankings whose user vector a stored history moved since the model's training.",
        )
        self.missing_items = self._counter(
            "rank_missing_items_total", "Candidates without a record."
        )
        sources = self._counter(
            "rank_tradeoff_sources_total",
            "Rankings, by what named their tradeoff: request, target, user, arm, or default. A "
            "randomised tradeoff is drawn in place of the arm's or the default.",
            "source",
        )
        self._by_source = {source: sources.labels(source) for source in SOURCES}
        # Rankings since the last exposition: to count them in the metric costs 1 us each.
        self.tradeoff_sources = dict.fromkeys(SOURCES, 0)
        self.degraded = self._counter(
            "rank_degraded_total", "Degraded rankings, by reason.", "reason"
        )

    def _store(self) -> None:
        seconds = self._histogram(
            "rank_store_seconds",
            "Time of one read or write of the store, failed ones included. A read of the change "
            "streams waits up to a second for a change. live: a live change of items, with its "
            "reads and tries. erase: the deletion of a user.",
            "operation",
            buckets=STAGE_BUCKETS,
        )
        self.store_seconds = {name: seconds.labels(name) for name in OPERATIONS}
        read = self._counter(
            "rank_store_read_bytes_total", "Bytes of the records read from the store.", "operation"
        )
        self.store_bytes = {name: read.labels(name) for name in ("users", "items", "titles")}
        self.breaker_state = self._gauge(
            "rank_store_breaker_state",
            "State of the breaker. 0, closed: reads go through. 1, half open: one read probes the "
            "store. 2, open: reads fail at once.",
        )
        self.breaker_opened = self._counter(
            "rank_store_breaker_opened_total",
            "Times that the breaker opened because the store did not answer.",
        )
        self.corrupt_records = self._counter(
            "rank_corrupt_records_total",
            "Corrupt records read from the store, by record: user, history, tradeoff (of a user), "
            "item or proxy.",
            "record",
        )
        for record in ("user", "history", "tradeoff", "item", "proxy"):
            self.corrupt_records.labels(record)
