from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import replace

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from sklearn.metrics import log_loss, roc_auc_score
from training.fitting.scoring import score_rows

from service.contract.manifest import Calibration, Estimate, Front, FrontPoint
from training.config import FrontOptions
from training.data.dataset import Dataset
from training.data.split import Split, unbiased_rows
from training.evaluation.front import measure_front, pool_fronts
from training.evaluation.verdict import diagnose, verdict
from training.fitting import scoring
from training.fitting.batches import training_tables
from training.fitting.calibration import calibrate, exposure_scale
from training.nets.base import with_learned
from training.nets.cp2rec.decomposed import Cp2recDecomposed, Cp2recOptions

MakeDataset = Callable[..., Dataset]

OPTIONS = FrontOptions(points=3, reference=(0.5, 0.5), bootstrap=20)
CALIBRATION = Calibration(slope=0.5, intercept=-0.25, meaning="test")
RISING = {"logged": 1.0, "unbiased": -1.0}


def split_of(dataset: Dataset) -> Split:
    rows, uniform = np.arange(len(dataset.impressions)), dataset.impressions.uniform
    logged = rows[~uniform]
    train, validation, test = np.split(logged, [len(logged) // 2, 2 * len(logged) // 3])
    return Split(train, validation, test, rows[uniform])


@pytest.fixture
def net(dataset: Dataset) -> Cp2recDecomposed:
    """An untrained net with every parameter away from where it starts."""
    torch.manual_seed(0)
    tables = training_tables(dataset, split_of(dataset).train)
    made = Cp2recDecomposed(tables, Cp2recOptions(dim=4, proxy_bins=4))
    with torch.no_grad():
        for parameter in made.parameters():
            parameter.add_(0.3 * torch.randn_like(parameter))
    return made


KNOWN = torch.arange(10) != 4


# Scoring


def test_rows_score_as_the_served_graphs_do(dataset: Dataset, net: Cp2recDecomposed) -> None:
    rows = np.array([7, 200, 31, 8, 7])
    net.train()  # scoring must not drop proxies

    logits = score_rows(net, dataset, KNOWN, rows, np.array([0.0, 0.3, 1.0]))

    assert logits.shape == (3, 5)
    impressions = dataset.impressions
    with torch.no_grad():
        for column, row in enumerate(rows):
            item = impressions.item[[row]]
            state = net.item_encoder(
                *with_learned(
                    torch.from_numpy(dataset.embedding[item]),
                    torch.from_numpy(dataset.modality_mask[item]).float(),
                    net.learned_items()[item],
                    KNOWN[item],
                ),
                torch.from_numpy(impressions.proxies[[row]]),  # as of the row's time
            )
            user = net.user_vectors()[impressions.user[[row]]]
            for t, w in enumerate((0.0, 0.3, 1.0)):
                expected = net.ranker(user, state, torch.tensor([w])).item()
                assert logits[t, column] == pytest.approx(expected, abs=1e-5)


def test_scores_do_not_depend_on_the_chunks(
    dataset: Dataset, net: Cp2recDecomposed, monkeypatch: pytest.MonkeyPatch
) -> None:
    rows, tradeoffs = np.arange(240), np.array([0.0, 1.0])
    whole = score_rows(net, dataset, KNOWN, rows, tradeoffs)
    monkeypatch.setattr(scoring, "_CHUNK_ROWS", 7)

    np.testing.assert_allclose(
        score_rows(net, dataset, KNOWN, rows, tradeoffs), whole, rtol=0, atol=1e-6
    )


def test_a_cold_item_scores_without_what_was_learned(
    dataset: Dataset, net: Cp2recDecomposed
) -> None:
    rows = np.flatnonzero(dataset.impressions.item == 4)
    before = score_rows(net, dataset, KNOWN, rows, np.array([0.5]))
    with torch.no_grad():
        net.item_bias.weight[4] += 100.0

    after = score_rows(net, dataset, KNOWN, rows, np.array([0.5]))
    warm = score_rows(net, dataset, torch.ones(10, dtype=torch.bool), rows, np.array([0.5]))

    np.testing.assert_array_equal(after, before)
    assert (warm > 50).all()


# Calibration


def clicks_at(*rates: float) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Labels in exactly these rates, 10 rows each, and the true logit of every row."""
    label = np.concatenate([np.arange(10) < round(10 * rate) for rate in rates])
    logit = np.repeat([math.log(rate / (1 - rate)) for rate in rates], 10)
    return label.astype(np.float64), logit


@pytest.mark.parametrize(("slope", "intercept"), [(1.0, 0.0), (2.0, 1.0), (0.5, -0.75)])
def test_calibration_recovers_slope_and_intercept(slope: float, intercept: float) -> None:
    label, truth = clicks_at(0.1, 0.2, 0.3, 0.5, 0.6, 0.8)

    fit = calibrate(label, (truth - intercept) / slope)

    assert fit.slope == pytest.approx(slope, abs=1e-3)
    assert fit.intercept == pytest.approx(intercept, abs=1e-3)
    assert "probability at tradeoff 1" in fit.meaning


def test_a_model_worse_than_chance_keeps_its_order() -> None:
    label, truth = clicks_at(0.1, 0.5, 0.8)

    fit = calibrate(label, -truth)

    assert (fit.slope, fit.intercept, fit.meaning) == (1.0, 0.0, "a rank score everywhere")


def test_a_constant_score_is_not_calibrated() -> None:
    assert calibrate(np.array([0.0, 1.0, 0.0, 1.0]), np.zeros(4)).slope == 1.0


# The unbiased axis


def test_uniformly_exposed_rows_are_the_unbiased_axis(dataset: Dataset) -> None:
    rows, kind = unbiased_rows(dataset, split_of(dataset))

    assert rows.tolist() == list(range(180, 240))
    assert kind == "uniform exposure"


def test_the_dataset_says_what_its_unbiased_rows_are(dataset: Dataset) -> None:
    description = dataset.description.model_copy(update={"unbiased_kind": "all pairs rated"})

    _, kind = unbiased_rows(replace(dataset, description=description), split_of(dataset))

    assert kind == "all pairs rated"


def test_without_them_the_less_popular_test_rows_stand_in(make_dataset: MakeDataset) -> None:
    item = np.array([0, 0, 0, 1, 1, 2, 3, 3, 0, 1, 2, 4, 1])
    dataset = make_dataset(13, item=item, uniform=np.zeros(13, bool))
    none = np.empty(0, np.int64)

    rows, kind = unbiased_rows(dataset, Split(np.arange(8), none, np.arange(8, 13), none))

    assert rows.tolist() == [9, 10, 11, 12]  # counts of the test rows: 3, 2, 1, 0, 2
    assert kind == "popularity<=median"


# The verdict


@pytest.mark.parametrize(
    ("gain", "se", "spearman", "expected"),
    [
        ((0.02, 0.03), (0.001, 0.001), (1.0, -1.0), "clear"),
        ((0.005, 0.005), (0.001, 0.001), (0.9, -0.9), "clear"),
        ((0.0049, 0.03), (0.001, 0.001), (1.0, -1.0), "weak"),
        ((0.02, 0.0049), (0.001, 0.001), (1.0, -1.0), "weak"),
        ((0.02, 0.03), (0.001, 0.001), (0.89, -1.0), "weak"),
        ((0.02, 0.03), (0.001, 0.001), (1.0, -0.89), "weak"),
        ((0.02, 0.03), (0.011, 0.001), (1.0, -1.0), "none"),
        ((0.02, 0.03), (0.001, 0.016), (1.0, -1.0), "none"),
        ((0.02, 0.03), (0.010, 0.001), (1.0, -1.0), "none"),  # exactly 2 standard errors
        ((-0.02, 0.03), (0.001, 0.001), (1.0, -1.0), "none"),
        ((0.0, 0.0), (0.0, 0.0), (0.0, 0.0), "none"),
        ((0.02, 0.03), (math.nan, math.nan), (1.0, -1.0), "none"),
        ((0.02, 0.03), (0.001, math.nan), (1.0, -1.0), "none"),
        ((math.nan, 0.03), (0.001, 0.001), (1.0, -1.0), "none"),
    ],
)
def test_verdict(
    gain: tuple[float, float],
    se: tuple[float, float],
    spearman: tuple[float, float],
    expected: str,
) -> None:
    table = dict(zip(("logged", "unbiased"), spearman, strict=True))

    assert verdict(np.array(gain), np.array(se), table) == expected


# The diagnostic


def test_the_diagnostic_gives_each_proxy_alone_on_both_axes(make_dataset: MakeDataset) -> None:
    nan = math.nan
    label = np.array([1, 0, 1, 0, 1, 0, 1, 0], np.float32)
    proxies = np.array(
        [  # popularity ranks logged clicks first, unbiased ones last; age is known of one row
            [9, nan, 0], [2, nan, 1], [8, 1, 0], [nan, nan, 0],
            [1, nan, 0], [5, nan, nan], [2, nan, 1], [6, nan, nan],
        ],
        np.float32,
    )  # fmt: skip
    dataset = make_dataset(8, label=label, proxies=proxies)

    # Click rates on logged rows: style 0 two of 3, style 1 none of 1, unknown none of 0.
    # Unbiased clicks have rates 2/3 and 0, skips 0 and 0: 3 of 4 pairs with ties as halves.
    assert diagnose(dataset, np.arange(4), np.arange(4, 8)) == (
        "popularity alone: AUC 1.000 logged, 0.000 unbiased; "
        "age alone: AUC nan logged, nan unbiased; "
        "style alone: AUC 0.750 logged, 0.750 unbiased"
    )


def test_without_proxies_nothing_separates_the_heads(dataset: Dataset) -> None:
    description = dataset.description.model_copy(update={"proxies": ()})

    text = diagnose(replace(dataset, description=description), np.arange(5), np.arange(5))

    assert text.startswith("the dataset has no proxies")


# Measuring


def test_a_measured_front_agrees_with_scikit_learn(dataset: Dataset, net: Cp2recDecomposed) -> None:
    split = split_of(dataset)

    front = measure_front(net, dataset, KNOWN, split, CALIBRATION, OPTIONS, seed=7)

    assert [point.tradeoff for point in front.points] == [0.0, 0.5, 1.0]
    auc: dict[str, list[float]] = {"logged": [], "unbiased": []}
    for axis, rows in (("logged", split.test), ("unbiased", split.unbiased)):
        label, user = dataset.impressions.label[rows], dataset.impressions.user[rows]
        logits = score_rows(net, dataset, KNOWN, rows, np.array([0.0, 0.5, 1.0]))
        for point, logit in zip(front.points, logits, strict=True):
            table: dict[str, Estimate] = getattr(point, axis)
            probability = 1 / (1 + np.exp(0.25 - 0.5 * logit.astype(np.float64)))
            both = [u for u in np.unique(user) if len(np.unique(label[user == u])) == 2]
            by_user = [roc_auc_score(label[user == u], logit[user == u]) for u in both]
            weight = [int((user == u).sum()) for u in both]
            auc[axis].append(roc_auc_score(label, logit))
            assert table["auc"].mean == pytest.approx(auc[axis][-1], abs=1e-9)
            assert table["gauc"].mean == pytest.approx(np.average(by_user, weights=weight))
            assert table["logloss"].mean == pytest.approx(log_loss(label, probability))
            assert table["auc"].se is not None
            assert 0.01 < table["auc"].se < 0.2
            assert {"ndcg_at_10", "recall_at_10"} <= table.keys()
            assert ("ece" in table) == ("auc_with_position" in table) == (axis == "logged")
    train = split.train[dataset.impressions.label[split.train] == 1]
    clicks = np.bincount(dataset.impressions.item[train], minlength=10)
    for point in front.points:  # a catalogue of ten is shown whole
        assert point.shown["arp"].mean == pytest.approx(clicks.mean())
        assert point.shown["coverage"].mean == 1.0
    logged, unbiased = auc["logged"], auc["unbiased"]
    assert front.gain["logged"].mean == pytest.approx(logged[2] - logged[0])
    assert front.gain["unbiased"].mean == pytest.approx(unbiased[0] - unbiased[2])
    assert front.unbiased_kind == "uniform exposure"
    assert (front.seeds, front.dataset, front.reference) == ((7,), "toy", (0.5, 0.5))
    assert front.se_kind == "bootstrap over users"
    assert "popularity alone" in front.diagnostic


def test_errors_are_those_of_redrawn_users(dataset: Dataset, net: Cp2recDecomposed) -> None:
    rows = split_of(dataset).test
    label, user = dataset.impressions.label[rows], dataset.impressions.user[rows]
    logit = score_rows(net, dataset, KNOWN, rows, np.array([0.0]))[0]
    probability = 1 / (1 + np.exp(0.25 - 0.5 * logit.astype(np.float64)))

    front = measure_front(net, dataset, KNOWN, split_of(dataset), CALIBRATION, OPTIONS, seed=7)

    present = np.unique(user)
    chance = np.full(len(present), 1 / len(present))
    values: dict[str, list[float]] = {"auc": [], "gauc": [], "logloss": []}
    for draw in np.random.default_rng(7).multinomial(len(present), chance, OPTIONS.bootstrap):
        drawn = [np.flatnonzero(user == u) for u in np.repeat(present, draw)]
        every = np.concatenate(drawn)
        both = [one for one in drawn if len(np.unique(label[one])) == 2]
        by_user = [roc_auc_score(label[one], logit[one]) for one in both]
        values["auc"].append(roc_auc_score(label[every], logit[every]))
        values["logloss"].append(log_loss(label[every], probability[every]))
        values["gauc"].append(np.average(by_user, weights=[len(one) for one in both]))
    for name, sample in values.items():
        se = front.points[0].logged[name].se
        assert se == pytest.approx(np.std(sample, ddof=1), rel=1e-4), name


def test_a_front_is_measured_again_alike(dataset: Dataset, net: Cp2recDecomposed) -> None:
    split = split_of(dataset)

    first, again, other = (
        measure_front(net, dataset, KNOWN, split, CALIBRATION, OPTIONS, seed) for seed in (7, 7, 8)
    )

    assert first == again
    assert [point.logged["auc"].mean for point in other.points] == [
        point.logged["auc"].mean for point in first.points
    ]
    assert other.gain["logged"].se != first.gain["logged"].se


def test_an_error_that_few_users_cannot_give_is_unknown(
    dataset: Dataset, net: Cp2recDecomposed
) -> None:
    label = dataset.impressions.label.copy()
    clicks = split_of(dataset).unbiased
    label[clicks] = dataset.impressions.user[clicks] == dataset.impressions.user[clicks[0]]
    one_clicker = replace(dataset, impressions=replace(dataset.impressions, label=label))

    front = measure_front(net, one_clicker, KNOWN, split_of(dataset), CALIBRATION, OPTIONS, seed=0)

    assert front.points[0].logged["auc"].se is not None
    assert front.points[0].unbiased["auc"].se is None
    assert front.gain["unbiased"].se is None
    assert front.hypervolume.se is None
    assert front.verdict == "none"


# Pooling


def hand_made(logged: Sequence[float], unbiased: Sequence[float], seed: int) -> Front:
    points = tuple(
        FrontPoint(
            tradeoff=index / (len(logged) - 1),
            logged={"auc": Estimate(mean=x, se=0.5)},
            unbiased={"auc": Estimate(mean=y, se=0.5)},
            shown={"arp": Estimate(mean=100 * x)}
            | ({"rare": Estimate(mean=1.0)} if seed < 5 else {}),
        )
        for index, (x, y) in enumerate(zip(logged, unbiased, strict=True))
    )
    return Front(
        points=points,
        unbiased_kind="uniform exposure",
        axis="auc",
        hypervolume=Estimate(mean=9.0, se=9.0),
        reference=(0.5, 0.5),
        spearman=RISING,
        gain={"logged": Estimate(mean=9.0), "unbiased": Estimate(mean=9.0)},
        verdict="none",
        diagnostic="as measured",
        se_kind="bootstrap over users",
        seeds=(seed,),
        dataset="toy",
    )


def test_fronts_pool_over_seeds() -> None:
    fronts = [
        hand_made((0.60, 0.66, 0.70), (0.80, 0.76, 0.70), seed=3),
        hand_made((0.62, 0.66, 0.70), (0.80, 0.76, 0.68), seed=4),
        hand_made((0.64, 0.66, 0.70), (0.80, 0.76, 0.66), seed=5),
    ]

    pooled = pool_fronts(fronts, OPTIONS)

    first, middle, last = pooled.points
    assert first.logged["auc"].mean == pytest.approx(0.62)
    assert first.logged["auc"].se == pytest.approx(0.02 / math.sqrt(3))
    assert middle.logged["auc"].se == pytest.approx(0.0, abs=1e-12)
    assert last.unbiased["auc"].mean == pytest.approx(0.68)
    assert last.unbiased["auc"].se == pytest.approx(0.02 / math.sqrt(3))
    assert first.shown.keys() == {"arp"}  # what only some seeds have cannot be pooled
    assert first.shown["arp"].mean == pytest.approx(62.0)
    assert first.shown["arp"].se == pytest.approx(2 / math.sqrt(3))
    assert pooled.gain["logged"].mean == pytest.approx(0.08)  # .10, .08, .06
    assert pooled.gain["logged"].se == pytest.approx(0.02 / math.sqrt(3))
    assert pooled.gain["unbiased"].mean == pytest.approx(0.12)  # .10, .12, .14
    areas = [  # staircases above (.5, .5), from the right
        0.2 * 0.20 + 0.16 * 0.06 + 0.10 * 0.04,
        0.2 * 0.18 + 0.16 * 0.08 + 0.12 * 0.04,
        0.2 * 0.16 + 0.16 * 0.10 + 0.14 * 0.04,
    ]
    assert pooled.hypervolume.mean == pytest.approx(sum(areas) / 3)
    assert pooled.hypervolume.se == pytest.approx(np.std(areas, ddof=1) / math.sqrt(3))
    assert pooled.spearman == pytest.approx(RISING)
    assert (pooled.verdict, pooled.seeds) == ("clear", (3, 4, 5))
    assert (pooled.se_kind, pooled.diagnostic) == ("over seeds", "as measured")


def test_gains_are_paired_by_seed() -> None:
    # The levels differ by .2 between the seeds, the gains by nothing.
    fronts = [
        hand_made((0.50, 0.55, 0.58), (0.80, 0.76, 0.70), seed=0),
        hand_made((0.70, 0.75, 0.78), (0.60, 0.56, 0.50), seed=1),
    ]

    pooled = pool_fronts(fronts, OPTIONS)

    assert pooled.points[0].logged["auc"].se == pytest.approx(0.1)
    assert pooled.gain["logged"].se == pytest.approx(0.0, abs=1e-12)
    assert pooled.verdict == "clear"


def test_one_seed_has_no_error_and_no_verdict() -> None:
    front = hand_made((0.60, 0.66, 0.70), (0.80, 0.76, 0.70), seed=3)

    pooled = pool_fronts([front], OPTIONS)

    assert pooled.points[0].logged["auc"] == Estimate(mean=0.60, se=None)
    assert pooled.gain["logged"].se is None
    assert pooled.hypervolume.se is None
    assert pooled.verdict == "none"


def test_a_flat_curve_is_not_monotone() -> None:
    fronts = [hand_made((0.6, 0.6, 0.6), (0.8, 0.7, 0.6), seed) for seed in range(2)]

    assert pool_fronts(fronts, OPTIONS).spearman == {
        "logged": 0.0,
        "unbiased": pytest.approx(-1.0),
    }


@pytest.mark.parametrize("worth", [0.0, 0.5, 1.6])
def test_the_worth_of_the_exposure_term_is_recovered(worth: float) -> None:
    rng = np.random.default_rng(0)
    debiased, term = rng.normal(size=(2, 60_000))
    label = (rng.random(60_000) < 1 / (1 + np.exp(-0.7 * (debiased + worth * term)))).astype("f4")
    assert exposure_scale(label, debiased, debiased + term) == pytest.approx(worth, abs=0.1)


def test_the_worth_of_the_exposure_term_stays_in_bounds() -> None:
    rng = np.random.default_rng(0)
    score, term = rng.normal(size=(2, 4_000))
    click = (rng.random(4_000) < 1 / (1 + np.exp(-score - 5 * term))).astype("f4")
    assert exposure_scale(click, score, score + term) == 2.0
    assert exposure_scale(click, score, score - term) == 0.0
    assert exposure_scale(click, score, score) == 1.0  # no term to judge
    assert exposure_scale(1 - click, score, score + term) == 0.0
