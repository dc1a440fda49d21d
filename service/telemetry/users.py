"""Metrics of users in memory."""

from __future__ import annotations

from service.telemetry.catalogues import LAG_BUCKETS
from service.telemetry.metrics import Metrics


class Users(Metrics):
    """Users in memory."""

    def _user_memory(self) -> None:
        reads = self._counter(
            "rank_user_memory_reads_total",
            "Reads of users, by result. hit: the user was in memory. miss: the store was read.",
            "result",
        )
        self.user_memory_reads = {result: reads.labels(result) for result in ("hit", "miss")}
        self.user_memory_evicted = self._counter(
            "rank_user_memory_evicted_total",
            "Users who left memory because RANK_USER_MEMORY_BYTES had no room for them.",
        )
        self.user_memory_users = self._gauge("rank_user_memory_users", "Users in memory.")
        self.user_memory_bytes = self._gauge(
            "rank_user_memory_bytes", "Bytes of the users in memory."
        )
        self.user_memory_lag = self._histogram(
            "rank_user_memory_lag_seconds",
            "Time from the announcement of a change of users, by the store's clock, until memory "
            "has forgotten what it had of them.",
            buckets=LAG_BUCKETS,
        )
        self.user_memory_followed = self._gauge(
            "rank_user_memory_followed",
            "1 while changes of users are followed. 0: no user is kept in memory, each is read "
            "from the store.",
        )
