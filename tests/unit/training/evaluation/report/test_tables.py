from __future__ import annotations

import numpy as np

from service.contract.front import Anchor, Anchors, Estimate, Front, Trade, UserGroup
from training.data.split import POPULARITY_SHIFT
from training.evaluation.report.schema import Curve, Mask, Probe, RankingReport, Report, Segment
from training.evaluation.report.tables import (
    baseline_table,
    front_table,
    mask_table,
    probe_table,
    ranking_table,
    report_tables,
    segment_table,
)


def test_the_table_by_hand(front: Front) -> None:
    assert front_table(front) == "\n".join(
        [
            "| w | logged auc | unbiased auc | logged gauc |",
            "| --- | --- | --- | --- |",
            "| 0.00 | 0.6100 ± 0.0010 | 0.7600 ± 0.0010 | 0.5500 |",
            "| 0.25 | 0.6500 ± 0.0010 | 0.7500 ± 0.0010 | 0.5500 |",
            "| 0.50 | 0.6800 | 0.7200 | 0.5500 |",
            "| 1.00 | 0.6900 ± 0.0020 | 0.6500 ± 0.0020 | 0.5500 |",
            "",
            "unbiased = uniform exposure; standard errors over seeds; 2 seeds",
            "hypervolume above (0.5, 0.5): 0.01843 ± 0.00012; "
            "Spearman of w: +1.00 logged, -0.99 unbiased",
            "gain of w = 1 on logged: 0.0800 ± 0.0020; of w = 0 on unbiased: 0.1100 ± unknown",
            "verdict: clear.",
            "diagnostic: popularity alone: AUC 0.600 logged, 0.500 unbiased",
        ]
    )


def test_the_headline_is_the_gain_at_a_bounded_cost(front: Front) -> None:
    five = Trade(
        most_cost=0.05,
        tradeoff=0.25,
        gain=Estimate(mean=0.1, se=0.002),
        cost=Estimate(mean=0.004),
        gain_share=0.663,
        cost_share=None,
    )
    none = five.model_copy(update={"most_cost": 0.1, "tradeoff": 1.0})
    judged = front.model_copy(update={"trades": (five, none), "advice": "Serve w = 0.25: why."})

    lines = front_table(judged).splitlines()

    assert lines[8:10] == [
        "gain at most 5 % cost: 0.1000 ± 0.0020 (66 %) for 0.0040 ± unknown, at w = 0.25",
        "gain at most 10 % cost: none",
    ]
    assert "verdict: clear. Serve w = 0.25: why." in lines


def test_a_shift_of_popularity_is_named(front: Front) -> None:
    shift = front.model_copy(update={"unbiased_kind": POPULARITY_SHIFT})

    assert (
        "unbiased = less popular half of the logged test, a shift of popularity; standard errors"
        in front_table(shift)
    )


def test_the_largest_gap_of_a_group_of_users_is_shown(front: Front) -> None:
    group = UserGroup(
        group=3,
        users=50,
        rows=500,
        click_rate=0.24,
        predicted=0.456,
        observed=0.279,
        gap=Estimate(mean=0.177, se=0.01),
    )

    assert front_table(front.model_copy(update={"user_groups": (group,)})).splitlines()[-1] == (
        "calibration at w = 1 by user group, the largest gap: users of training click rate 0.240 "
        "are predicted 0.456 and click 0.279 (gap +0.177 ± 0.010)"
    )


def test_a_top_full_of_items_that_training_hardly_saw_is_a_warning(front: Front) -> None:
    def with_share(*shares: float) -> Front:
        points = tuple(
            point.model_copy(
                update={
                    "shown": {
                        "rare_share": Estimate(mean=share),
                        "rare_items": Estimate(mean=6.0),
                    }
                }
            )
            for point, share in zip(front.points, shares, strict=True)
        )
        return front.model_copy(update={"points": points})

    assert front_table(with_share(0.92, 0.6, 0.1, 0.0)).splitlines()[-1] == (
        "warning: at w = 0, 92 % of the top-10 places go to 6 items with fewer than 3 training "
        "rows: check their embeddings, or serve a greater w"
    )
    assert "warning" not in front_table(with_share(0.5, 0.2, 0.1, 0.0))


def test_exposure_has_a_table_of_its_own(front: Front, front_with_shown: Front) -> None:
    lines = front_table(front_with_shown).splitlines()

    assert lines[:6] == front_table(front).splitlines()[:6]
    assert lines[6:10] == [
        "",
        "| w | logged ndcg_at_10 | shown popularity_percentile | shown coverage |",
        "| --- | --- | --- | --- |",
        "| 0.00 | 0.4000 | 70.0 ± 0.2 | 0.250 |",
    ]


