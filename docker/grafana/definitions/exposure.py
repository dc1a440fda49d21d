"""The dashboard *Exposure and the front*: traffic against the measured front."""

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
    """Return a counter per place that full scans show."""
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
            "Share of rankings at a tradeoff below 0.45, over the last half hour.",
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
            "Mean popularity percentile of shown items, by training clicks. 50 is the median item.",
            [_per_place("rank_exposure_popularity_percentiles_total")],
            unit="none",
        ),
        Stat(
            "Long tail",
            "Share of places filled by the 80 % least clicked items.",
            [_per_place("rank_exposure_tail_places_total")],
            unit="percentunit",
        ),
        Stat(
            "Cold items",
            "Share of places filled by items that the model knows by content alone.",
            [_per_place("rank_exposure_cold_places_total")],
            unit="percentunit",
        ),
        Stat(
            "Largest drift",
            "Largest score drift of all tradeoffs. Above 0.25 is a shift.",
            [Query(or_zero("max(rank_exposure_score_drift)"))],
            unit="none",
            bad=0.1,
            worse=0.25,
        ),
        Stat(
            "Gain of the front",
            "Unbiased AUC at tradeoff 0 minus unbiased AUC at tradeoff 1, measured before "
            "publication.",
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

_REQUESTS = Row(
    "Requests",
    (
        Lines(
            "Requested tradeoffs",
            "Rankings by tradeoff, rounded to a tenth. Default tradeoffs count too.",
            [Query(rate("rank_exposure_rankings_total", "tradeoff"), "{{tradeoff}}")],
            unit="reqps",
            stacked=True,
        ),
        Lines(
            "Rankings by pool",
            "Only full scans can be compared with the measured front.",
            [Query(rate("rank_exposure_rankings_total", "pool"), "{{pool}}")],
            unit="reqps",
            stacked=True,
        ),
        Lines(
            "Measured front",
            "AUC on the logged and on the unbiased side by tradeoff, measured before publication.",
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
    "Full scans against the measured front",
    (
        Lines(
            "Popularity percentile",
            "Falls with the tradeoff. A gap to the measured line means other users or other items "
            "than in training.",
            [
                _in_traffic("rank_exposure_popularity_percentiles_total", 100),
                _measured("popularity_percentile", 100),
            ],
            unit="percentunit",
        ),
        Lines(
            "Long-tail share",
            "Rises as the tradeoff falls.",
            [_in_traffic("rank_exposure_tail_places_total"), _measured("tail_share")],
            unit="percentunit",
        ),
        Lines(
            "Exposure Gini",
            "0: all items are shown equally often. 1: one item has all places. Computed over the "
            "last 1,000 places of a replica; higher while there are fewer.",
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
            "Callers select candidates before the ranking. A gap between the pools is the bias of "
            "that selection.",
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
            "Share of places filled by cold items. Rises as the tradeoff falls.",
            [Query(_per_place_by("rank_exposure_cold_places_total", "tradeoff"), "{{tradeoff}}")],
            unit="percentunit",
        ),
        Lines(
            "Score drift",
            "Population stability index of scores against the scores in the artifact. Above 0.25, "
            "users, proxies or content differ from those the model was measured on.",
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

_FEEDBACK = Row(
    "Decisions and events",
    (
        Lines(
            "Decisions by policy",
            "Rankings that are logged per second, by policy. Other than fixed: explored.",
            [Query(or_zero(rate("rank_decisions_total", by="policy")), "{{policy}}")],
            unit="reqps",
        ),
        Lines(
            "Decisions lost",
            "Share of decisions that are not written, by cause.",
            [
                Query(
                    or_zero(
                        f"{rate('rank_decisions_dropped_total', by='cause')}"
                        f" / on () group_left () ({rate('rank_decisions_total')} > 0)"
                    ),
                    "{{cause}}",
                )
            ],
            unit="percentunit",
            bad=0.001,
            worse=0.01,
        ),
        Lines(
            "Score lost at a uniform slot",
            "Mean score of the item that stood at the place, less that of the drawn item.",
            [
                Query(
                    or_zero(
                        '(sum(increase(rank_slot_scores_total{item="displaced"}[30m]))'
                        ' - sum(increase(rank_slot_scores_total{item="drawn"}[30m])))'
                        ' / (sum(increase(rank_decisions_total{policy=~"uniform_slot|both"}[30m]))'
                        " > 0)"
                    ),
                    "a slot",
                )
            ],
            unit="none",
        ),
        Lines(
            "Events",
            "Events per second, by result.",
            [Query(or_zero(rate("rank_events_total", by="result")), "{{result}}")],
            unit="reqps",
        ),
    ),
)

_EXPERIMENT = Row(
    "Experiment",
    (
        Lines(
            "Rankings by arm",
            "Rankings per second of the users of each arm of the experiment that runs.",
            [
                Query(
                    or_zero(rate("rank_arm_rankings_total", "experiment, arm")),
                    "{{experiment}} {{arm}}",
                )
            ],
            unit="reqps",
        ),
        Lines(
            "Clicks per ranking by arm",
            "Click events that name their user, per ranking of the arm, over half an hour. What "
            "differences prove is in the report of the experiment.",
            [
                Query(
                    or_zero(
                        "sum by (experiment, arm) "
                        '(increase(rank_arm_events_total{kind="click"}[30m]))'
                        " / (sum by (experiment, arm) (increase(rank_arm_rankings_total[30m])) > 0)"
                    ),
                    "{{experiment}} {{arm}}",
                )
            ],
            unit="none",
        ),
        Lines(
            "Share of the rankings by arm",
            "Of all rankings of users in an arm. Moves with how often users come: the report of "
            "the experiment checks the numbers of users.",
            [
                Query(
                    or_zero(
                        f"{rate('rank_arm_rankings_total', 'experiment, arm')}"
                        " / on (experiment) group_left () "
                        f"({rate('rank_arm_rankings_total', 'experiment')} > 0)"
                    ),
                    "{{experiment}} {{arm}}",
                )
            ],
            unit="percentunit",
        ),
    ),
)

DASHBOARD = Dashboard(
    uid="exposure",
    title="Exposure and the front",
    description="Which items do rankings show at each tradeoff, and does this match the measured "
    "front? The first ten places of each ranking count.",
    rows=(_NOW, _REQUESTS, _EXPOSURE, _BY_POOL, _FEEDBACK, _EXPERIMENT),
)
