"""The dashboard *Store and catalogue*."""

from __future__ import annotations

from docker.grafana.panels import Dashboard, Lines, Query, Row, Stat
from docker.grafana.promql import RANKINGS, or_zero, quantile, rate

_NOW = Row(
    "Now",
    (
        Stat(
            "Models served",
            "Versions that some replica holds.",
            [Query("count(count by (model) (rank_catalog_items))")],
        ),
        Stat(
            "Items",
            "Items held, by model.",
            [Query("max by (model) (rank_catalog_items)", "{{model}}")],
        ),
        Stat(
            "Replicas differ by",
            "Items by which the largest and the smallest catalogue of a model differ.",
            [
                Query(
                    "max(max by (model) (rank_catalog_items) - min by (model) (rank_catalog_items))"
                )
            ],
            bad=1,
            worse=100,
        ),
        Stat(
            "Failed loads",
            "Attempts to load a model that failed in the last hour.",
            [Query('sum(increase(rank_model_loads_total{result="failed"}[1h]))')],
            bad=1,
            worse=10,
        ),
        Stat(
            "Refused records",
            "Records that were corrupt, in the last hour.",
            [Query("sum(increase(rank_corrupt_records_total[1h]))")],
            bad=1,
            worse=10,
        ),
        Stat(
            "Without the store",
            "Share of rankings for which Redis did not answer, 5 minutes.",
            [Query(or_zero('sum(job:rank_degraded:ratio_rate5m{reason="store_unavailable"})'))],
            unit="percentunit",
            bad=0.001,
            worse=0.05,
        ),
    ),
)

_CATALOGUE = Row(
    "Catalogue",
    (
        Lines(
            "Items by model and replica",
            "Lines of a model lie on each other; one that strays does not follow changes.",
            [Query("rank_catalog_items", "{{model}} {{instance}}")],
        ),
        Lines(
            "Items read again",
            "change: the stream named them. gap: the stream was cut, all were read.",
            [Query(rate("rank_catalog_changes_total", "model, cause"), "{{model}} {{cause}}")],
            unit="cps",
        ),
        Lines(
            "Out of step for",
            "Since a replica last knew that it holds all announced changes. It looks every "
            "second; a line that rises does not reach the store.",
            [Query("time() - rank_catalog_followed_timestamp_seconds", "{{model}} {{instance}}")],
            unit="s",
            worse=30,
        ),
        Lines(
            "From announced to in use",
            "Mean time until a changed item is ranked as changed, over half an hour.",
            [
                Query(
                    or_zero(
                        "sum by (model) (rate(rank_catalog_lag_seconds_sum[30m])) / "
                        "(sum by (model) (rate(rank_catalog_lag_seconds_count[30m])) > 0)"
                    ),
                    "{{model}}",
                )
            ],
            unit="s",
            worse=1,
        ),
        Lines(
            "Held in memory",
            "Share of named items that needed no read of the store.",
            [
                Query(
                    f"1 - {rate('rank_catalog_misses_total', 'model')}"
                    f" / {rate('rank_catalog_lookups_total', 'model')}",
                    "{{model}}",
                )
            ],
            unit="percentunit",
        ),
        Lines(
            "Candidates without a record",
            "Per ranking. They were never published, or have left the catalogue.",
            [Query(f"{rate('rank_missing_items_total')} / {RANKINGS}", "missing")],
            bad=5,
        ),
    ),
)

_STORE = Row(
    "Store",
    (
        Lines(
            "Users without a record",
            "Share of rankings, by what stood in: their history, or the average user.",
            [
                Query(
                    f"{rate('rank_cold_users_total', 'source')} / on () group_left () {RANKINGS}",
                    "{{source}}",
                )
            ],
            unit="percentunit",
            stacked=True,
        ),
        Lines(
            "Waiting for the store",
            "99th percentile of the stages that may ask it.",
            [
                Query(
                    quantile(0.99, "rank_stage_seconds", 'stage=~"user|catalog"', by="stage"),
                    "{{stage}}",
                )
            ],
            unit="s",
            log=True,
        ),
        Lines(
            "Round trips",
            "Waits for the store by what was read; changes are polled every second.",
            [Query(rate("rank_store_seconds_count", "operation"), "{{operation}}")],
            unit="cps",
        ),
        Lines(
            "p99 of a round trip",
            "The store and the way to it, without what waits in the service.",
            [
                Query(
                    quantile(0.99, "rank_store_seconds", 'operation=~"users|items"', "operation"),
                    "{{operation}}",
                )
            ],
            unit="s",
            log=True,
        ),
        Lines(
            "Bytes read",
            "Of records, by kind. Items are read once: a steady flow is memory too small.",
            [Query(rate("rank_store_read_bytes_total", "operation"), "{{operation}}")],
            unit="bytes",
        ),
        Lines(
            "Breaker",
            "0: the store is asked. 1: one read probes. 2: it is not asked.",
            [Query("rank_store_breaker_state", "{{instance}}")],
            worse=1,
        ),
        Lines(
            "Refused records by kind",
            "Somebody wrote what does not decode or does not fit the model.",
            [Query(rate("rank_corrupt_records_total", "record"), "{{record}}")],
            unit="cps",
        ),
    ),
)

_MODELS = Row(
    "Models",
    (
        Lines(
            "Loads by result",
            "A new version shows as one ok a replica; failed repeats until it is mended.",
            [
                Query(
                    "sum by (result) (increase(rank_model_loads_total[$__rate_interval]))",
                    "{{result}}",
                )
            ],
            width=12,
        ),
        Lines(
            "Version by alias",
            "A step is a promotion; two lines of an alias are replicas that disagree.",
            [Query("rank_model_alias_version", "{{name}}@{{alias}} {{instance}}")],
            width=12,
        ),
        Lines(
            "Age of models",
            "Since they were exported. Clicks go stale; so do models that learned them.",
            [Query("time() - max by (model) (rank_model_created_timestamp_seconds)", "{{model}}")],
            unit="s",
            width=12,
        ),
        Lines(
            "Replicas that hold a model",
            "Fewer than there are: a replica failed to load it.",
            [
                Query("count by (model) (rank_catalog_items)", "{{model}}"),
                Query("job:rank_replicas_up:count", "replicas"),
            ],
            width=12,
        ),
    ),
)

DASHBOARD = Dashboard(
    uid="store-and-catalogue",
    title="Store and catalogue",
    description="What is held in memory, does it follow the store, and does the store answer?",
    rows=(_NOW, _CATALOGUE, _STORE, _MODELS),
)
