"""Metrics of the catalogue of each model, and of live changes."""

from __future__ import annotations

from service.telemetry.metrics import Metrics

LAG_BUCKETS = (0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0, 60.0, 300.0)
LIVE = ("items", "removed", "proxies", "users")


class Catalogues(Metrics):
    """The catalogue of each model, and live changes."""

    def _catalog(self) -> None:
        self.catalog_items = self._gauge(
            "rank_catalog_items", "Items of the catalogue in memory.", "model"
        )
        self.catalog_bytes = self._gauge(
            "rank_catalog_bytes",
            "Bytes of the catalogue in memory. Divided by rank_catalog_items: bytes an item.",
            "model",
        )
        self.catalog_lost = self._gauge(
            "rank_catalog_lost_items",
            "Items that the store has lost: listed without a valid record, or in memory and no "
            "longer listed although nothing removed them. Rankings use their states in memory.",
            "model",
        )
        self.catalog_lookups = self._counter(
            "rank_catalog_lookups_total", "Items named by requests.", "model"
        )
        self.catalog_misses = self._counter(
            "rank_catalog_misses_total",
            "Items named by requests that were not in memory and had to be read from the store. "
            "Divided by rank_catalog_lookups_total: the miss rate.",
            "model",
        )
        self.catalog_changes = self._counter(
            "rank_catalog_changes_total",
            "Items read again, by cause. change: the change stream named them. gap: changes were "
            "lost, so the whole catalogue was read.",
            "model",
            "cause",
        )
        self.catalog_lag = self._histogram(
            "rank_catalog_lag_seconds",
            "Time from the announcement of a change, by the store's clock, to its use in rankings.",
            "model",
            buckets=LAG_BUCKETS,
        )
        self.catalog_followed = self._gauge(
            "rank_catalog_followed_timestamp_seconds",
            "Unix time at which the catalogue last held all announced changes.",
            "model",
        )

        self.catalog_followers = self._gauge(
            "rank_catalog_followers",
            "Tasks that follow the changes of a catalogue: one a loaded model, and for a moment "
            "one of each dropped model.",
        )

    def _live(self) -> None:
        changes = self._counter(
            "rank_live_changes_total",
            "Live changes that this replica wrote, by kind. items: items put. removed: items "
            "removed. proxies: items whose proxies were changed, those of put items included. "
            "users: users deleted.",
            "kind",
        )
        self.live_changes = {kind: changes.labels(kind) for kind in LIVE}
        self.live_conflicts = self._counter(
            "rank_live_conflicts_total",
            "Live changes that were tried again because others changed the same records.",
        )
