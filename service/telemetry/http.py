"""Metrics of requests, connections and keys."""

from __future__ import annotations

from service.telemetry.metrics import Histogram, Metrics

_REQUEST_BUCKETS = (0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0, 2.5, 5.0)
SHED = ("rankings", "scans", "inferences", "events", "live", "users", "items")
STATUSES = (200, 401, 403, 404, 408, 413, 422, 429, 499, 500, 503)


class Http(Metrics):
    """Requests, connections and keys."""

    def _requests(self) -> None:
        self.requests = self._histogram(
            "rank_http_request_seconds",
            "Time from reading the first byte of a request to writing the last byte of its "
            "response. Bytes that wait in the kernel are not read yet: see "
            "rank_event_loop_lag_seconds. Status 499: the client left before its answer.",
            "route",
            "status",
            buckets=_REQUEST_BUCKETS,
        )
        self._request = {("/rank", s): self.requests.labels("/rank", s) for s in STATUSES}
        self.in_flight = self._gauge(
            "rank_http_requests_in_flight", "Requests that have begun and are not answered yet."
        )
        self.loop_lag = self._histogram(
            "rank_event_loop_lag_seconds",
            "Time by which the event loop runs late, for each tenth of a second. Requests wait as "
            "long in the kernel before the service reads them.",
            buckets=_REQUEST_BUCKETS,
        )
        shed = self._counter(
            "rank_shed_total",
            "Requests turned away by a full queue. rankings: any rankings, answered with 503. "
            "scans: full scans, answered with 503. inferences: runs of raw models, answered with "
            "503. events: requests with events, answered with 503. live: live changes, answered "
            "with 503. users: reads of user records; these rankings are made without the record. "
            "items: reads of items that are not in memory; these rankings are made without those "
            "not read.",
            "queue",
        )
        self.shed = {queue: shed.labels(queue) for queue in SHED}

    def _connections(self) -> None:
        self.connections = self._gauge("rank_connections", "Open connections.")
        beyond = self._counter(
            "rank_connections_beyond_limit_total",
            "New connections beyond RANK_MAX_CONNECTIONS, by result. closed: the connection that "
            "was idle the longest was closed for it. refused: none was idle, so it got 503.",
            "result",
        )
        self.beyond_limit = {result: beyond.labels(result) for result in ("closed", "refused")}

    def _access(self) -> None:
        self.access = self._counter(
            "rank_access_total",
            "Requests that need a key, by the key's name and by result: admitted, no_key, "
            "unknown_key, expired, no_scope, or rate, beyond the key's rate. Without a known key, "
            "the name is empty. A key that has not been admitted for long can be removed.",
            "key",
            "result",
        )
        for result in ("no_key", "unknown_key"):
            self.access.labels("", result)
        self.key_expires = self._gauge(
            "rank_key_expires_timestamp_seconds",
            "Unix time at which a key of the keys file expires; infinite for a key without end.",
            "key",
        )
        self.keys_file_fault = self._gauge(
            "rank_keys_file_fault",
            "1 while the keys file cannot be read; the keys before stay valid. Otherwise 0.",
        )
        self.rates_counted_alone = self._counter(
            "rank_rates_counted_alone_total",
            "Requests of keys with a rate that this replica counted alone although the rates are "
            "shared, because the store did not answer.",
        )

    def request(self, route: str, status: int) -> Histogram:
        """Return ``requests`` of a route and a status; labels are resolved once."""
        key = (route, status)
        if (child := self._request.get(key)) is None:
            child = self._request[key] = self.requests.labels(route, status)
        return child

    def forget_key(self, name: str) -> None:
        """Remove all metrics of a key that is no longer in the keys file."""
        for metric in (self.access, self.key_expires):
            metric.remove_by_labels({"key": name})