ANCHORS = Anchors(
    metric="auc",
    model=Estimate(mean=0.69, se=0.002),
    model_gauc=Estimate(mean=0.55),
    anchors=(
        Anchor(
            name="matrix factorisation",
            value=Estimate(mean=0.7, se=0.003),
            gauc=Estimate(mean=0.56),
            lead=Estimate(mean=-0.01, se=0.001),
            gauc_lead=Estimate(mean=-0.01, se=0.002),
        ),
        Anchor(
            name="age alone",
            value=Estimate(mean=0.5, se=0.004),
            lead=Estimate(mean=0.19),
        ),
    ),
    beaten=False,
    rows=1000,
    skipped=("LightGBM is not among the anchors.",),
)


def test_a_model_that_beats_no_anchor_is_named_on_the_first_line(front: Front) -> None:
    with_anchors = front.model_copy(update={"anchors": ANCHORS})

    first, *lines = front_table(with_anchors).split("\n")

    assert first.startswith("Not worth serving as it is: a simple model, matrix factorisation, ")
    assert first.endswith(" 0.7000, this model's at w = 1 is 0.6900, 0.0100 ± 0.0010 less.")
    before = front_table(front).split("\n")
    assert lines[: len(before) + 2] == ["", *before, ""]
    assert lines[len(before) + 2 :] == [
        "| anchor | logged auc | lead of this model | logged gauc | lead of this model |",
        "| --- | --- | --- | --- | --- |",
        "| **this model, w = 1** | 0.6900 ± 0.0020 |  | 0.5500 |  |",
        "| matrix factorisation | 0.7000 ± 0.0030 | -0.0100 ± 0.0010 | 0.5600 | -0.0100 ± 0.0020 |",
        "| age alone | 0.5000 ± 0.0040 | 0.1900 ± unknown |  |  |",
        "",
        "anchors: simple models, fitted to 1000 training rows",
        "LightGBM is not among the anchors.",
    ]


def test_a_model_that_beats_its_anchors_is_not_warned_of(front: Front) -> None:
    beaten = front.model_copy(update={"anchors": ANCHORS.model_copy(update={"beaten": True})})
    assert front_table(beaten).startswith(front_table(front))


def test_one_seed_is_singular(front: Front) -> None:
    assert "; 1 seed\n" in front_table(front.model_copy(update={"seeds": (3,)}))


def test_each_of_101_tradeoffs_has_its_own_row(front: Front) -> None:
    first = front.points[0]
    points = tuple(first.model_copy(update={"tradeoff": float(w)}) for w in np.linspace(0, 1, 101))

    rows = front_table(front.model_copy(update={"points": points})).splitlines()[2:103]

    assert len({row.split("|")[1] for row in rows}) == 101


PROBE = Probe(
    proxy="popularity",
    measure="r2",
    purified=Estimate(mean=0.1, se=0.01),
    unpurified=Estimate(mean=0.3, se=0.02),
    difference=Estimate(mean=0.2, se=0.015),
    content=Estimate(mean=0.05),
)


def test_the_table_of_probes_by_hand() -> None:
    auc = PROBE.model_copy(update={"measure": "auc"})

    assert probe_table([PROBE, auc]).splitlines()[1:] == [
        "| --- | --- | --- | --- | --- | --- |",
        "| popularity | R2 of its rank | 0.1000 ± 0.0100 | 0.3000 ± 0.0200 | 0.2000 ± 0.0150 "
        "| 0.0500 |",
        "| popularity | AUC | 0.1000 ± 0.0100 | 0.3000 ± 0.0200 | 0.2000 ± 0.0150 | 0.0500 |",
    ]


def test_a_net_without_purification_leaves_the_cells_of_its_twin_empty() -> None:
    alone = PROBE.model_copy(update={"unpurified": None, "difference": None})

    assert probe_table([alone]).splitlines()[-1] == (
        "| popularity | R2 of its rank | 0.1000 ± 0.0100 |  |  | 0.0500 |"
    )


SEGMENT = Segment(
    side="logged",
    name="cold items",
    rows=20.0,
    clicks=5.4,
    users=7.0,
    items=3.0,
    auc={"w = 0": Estimate(mean=0.6, se=0.01), "click rate": Estimate(mean=0.5)},
)


def test_the_table_of_segments_by_hand() -> None:
    other = SEGMENT.model_copy(update={"side": "unbiased", "auc": {"proxies": Estimate(mean=0.55)}})

    assert segment_table([SEGMENT, other]).splitlines() == [
        "| side | segment | rows | clicks | users | items | w = 0 | click rate | proxies |",
        "| --- | --- | --- | --- | --- | --- | --- | --- | --- |",
        "| logged | cold items | 20 | 5 | 7 | 3 | 0.6000 ± 0.0100 | 0.5000 |  |",
        "| unbiased | cold items | 20 | 5 | 7 | 3 |  |  | 0.5500 |",
    ]


