"""The dashboard *Store and catalogue*."""

from __future__ import annotations

from docker.grafana.panels import Dashboard, Lines, Query, Row, Stat
from docker.grafana.promql import RANKINGS, or_zero, quantile, rate

_NOW = Row(
    "Now",
    (
        Stat(
            "Models",
            "Model versions that at least one replica has loaded.",
            [Query("count(count by (model) (rank_catalog_items))")],
        ),
        Stat(
            "Items",
            "Items in memory, by model.",
            [Query("max by (model) (rank_catalog_items)", "{{model}}")],
        ),
        Stat(
            "Difference of replicas",
            "Items that the largest catalogue of a model has more than the smallest.",
            [
                Query(
                    "max(max by (model) (rank_catalog_items) - min by (model) (rank_catalog_items))"
                )
            ],
            bad=1,
            worse=100,
        ),
        Stat(
            "Lost items",
            "Items that the store has lost although nobody removed them, in the model with most.",
            [Query("max(rank_catalog_lost_items)")],
            bad=1,
            worse=100,
        ),
        Stat(
            "Failed loads",
            "Failed attempts to load a model, over the last hour.",
            [Query('sum(increase(rank_model_loads_total{result="failed"}[1h]))')],
            bad=1,
            worse=10,
        ),
        Stat(
            "Corrupt records",
            "Corrupt records that the service refused, over the last hour.",
            [Query("sum(increase(rank_corrupt_records_total[1h]))")],
            bad=1,
            worse=10,
        ),
        Stat(
            "Without the store",
            "Share of rankings made while Redis did not answer, over 5 minutes.",
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
            "All replicas of a model draw the same line. A replica with a line of its own does not "
            "follow changes.",
            [Query("rank_catalog_items", "{{model}} {{instance}}")],
        ),
        Lines(
            "Items read again",
            "change: the change stream named the item. gap: the stream was cut, so the replica "
            "read all items.",
            [Query(rate("rank_catalog_changes_total", "model, cause"), "{{model}} {{cause}}")],
            unit="cps",
        ),
        Lines(
            "Staleness",
            "Time since a replica last knew that it holds all announced changes. It checks every "
            "second. A rising line is a replica that cannot read the change stream.",
            [Query("time() - rank_catalog_followed_timestamp_seconds", "{{model}} {{instance}}")],
            unit="s",
            worse=30,
        ),
        Lines(
            "Delay of changes",
            "Mean time from announcing a changed item to ranking with it, over half an hour.",
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
            "Hit rate",
            "Share of requested items that were in memory.",
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
            "Missing candidates",
            "Candidates without a record, per ranking: never published, or removed since.",
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
            "Share of rankings, by replacement: the history in the request, or the average user.",
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
            "99th percentile of the two stages that read the store.",
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
            "Store round trips per second, by operation. Replicas poll for changes every second.",
            [Query(rate("rank_store_seconds_count", "operation"), "{{operation}}")],
            unit="cps",
        ),
        Lines(
            "p99 of a round trip",
            "Time in the store and the network, without time in the service's queues.",
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
            "Record bytes per second, by kind. A replica reads an item once: a steady flow means "
            "that the catalogue does not fit in memory.",
            [Query(rate("rank_store_read_bytes_total", "operation"), "{{operation}}")],
            unit="bytes",
        ),
        Lines(
            "Breaker",
            "0, closed: reads go through. 1, half open: one read probes. 2, open: reads fail at "
            "once.",
            [Query("rank_store_breaker_state", "{{instance}}")],
            worse=1,
        ),
        Lines(
            "Corrupt records by kind",
            "Records that do not decode or do not fit the model.",
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
            "A new version adds one ok per replica. failed repeats until the cause is mended.",
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
            "A step is a promotion. Two lines of one alias are replicas that disagree.",
            [Query("rank_model_alias_version", "{{name}}@{{alias}} {{instance}}")],
            width=12,
        ),
        Lines(
            "Age of models",
            "Time since the export. Old models have learned old clicks.",
            [Query("time() - max by (model) (rank_model_created_timestamp_seconds)", "{{model}}")],
            unit="s",
            width=12,
        ),
        Lines(
            "Replicas by model",
            "A model below the line of replicas failed to load on some of them.",
            [
                Query("count by (model) (rank_catalog_items)", "{{model}}"),
                Query("job:rank_replicas_up:count", "replicas"),
            ],
            width=12,
        ),
        Lines(
            "Damage of the repository",
            "Folders, alias files and loaded versions that are missing or cannot be read. Loaded "
            "models keep serving.",
            [Query("rank_repository_faults", "{{instance}}")],
            bad=1,
            width=12,
        ),
        Lines(
            "Followers",
            "Tasks that follow a catalogue's changes. More than one a loaded model for longer than "
            "a swap: dropped models stay in memory.",
            [Query("rank_catalog_followers", "{{instance}}")],
            width=12,
        ),
    ),
)

DASHBOARD = Dashboard(
    uid="store-and-catalogue",
    title="Store and catalogue",
    description="Which models and items are in memory, do they follow the store, and does the "
    "store answer?",
    rows=(_NOW, _CATALOGUE, _STORE, _MODELS),
)
