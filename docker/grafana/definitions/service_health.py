"""The dashboard *Service health*."""

from __future__ import annotations

from docker.grafana.panels import Dashboard, Heatmap, Lines, Query, Row, Stat
from docker.grafana.promql import RANK, RANKINGS, or_zero, quantile, rate

_NOW = Row(
    "Now",
    (
        Stat(
            "Replicas",
            "Replicas that Prometheus reaches. With one, there is no spare.",
            [Query("job:rank_replicas_up:count")],
            low_is_bad=True,
            worse=1,
            bad=2,
        ),
        Stat(
            "Alerts",
            "Firing alerts. docs/runbook.md has a section for each.",
            [Query(or_zero('count(ALERTS{alertstate="firing"})'))],
            bad=1,
            worse=1,
        ),
        Stat(
            "Rankings",
            "Requests to /rank answered with 200, per second.",
            [Query(RANKINGS)],
            unit="reqps",
        ),
        Stat(
            "Errors",
            "Share of /rank requests that failed with a 5xx status, over 5 minutes.",
            [Query("job:rank_errors:ratio_rate5m")],
            unit="percentunit",
            bad=0.001,
            worse=0.0144,
        ),
        Stat(
            "p99",
            "99th percentile of the latency of /rank over 5 minutes, from reading the "
            "first byte of the request to writing the last byte of the response.",
            [Query("job:rank_latency_seconds:p99_5m")],
            unit="s",
            bad=0.05,
            worse=0.1,
        ),
        Stat(
            "Degraded",
            "Share of rankings made without something they should have had, over 5 minutes.",
            [Query(or_zero("sum(job:rank_degraded:ratio_rate5m)"))],
            unit="percentunit",
            bad=0.05,
            worse=0.3,
        ),
    ),
)

_TRAFFIC = Row(
    "Traffic and latency",
    (
        Lines(
            "Requests by route and status",
            "422: the request is invalid. 499: the caller left. 503: no model is ready, or too "
            "many full scans wait.",
            [
                Query(
                    rate("rank_http_request_seconds_count", "route, status"), "{{route}} {{status}}"
                )
            ],
            unit="reqps",
            stacked=True,
        ),
        Lines(
            "Latency of /rank",
            "Quantiles, interpolated within the histogram's buckets. The alert fires above 100 ms "
            "at p99.",
            [
                Query(quantile(q, "rank_http_request_seconds", RANK), f"p{100 * q:g}")
                for q in (0.5, 0.9, 0.99)
            ],
            unit="s",
            worse=0.1,
        ),
        Heatmap(
            "Distribution of the latency of /rank",
            "Two bands are two kinds of requests: short candidate lists and full scans.",
            [Query(rate("rank_http_request_seconds_bucket", "le", RANK), "{{le}}")],
            unit="s",
        ),
        Lines(
            "Mean time by stage",
            "user and catalog wait for the store, score runs the model, select picks the top k.",
            [
                Query(
                    f"{rate('rank_stage_seconds_sum', 'stage')} / "
                    f"{rate('rank_stage_seconds_count', 'stage')}",
                    "{{stage}}",
                )
            ],
            unit="s",
            stacked=True,
        ),
        Lines(
            "p99 by stage",
            "99th percentile of each stage. It shows where slow rankings spend their time.",
            [Query(quantile(0.99, "rank_stage_seconds", by="stage"), "{{stage}}")],
            unit="s",
            log=True,
        ),
        Lines(
            "Requests in flight",
            "Open requests at the moment of a scrape. Above 64, a replica falls behind.",
            [Query("rank_http_requests_in_flight", "{{instance}}")],
            worse=64,
        ),
        Lines(
            "Lateness of the event loop",
            "99th percentile. Requests wait as long in the kernel before a replica reads them, "
            "which the latency of /rank leaves out.",
            [Query(quantile(0.99, "rank_event_loop_lag_seconds", by="instance"), "{{instance}}")],
            unit="s",
            worse=0.1,
        ),
    ),
)

_ERRORS = Row(
    "Errors and degraded rankings",
    (
        Lines(
            "Error budget",
            "Share of /rank requests that failed. A month's budget is 0.1 %. At 1.44 % it lasts "
            "two days, at 0.6 % five.",
            [Query(f"job:rank_errors:ratio_rate{window}", window) for window in ("5m", "1h", "6h")],
            unit="percentunit",
            bad=0.006,
            worse=0.0144,
        ),
        Lines(
            "Degraded rankings by reason",
            "store_unavailable: Redis did not answer. deadline: the caller's deadline_ms ran out. "
            "unknown_user: no record and no usable history. corrupt_record: the user's record was "
            "refused. overloaded: too many users waited for the store. partial_catalog: the "
            "catalogue does not fit in memory.",
            [
                Query(
                    f"{rate('rank_degraded_total', 'reason')} / on () group_left () {RANKINGS}",
                    "{{reason}}",
                )
            ],
            unit="percentunit",
        ),
        Lines(
            "Turned away by queue",
            "scans: too many full scans wait, so the answer is 503. inferences: too many raw "
            "models wait to run, so the answer is 503. users: too many users wait for the store, "
            "so the ranking does without the record.",
            [Query(rate("rank_shed_total", "queue"), "{{queue}}")],
            unit="reqps",
        ),
        Lines(
            "Rankings by replica",
            "Requests that each replica answers. A replica without any is out of rotation.",
            [Query(rate("rank_http_request_seconds_count", "instance", RANK), "{{instance}}")],
            unit="reqps",
            stacked=True,
        ),
    ),
)

DASHBOARD = Dashboard(
    uid="service-health",
    title="Service health",
    description="Are rankings answered, fast and complete? Read from the top. Stop at the first "
    "red panel.",
    rows=(_NOW, _TRAFFIC, _ERRORS),
)
