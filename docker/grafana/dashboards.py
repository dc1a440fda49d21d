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
                            "sum by (reason) (rate(rank_degraded_total[$__rate_interval]))"
                            f" / on () group_left () {RANKINGS}",
                            "{{reason}}",
                        )
                    ],
                    unit="percentunit",
                ),
                Lines(
                    "Turned away",
                    "scans: 503, too many rank the whole catalogue. users: ranked without their "
                    "record, too many wait for the store.",
                    [
                        Query(
                            "sum by (queue) (rate(rank_shed_total[$__rate_interval]))",
                            "{{queue}}",
                        )
                    ],
                    unit="reqps",
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
                            "sum by (model, cause) "
                            "(rate(rank_catalog_changes_total[$__rate_interval]))",
                            "{{model}} {{cause}}",
                        )
                    ],
                    unit="cps",
                ),
                Lines(
                    "Out of step for",
                    "Since a replica last knew that it holds all announced changes. It looks every "
                    "second; a line that rises does not reach the store.",
                    [
                        Query(
                            "time() - rank_catalog_followed_timestamp_seconds",
                            "{{model}} {{instance}}",
                        )
                    ],
                    unit="s",
                    worse=30,
                ),
                Lines(
                    "From announced to in use",
                    "Mean time until a changed item is ranked as changed, over half an hour.",
                    [
                        Query(
                            _or_zero(
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
                            "1 - sum by (model) (rate(rank_catalog_misses_total[$__rate_interval]))"
                            " / sum by (model) "
                            "(rate(rank_catalog_lookups_total[$__rate_interval]))",
                            "{{model}}",
                        )
                    ],
                    unit="percentunit",
                ),
                Lines(
                    "Candidates without a record",
                    "Per ranking. They were never published, or have left the catalogue.",
                    [
                        Query(
                            f"sum(rate(rank_missing_items_total[$__rate_interval])) / {RANKINGS}",
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
                            "sum by (source) (rate(rank_cold_users_total[$__rate_interval]))"
                            f" / on () group_left () {RANKINGS}",
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
                    "Round trips",
                    "Waits for the store by what was read; changes are polled every second.",
                    [
                        Query(
                            "sum by (operation) (rate(rank_store_seconds_count[$__rate_interval]))",
                            "{{operation}}",
                        )
                    ],
                    unit="cps",
                ),
                Lines(
                    "p99 of a round trip",
                    "The store and the way to it, without what waits in the service.",
                    [
                        Query(
                            _quantile(
                                0.99, "rank_store_seconds", 'operation=~"users|items"', "operation"
                            ),
                            "{{operation}}",
                        )
                    ],
                    unit="s",
                    log=True,
                ),
                Lines(
                    "Bytes read",
                    "Of records, by kind. Items are read once: a steady flow is memory too small.",
                    [
                        Query(
                            "sum by (operation) "
                            "(rate(rank_store_read_bytes_total[$__rate_interval]))",
                            "{{operation}}",
                        )
                    ],
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
                    [
                        Query(
                            "sum by (record) (rate(rank_corrupt_records_total[$__rate_interval]))",
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
                    [
                        Query(
                            "time() - max by (model) (rank_model_created_timestamp_seconds)",
                            "{{model}}",
                        )
                    ],
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
        ),
    ),
)

PLACES = "rank_exposure_places_total"
TRADEOFFS = 'tradeoff=~"0.0|0.5|1.0"'  # of which every panel shows the course


def _of_places(metric: str, by: str, where: str = "", per: float = 1) -> str:
    """Return what ``metric`` counts for each place shown, over half an hour."""
    top = f"sum by ({by}) (increase({metric}{{{where}}}[30m]))"
    places = f"sum by ({by}) (increase({PLACES}{{{where}}}[30m]))"
    return f"{top} / ({places} > 0)" + (f" / {per:g}" if per != 1 else "")


def _front(measure: str, per: float = 1) -> Query:
    """Return what was measured before the model was published."""
    expr = f'avg by (model, tradeoff) (rank_model_front{{measure="{measure}", {TRADEOFFS}}})'
    return Query(expr + (f" / {per:g}" if per != 1 else ""), "{{model}} at {{tradeoff}}, measured")


def _served(metric: str, per: float = 1) -> Query:
    """Return what whole-catalogue rankings show: as the front was measured."""
    where = f'pool="catalogue", {TRADEOFFS}'
    return Query(
        _or_zero(_of_places(metric, "model, tradeoff", where, per)), "{{model}} at {{tradeoff}}"
    )


SERVED_BIAS = Dashboard(
    uid="exposure",
    title="Exposure and the front",
    description="What do users get to see at the tradeoffs that are asked for, and is it what was "
    "measured before the model was published? Places are those up to the tenth.",
    rows=(
        Row(
            "Now",
            (
                Stat(
                    "Debiased",
                    "Share of rankings at a tradeoff below 0.45, in the last half hour.",
                    [
                        Query(
                            'sum(increase(rank_exposure_rankings_total{tradeoff=~"0.[0-4]"}[30m]))'
                            " / sum(increase(rank_exposure_rankings_total[30m]))"
                        )
                    ],
                    unit="percentunit",
                ),
                Stat(
                    "Popularity shown",
                    "Mean percentile by training clicks of what is shown; 50 is the median item.",
                    [
                        Query(
                            "sum(increase(rank_exposure_popularity_percentiles_total[30m]))"
                            f" / sum(increase({PLACES}[30m]))"
                        )
                    ],
                    unit="none",
                ),
                Stat(
                    "Long tail",
                    "Share of places that go to the 80 % least clicked items.",
                    [
                        Query(
                            "sum(increase(rank_exposure_tail_places_total[30m]))"
                            f" / sum(increase({PLACES}[30m]))"
                        )
                    ],
                    unit="percentunit",
                ),
                Stat(
                    "Cold items",
                    "Share of places that go to items known by content alone.",
                    [
                        Query(
                            "sum(increase(rank_exposure_cold_places_total[30m]))"
                            f" / sum(increase({PLACES}[30m]))"
                        )
                    ],
                    unit="percentunit",
                ),
                Stat(
                    "Largest drift",
                    "Of the scores of any tradeoff; above 0.25 is a shift.",
                    [Query(_or_zero("max(rank_exposure_score_drift)"))],
                    unit="none",
                    bad=0.1,
                    worse=0.25,
                ),
                Stat(
                    "The front is worth",
                    "Unbiased AUC that tradeoff 0 wins over 1, as measured.",
                    [
                        Query(
                            "max by (model) "
                            '(rank_model_front{measure="unbiased_auc", tradeoff="0.0"})'
                            " - max by (model) "
                            '(rank_model_front{measure="unbiased_auc", tradeoff="1.0"})',
                            "{{model}}",
                        )
                    ],
                    unit="none",
                    low_is_bad=True,
                    worse=0.0,
                    bad=0.005,
                ),
            ),
        ),
        Row(
            "What is asked for",
            (
                Lines(
                    "Tradeoffs asked for",
                    "Rankings by tradeoff, to the nearest tenth, defaults included.",
                    [
                        Query(
                            "sum by (tradeoff) "
                            "(rate(rank_exposure_rankings_total[$__rate_interval]))",
                            "{{tradeoff}}",
                        )
                    ],
                    unit="reqps",
                    stacked=True,
                ),
                Lines(
                    "Whole catalogue or candidates",
                    "Only rankings of the whole catalogue are comparable with what was measured.",
                    [
                        Query(
                            "sum by (pool) (rate(rank_exposure_rankings_total[$__rate_interval]))",
                            "{{pool}}",
                        )
                    ],
                    unit="reqps",
                    stacked=True,
                ),
                Lines(
                    "Measured front",
                    "AUC on logged and on unbiased traffic by tradeoff, before publication.",
                    [
                        Query(
                            "max by (model, tradeoff, measure) "
                            f'(rank_model_front{{measure=~".*_auc", {TRADEOFFS}}})',
                            "{{measure}} {{model}} at {{tradeoff}}",
                        )
                    ],
                    unit="none",
                ),
            ),
        ),
        Row(
            "What is shown, beside what was measured: rankings of the whole catalogue",
            (
                Lines(
                    "Popularity percentile",
                    "Should fall with the tradeoff. Away from what was measured: other users, or "
                    "other items than the model was trained on.",
                    [
                        _served("rank_exposure_popularity_percentiles_total", 100),
                        _front("popularity_percentile", 100),
                    ],
                    unit="percentunit",
                ),
                Lines(
                    "Long-tail share",
                    "Should rise as the tradeoff falls.",
                    [_served("rank_exposure_tail_places_total"), _front("tail_share")],
                    unit="percentunit",
                ),
                Lines(
                    "Exposure Gini",
                    "0: all items are shown alike. 1: one has it all. Of the last 1,000 places of "
                    "a replica; greater while there are fewer.",
                    [
                        Query(
                            "avg by (model, tradeoff) "
                            f'(rank_exposure_gini{{pool="catalogue", {TRADEOFFS}}})',
                            "{{model}} at {{tradeoff}}",
                        ),
                        _front("exposure_gini"),
                    ],
                    unit="percentunit",
                ),
            ),
        ),
        Row(
            "By pool",
            (
                Lines(
                    "Popularity percentile by pool",
                    "Candidates are chosen before they are ranked: a gap is the choice's bias.",
                    [
                        Query(
                            _of_places(
                                "rank_exposure_popularity_percentiles_total", "pool", per=100
                            ),
                            "{{pool}}",
                        )
                    ],
                    unit="percentunit",
                ),
                Lines(
                    "Cold items by tradeoff",
                    "Items without clicks get their chance at low tradeoffs.",
                    [
                        Query(
                            _of_places("rank_exposure_cold_places_total", "tradeoff"),
                            "{{tradeoff}}",
                        )
                    ],
                    unit="percentunit",
                ),
                Lines(
                    "Score drift",
                    "Population stability index of scores against the artifact's own: above 0.25 "
                    "users, proxies or content are not what the model was measured on.",
                    [
                        Query(
                            _or_zero("max by (model, tradeoff) (rank_exposure_score_drift)"),
                            "{{model}} at {{tradeoff}}",
                        )
                    ],
                    unit="none",
                    bad=0.1,
                    worse=0.25,
                ),
            ),
        ),
    ),
)

DASHBOARDS = (SERVICE_HEALTH, STORE_AND_CATALOGUE, SERVED_BIAS)


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