MASK = Mask(
    open={"image": Estimate(mean=0.25, se=0.01), "text": Estimate(mean=0.75)},
    overlap=Estimate(mean=0.5),
    content_overlap=Estimate(mean=0.9),
    weight=Estimate(mean=0.4, se=0.02),
    weight_deviation=Estimate(mean=0.1),
    weights=(0.3, 0.5),
    moved=(0.25, 0.125),
)


def test_the_table_of_a_mask_by_hand() -> None:
    assert mask_table(MASK).splitlines() == [
        "| mask | value |",
        "| --- | --- |",
        "| open gates, image | 0.250 ± 0.010 |",
        "| open gates, text | 0.750 |",
        "| share of the top 10 that w = 0 and w = 1 have in common | 0.500 |",
        "| the same, with learned popularity taken out | 0.900 |",
        "| lambda*, mean over steps | 0.400 ± 0.020 |",
        "| lambda*, deviation over steps | 0.100 |",
        "| lambda* by tenths of the steps | 0.30 0.50 |",
        "| clicks moved, by reassignment | 0.250 0.125 |",
    ]


def ranking_curve(
    description: str,
    tradeoffs: tuple[float, ...],
    *recalls: float,
    tail: tuple[float, ...] = (0.02,),
) -> Curve:
    return Curve(
        description=description,
        tradeoffs=tradeoffs,
        logged=tuple(Estimate(mean=recall) for recall in recalls),
        unbiased=tuple(Estimate(mean=recall) for recall in tail),
        hypervolume=Estimate(mean=0.00123),
        points=tuple(
            {"recall_at_20": Estimate(mean=recall, se=0.001), "arp": Estimate(mean=12.34)}
            for recall in recalls
        ),
    )


CURVES = {
    "point": ranking_curve("one", (1.0,), 0.1),
    "curve": ranking_curve("many", (0.0, 1.0), 0.085, 0.09, tail=(0.05, 0.02)),
}


def test_the_table_of_rankers_has_the_ends_of_their_curves() -> None:
    assert ranking_table(CURVES) == "\n".join(
        [
            "| | description | w | recall_at_20 | arp | gain at most 5 % cost "
            "| gain at most 10 % cost | hypervolume |",
            "| --- | --- | --- | --- | --- | --- | --- | --- |",
            "| point | one | 1 | 0.1000 ± 0.0010 | 12.3 |  |  | 0.00123 |",
            "| curve | many | 0 | 0.0850 ± 0.0010 | 12.3 | 0.0000 (0 %), w = 1 "
            "| 0.0300 (150 %), w = 0 | 0.00123 |",
            "| curve | many | 1 | 0.0900 ± 0.0010 | 12.3 | 0.0000 (0 %), w = 1 "
            "| 0.0300 (150 %), w = 0 | 0.00123 |",
        ]
    )


def test_the_table_of_baselines_has_the_ends_of_front_and_curves(front: Front) -> None:
    half = Estimate(mean=0.5)
    point = Curve(
        description="one", tradeoffs=(1.0,), logged=(half,), unbiased=(half,), hypervolume=half
    )

    assert baseline_table(front, {"plain": point}).splitlines()[2:] == [
        "| **front** | this model | 0.6100 ± 0.0010 | 0.6900 ± 0.0020 | 0.7600 ± 0.0010 "
        "| 0.6500 ± 0.0020 | 0.01843 ± 0.00012 |",
        "| plain | one |  | 0.5000 |  | 0.5000 | 0.50000 |",
    ]


def test_a_report_has_all_its_tables_in_order(front: Front) -> None:
    skips = {"plain": CURVES["point"].model_copy(update={"points": ()})}
    parts = {"purification": (PROBE,), "segments": (SEGMENT,), "mask": MASK}
    report = Report(**front.model_dump(), baselines=skips, **parts)

    assert report_tables(report) == "\n\n".join(
        [
            front_table(front),
            baseline_table(front, skips),
            probe_table([PROBE]),
            segment_table([SEGMENT]),
            mask_table(MASK),
        ]
    )
    assert report_tables(report.model_copy(update={"baselines": CURVES})) == "\n\n".join(
        [
            front_table(front),
            ranking_table(CURVES),
            probe_table([PROBE]),
            segment_table([SEGMENT]),
            mask_table(MASK),
        ]
    )
    assert report_tables(Report(**front.model_dump(), baselines={})) == front_table(front)


def test_a_report_without_a_front_is_a_table_of_rankers() -> None:
    report = RankingReport(dataset="toy", seeds=(0,), baselines=CURVES)

    assert report_tables(report) == ranking_table(CURVES)
