"""The dashboards: ``python docker/grafana/dashboards.py`` writes them, ``--check`` compares.

Every query gives a value in a healthy stack, zero rather than nothing: an empty panel is a fault.
A further dashboard is a further entry of ``DASHBOARDS``.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

from panels import Dashboard, Heatmap, Lines, Query, Row, Stat

OUT = Path(__file__).parent / "dashboards"

RANK = 'route="/rank"'
RANKINGS = f'sum(rate(rank_http_request_seconds_count{{{RANK}, status="200"}}[$__rate_interval]))'


def _or_zero(expr: str) -> str:
    return f"{expr} or vector(0)"


def _quantile(q: float, metric: str, labels: str = "", by: str = "") -> str:
    levels = ", ".join(filter(None, ("le", by)))
    return (
        f"histogram_quantile({q}, "
        f"sum by ({levels}) (rate({metric}_bucket{{{labels}}}[$__rate_interval])))"
    )


SERVICE_HEALTH = Dashboard(
    uid="service-health",
    title="Service health",
    description="Are rankings served, fast and whole? Read from the top; stop at what is red.",
    rows=(
        Row(
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
                    [Query(_or_zero('count(ALERTS{alertstate="firing"})'))],
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
                    [Query(_or_zero("sum(job:rank_degraded:ratio_rate5m)"))],
                    unit="percentunit",
                    bad=0.05,
                    worse=0.3,
                ),
            ),
        ),
        Row(
            "Traffic and latency",
            (
                Lines(
                    "Requests by route and status",
                    "422 is the caller's mistake, 499 a caller that left, 503 not ready.",
                    [
                        Query(
                            "sum by (route, status) "
                            "(rate(rank_http_request_seconds_count[$__rate_interval]))",
                            "{{route}} {{status}}",
                        )
                    ],
                    unit="reqps",
                    stacked=True,
                ),
                Lines(
                    "Latency of /rank",
                    "Quantiles within the buckets; the alert is at 100 ms for p99.",
                    [
                        Query(_quantile(q, "rank_http_request_seconds", RANK), f"p{100 * q:g}")
                        for q in (0.5, 0.9, 0.99)
                    ],
                    unit="s",
                    worse=0.1,
                ),
                Heatmap(
                    "Latency of /rank, all of it",
                    "Two bands are two kinds of requests: short lists and the whole catalogue.",
                    [
                        Query(
                            "sum by (le) (rate(rank_http_request_seconds_bucket"
                            f"{{{RANK}}}[$__rate_interval]))",
                            "{{le}}",
                        )
                    ],
                    unit="s",
                ),
                Lines(
                    "Mean time by stage",
                    "user and catalog wait for the store; score runs the model; select orders.",
                    [
                        Query(
                            "sum by (stage) (rate(rank_stage_seconds_sum[$__rate_interval])) / "
                            "sum by (stage) (rate(rank_stage_seconds_count[$__rate_interval]))",
                            "{{stage}}",
                        )
                    ],
                    unit="s",
                    stacked=True,
                ),
                Lines(
                    "p99 by stage",
                    "Which stage makes the slow ones slow.",
                    [Query(_quantile(0.99, "rank_stage_seconds", by="stage"), "{{stage}}")],
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
        ),
        Row(
            "Errors and what rankings lacked",
            (
                Lines(
                    "Error budget",
                    "Share of /rank that failed. 1.44 % over an hour spends a month's budget of "
                    "0.1 % in two days, 0.6 % over six hours in five.",
                    [
                        Query(f"job:rank_errors:ratio_rate{window}", window)
                        for window in ("5m", "1h", "6h")
                    ],
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
                            _or_zero(
                                "sum by (reason) (rate(rank_degraded_total[$__rate_interval]))"
                                f" / on () group_left () {RANKINGS}"
                            ),
                            "{{reason}}",
                        )
                    ],
                    unit="percentunit",
                ),
                Lines(
                    "Rankings by replica",
                    "The proxy shares them out; a replica that gets none is out of rotation.",
                    [
                        Query(
                            "sum by (instance) "
                            f"(rate(rank_http_request_seconds_count{{{RANK}}}[$__rate_interval]))",
                            "{{instance}}",
                        )
                    ],
                    unit="reqps",
                    stacked=True,
                ),
            ),
        ),
    ),
)

STORE_AND_CATALOGUE = Dashboard(
    uid="store-and-catalogue",
    title="Store and catalogue",
    description="What is held in memory, does it follow the store, and does the store answer?",
    rows=(
        Row(
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
                            "max(max by (model) (rank_catalog_items)"
                            " - min by (model) (rank_catalog_items))"
                        )
                    ],
                    bad=1,
                    worse=100,
                ),
                Stat(
                    "Failed loads",
                    "Attempts to load a model that failed in the last hour.",
                    [Query(_or_zero('sum(increase(rank_model_loads_total{result="failed"}[1h]))'))],
                    bad=1,
                    worse=10,
                ),
                Stat(
                    "Refused records",
                    "Records that were corrupt, in the last hour.",
                    [Query(_or_zero("sum(increase(rank_corrupt_records_total[1h]))"))],
                    bad=1,
                    worse=10,
                ),
                Stat(
                    "Without the store",
                    "Share of rankings for which Redis did not answer, 5 minutes.",
                    [
                        Query(
                            _or_zero(
                                'sum(job:rank_degraded:ratio_rate5m{reason="store_unavailable"})'
                            )
                        )
                    ],
                    unit="percentunit",
                    bad=0.001,
                    worse=0.05,
                ),
            ),
        ),
        Row(
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
                    [
                        Query(
                            _or_zero(
                                "sum by (model, cause) "
                                "(rate(rank_catalog_changes_total[$__rate_interval]))"
                            ),
                            "{{model}} {{cause}}",
                        )
                    ],
                    unit="cps",
                ),
                Lines(
                    "Candidates without a record",
                    "Per ranking. They were never published, or have left the catalogue.",
                    [
                        Query(
                            _or_zero(
                                "sum(rate(rank_missing_items_total[$__rate_interval]))"
                                f" / {RANKINGS}"
                            ),
                            "missing",
                        )
                    ],
                    bad=5,
                ),
            ),
        ),
        Row(
            "Store",
            (
                Lines(
                    "Users without a record",
                    "Share of rankings, by what stood in: their history, or the average user.",
                    [
                        Query(
                            _or_zero(
                                "sum by (source) (rate(rank_cold_users_total[$__rate_interval]))"
                                f" / on () group_left () {RANKINGS}"
                            ),
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
                            _quantile(
                                0.99, "rank_stage_seconds", 'stage=~"user|catalog"', by="stage"
                            ),
                            "{{stage}}",
                        )
                    ],
                    unit="s",
                    log=True,
                ),
                Lines(
                    "Refused records by kind",
                    "Somebody wrote what does not decode or does not fit the model.",
                    [
                        Query(
                            _or_zero(
                                "sum by (record) "
                                "(rate(rank_corrupt_records_total[$__rate_interval]))"
                            ),
                            "{{record}}",
                        )
                    ],
                    unit="cps",
                ),
            ),
        ),
        Row(
            "Models",
            (
                Lines(
                    "Loads by result",
                    "A new version shows as one ok a replica; failed repeats until it is mended.",
                    [
                        Query(
                            _or_zero(
                                "sum by (result) "
                                "(increase(rank_model_loads_total[$__rate_interval]))"
                            ),
                            "{{result}}",
                        )
                    ],
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
        ),
    ),
)

DASHBOARDS = (SERVICE_HEALTH, STORE_AND_CATALOGUE)


def main() -> int:
    """Write each dashboard, or with ``--check`` name those whose file differs."""
    stale = []
    for dashboard in DASHBOARDS:
        path = OUT / f"{dashboard.uid}.json"
        text = json.dumps(dashboard.json(), indent=2) + "\n"
        if "--check" not in sys.argv[1:]:
            path.write_text(text)
        elif not path.exists() or path.read_text() != text:
            stale.append(path.name)
    extra = {path.name for path in OUT.glob("*.json")} - {f"{d.uid}.json" for d in DASHBOARDS}
    for name in [*stale, *sorted(extra)]:
        sys.stderr.write(f"{name} is not what dashboards.py makes: run it\n")
    return 1 if stale or extra else 0


if __name__ == "__main__":
    sys.exit(main())
