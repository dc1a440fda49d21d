"""The dashboard *Exposure and the front*: what traffic shows, next to what was measured."""

from __future__ import annotations

from docker.grafana.panels import Dashboard, Lines, Query, Row, Stat
from docker.grafana.promql import or_zero, rate

PLACES = "rank_exposure_places_total"
TRADEOFFS = 'tradeoff=~"0.0|0.5|1.0"'  # both ends and the middle: eleven lines a model are too many


def _per_place(metric: str) -> Query:
    """Return a counter per place shown, over all rankings of half an hour."""
    return Query(f"sum(increase({metric}[30m])) / sum(increase({PLACES}[30m]))")


def _per_place_by(metric: str, by: str, where: str = "", divisor: float = 1) -> str:
    """Return a counter per place shown for each value of the labels ``by``, over half an hour."""
    total = f"sum by ({by}) (increase({metric}{{{where}}}[30m]))"
    places = f"sum by ({by}) (increase({PLACES}{{{where}}}[30m]))"
    return _divided(f"{total} / ({places} > 0)", divisor)


def _in_traffic(metric: str, divisor: float = 1) -> Query:
    """Return a counter per place that rankings of the whole catalogue show."""
    where = f'pool="catalogue", {TRADEOFFS}'
    expr = _per_place_by(metric, "model, tradeoff", where, divisor)
    return Query(or_zero(expr), "{{model}} at {{tradeoff}}")


def _measured(measure: str, divisor: float = 1) -> Query:
    """Return a measure of the front as it was before the model was published."""
    expr = f'avg by (model, tradeoff) (rank_model_front{{measure="{measure}", {TRADEOFFS}}})'
    return Query(_divided(expr, divisor), "{{model}} at {{tradeoff}}, measured")


def _divided(expr: str, divisor: float) -> str:
    return expr if divisor == 1 else f"{expr} / {divisor:g}"


_NOW = Row(
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
            [_per_place("rank_exposure_popularity_percentiles_total")],
            unit="none",
        ),
        Stat(
            "Long tail",
            "Share of places that go to the 80 % least clicked items.",
            [_per_place("rank_exposure_tail_places_total")],
            unit="percentunit",
        ),
        Stat(
            "Cold items",
            "Share of places that go to items known by content alone.",
            [_per_place("rank_exposure_cold_places_total")],
            unit="percentunit",
        ),
        Stat(
            "Largest drift",
            "Of the scores of any tradeoff; above 0.25 is a shift.",
            [Query(or_zero("max(rank_exposure_score_drift)"))],
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
)

_TRADEOFFS_ASKED = Row(
    "What is asked for",
    (
        Lines(
            "Tradeoffs asked for",
            "Rankings by tradeoff, to the nearest tenth, defaults included.",
            [Query(rate("rank_exposure_rankings_total", "tradeoff"), "{{tradeoff}}")],
            unit="reqps",
            stacked=True,
        ),
        Lines(
            "Whole catalogue or candidates",
            "Only rankings of the whole catalogue are comparable with what was measured.",
            [Query(rate("rank_exposure_rankings_total", "pool"), "{{pool}}")],
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
)

_EXPOSURE = Row(
    "What is shown, beside what was measured: rankings of the whole catalogue",
    (
        Lines(
            "Popularity percentile",
            "Should fall with the tradeoff. Away from what was measured: other users, or "
            "other items than the model was trained on.",
            [
                _in_traffic("rank_exposure_popularity_percentiles_total", 100),
                _measured("popularity_percentile", 100),
            ],
            unit="percentunit",
        ),
        Lines(
            "Long-tail share",
            "Should rise as the tradeoff falls.",
            [_in_traffic("rank_exposure_tail_places_total"), _measured("tail_share")],
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
                _measured("exposure_gini"),
            ],
            unit="percentunit",
        ),
    ),
)

_BY_POOL = Row(
    "By pool",
    (
        Lines(
            "Popularity percentile by pool",
            "Candidates are chosen before they are ranked: a gap is the choice's bias.",
            [
                Query(
                    _per_place_by(
                        "rank_exposure_popularity_percentiles_total", "pool", divisor=100
                    ),
                    "{{pool}}",
                )
            ],
            unit="percentunit",
        ),
        Lines(
            "Cold items by tradeoff",
            "Items without clicks get their chance at low tradeoffs.",
            [Query(_per_place_by("rank_exposure_cold_places_total", "tradeoff"), "{{tradeoff}}")],
            unit="percentunit",
        ),
        Lines(
            "Score drift",
            "Population stability index of scores against the artifact's own: above 0.25 "
            "users, proxies or content are not what the model was measured on.",
            [
                Query(
                    or_zero("max by (model, tradeoff) (rank_exposure_score_drift)"),
                    "{{model}} at {{tradeoff}}",
                )
            ],
            unit="none",
            bad=0.1,
            worse=0.25,
        ),
    ),
)

DASHBOARD = Dashboard(
    uid="exposure",
    title="Exposure and the front",
    description="What do users get to see at the tradeoffs that are asked for, and is it what was "
    "measured before the model was published? Places are those up to the tenth.",
    rows=(_NOW, _TRADEOFFS_ASKED, _EXPOSURE, _BY_POOL),
)
