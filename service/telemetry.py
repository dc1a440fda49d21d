"""Every metric name, in one place; every label is bounded."""

from __future__ import annotations

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest

_REQUEST_BUCKETS = (0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0, 2.5, 5.0)
_STAGE_BUCKETS = (0.0001, 0.0002, 0.0005, 0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.5, 1.0)

STAGES = ("user", "catalog", "score", "select")


class Telemetry:
    """The service's Prometheus metrics, with a registry of their own."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        self.requests = Histogram(
            "rank_http_request_seconds",
            "Time from a request's first byte to its response's last.",
            ["route", "status"],
            buckets=_REQUEST_BUCKETS,
            registry=self.registry,
        )
        self.in_flight = Gauge(
            "rank_http_requests_in_flight",
            "Requests begun and not yet answered.",
            registry=self.registry,
        )
        self.stages = Histogram(
            "rank_stage_seconds",
            "Time of one stage of a ranking: user, catalog, score or select.",
            ["stage"],
            buckets=_STAGE_BUCKETS,
            registry=self.registry,
        )
        self.stage = {stage: self.stages.labels(stage) for stage in STAGES}
        self.cold_users = Counter(
            "rank_cold_users_total",
            "Rankings for a user without a record, by what was used instead.",
            ["source"],
            registry=self.registry,
        )
        self.missing_items = Counter(
            "rank_missing_items_total", "Candidates without a record.", registry=self.registry
        )
        self.degraded = Counter(
            "rank_degraded_total",
            "Rankings that said they were degraded, by reason.",
            ["reason"],
            registry=self.registry,
        )
        self.corrupt_records = Counter(
            "rank_corrupt_records_total",
            "Records that the store held and the service refused.",
            ["record"],
            registry=self.registry,
        )
        self.catalog_items = Gauge(
            "rank_catalog_items", "Items held in memory.", ["model"], registry=self.registry
        )
        self.catalog_bytes = Gauge(
            "rank_catalog_bytes",
            "Memory of the items held: over rank_catalog_items, the memory of one.",
            ["model"],
            registry=self.registry,
        )
        self.catalog_changes = Counter(
            "rank_catalog_changes_total",
            "Items re-read because the change stream named them, or after a gap in it.",
            ["model", "cause"],
            registry=self.registry,
        )
        self.model_loads = Counter(
            "rank_model_loads_total",
            "Attempts to load a model, by result.",
            ["result"],
            registry=self.registry,
        )

        self._request: dict[tuple[str, int], Histogram] = {}

    def request(self, route: str, status: int) -> Histogram:
        """Return ``requests`` of a route and a status; labels are resolved once."""
        key = (route, status)
        if (child := self._request.get(key)) is None:
            child = self._request[key] = self.requests.labels(route, status)
        return child

    def forget_model(self, label: str) -> None:
        """Show no more of a model that was dropped."""
        self.catalog_items.remove(label)
        self.catalog_bytes.remove(label)

    def exposition(self) -> bytes:
        """Return all metrics in Prometheus' text format."""
        return generate_latest(self.registry)
