"""The dashboard *Service health*."""

from __future__ import annotations

from docker.grafana.panels import Dashboard, Heatmap, Lines, Query, Row, Stat
from docker.grafana.promql import RANK, RANKINGS, or_zero, quantile, rate

_NOW = Row(
    "Now",
    (
        Stat(
            "Replicas",
            "Replicas that Prometheus reaches. One is no spare.",
            [Query("job:rank_replicas_up:count")],
            low_is_bad=True,
            worse=1,
            bad=2,
        ),
        Stat(
            "Alerts",
            "Alerts that fire; docs/runbook.md has a section for each.",
            [Query(or_zero('count(ALERTS{alertstate="firing"})'))],
            bad=1,
            worse=1,
        ),
        Stat("Rankings", "Answered with 200.", [Query(RANKINGS)], unit="reqps"),
        Stat(
            "Errors",
            "Share of /rank that failed by our fault, over 5 minutes.",
            [Query("job:rank_errors:ratio_rate5m")],
            unit="percentunit",
            bad=0.001,
            worse=0.0144,
        ),
        Stat(
            "p99",
            "99th percentile of /rank, first byte in to last byte out, over 5 minutes.",
            [Query("job:rank_latency_seconds:p99_5m")],
            unit="s",
            bad=0.05,
            worse=0.1,
        ),
        Stat(
            "Degraded",
            "Share of rankings that said they were less than they could be, 5 minutes.",
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
            "422 is the caller's mistake, 499 a caller that left, 503 not ready.",
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
            "Quantiles within the buckets; the alert is at 100 ms for p99.",
            [
                Query(quantile(q, "rank_http_request_seconds", RANK), f"p{100 * q:g}")
                for q in (0.5, 0.9, 0.99)
            ],
            unit="s",
            worse=0.1,
        ),
        Heatmap(
            "Latency of /rank, all of it",
            "Two bands are two kinds of requests: short lists and the whole catalogue.",
            [Query(rate("rank_http_request_seconds_bucket", "le", RANK), "{{le}}")],
            unit="s",
        ),
        Lines(
            "Mean time by stage",
            "user and catalog wait for the store; score runs the model; select orders.",
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
            "Which stage makes the slow ones slow.",
            [Query(quantile(0.99, "rank_stage_seconds", by="stage"), "{{stage}}")],
            unit="s",
            log=True,
        ),
        Lines(
            "Requests in flight",
            "Open at the moment of a scrape. Above 64 a replica falls behind.",
            [Query("rank_http_requests_in_flight", "{{instance}}")],
            worse=64,
        ),
    ),
)

_ERRORS = Row(
    "Errors and what rankings lacked",
    (
        Lines(
            "Error budget",
            "Share of /rank that failed. 1.44 % over an hour spends a month's budget of "
            "0.1 % in two days, 0.6 % over six hours in five.",
            [Query(f"job:rank_errors:ratio_rate{window}", window) for window in ("5m", "1h", "6h")],
            unit="percentunit",
            bad=0.006,
            worse=0.0144,
        ),
        Lines(
            "Degraded rankings by reason",
            "store_unavailable: Redis is away. deadline: the caller would not wait. "
            "unknown_user: neither record nor history. corrupt_record: refused.",
            [
                Query(
                    f"{rate('rank_degraded_total', 'reason')} / on () group_left () {RANKINGS}",
                    "{{reason}}",
                )
            ],
            unit="percentunit",
        ),
        Lines(
            "Turned away",
            "scans: 503, too many rank the whole catalogue. users: ranked without their "
            "record, too many wait for the store.",
            [Query(rate("rank_shed_total", "queue"), "{{queue}}")],
            unit="reqps",
        ),
        Lines(
            "Rankings by replica",
            "The proxy shares them out; a replica that gets none is out of rotation.",
            [Query(rate("rank_http_request_seconds_count", "instance", RANK), "{{instance}}")],
            unit="reqps",
            stacked=True,
        ),
    ),
)

DASHBOARD = Dashboard(
    uid="service-health",
    title="Service health",
    description="Are rankings served, fast and whole? Read from the top; stop at what is red.",
    rows=(_NOW, _TRAFFIC, _ERRORS),
)
