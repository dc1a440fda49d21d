from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from sklearn.metrics import roc_auc_score

import training.evaluation.anchors.measure as measured
from tests.datasets import make_clicks, make_dataset
from tests.fitted_nets import fitted_net, fitted_painvrl
from training.config import load_config
from training.evaluation.anchors.measure import measure_anchors
from training.evaluation.anchors.trees import is_installed
from training.fitting.runs import RunStore

CONFIG = load_config("cp2rec", overrides=("front.bootstrap=50", "split.test=0.2"))


@pytest.fixture
def without_trees(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(measured, "is_installed", lambda: False)


@pytest.mark.usefixtures("without_trees")
def test_anchors_stand_beside_the_net_on_the_same_rows(tmp_path: Path) -> None:
    fitted = fitted_net(make_dataset(1920, users=60))

    anchors = measure_anchors(fitted, CONFIG, RunStore(tmp_path))

    test, impressions = fitted.split.test, fitted.dataset.impressions
    logit = fitted.score_rows(test, np.ones(1))[0]
    assert anchors.model.mean == pytest.approx(roc_auc_score(impressions.label[test], logit))
    names = {"item rate + user rate", "matrix factorisation"}
    assert {a.name for a in anchors.anchors} == names | {
        f"{proxy} alone" for proxy in ("popularity", "age", "style")
    }
    values = [anchor.value.mean for anchor in anchors.anchors]
    assert values == sorted(values, reverse=True)
    for anchor in anchors.anchors:
        assert anchor.lead.mean == pytest.approx(anchors.model.mean - anchor.value.mean)
        assert anchor.lead.se is not None
        assert 0.005 < anchor.lead.se < 0.2
        assert anchors.model_gauc is not None
        assert anchor.gauc is not None
        assert anchor.gauc_lead is not None
        gap = anchors.model_gauc.mean - anchor.gauc.mean
        assert anchor.gauc_lead.mean == pytest.approx(gap)
        assert anchor.gauc_lead.se is not None
        apart = np.hypot(anchors.model_gauc.se or 0, anchor.gauc.se or 0)
        assert 0 < anchor.gauc_lead.se < 2 * apart
    assert anchors.rows == len(fitted.split.train)
    assert anchors.skipped == (
        "LightGBM is not among the anchors, because it is not installed: "
        "`pip install lightgbm` adds it",
    )


@pytest.mark.usefixtures("without_trees")
def test_every_net_on_a_dataset_has_the_same_anchors_which_train_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    dataset, runs = make_dataset(1920, users=60), RunStore(tmp_path)
    first = measure_anchors(fitted_net(dataset), CONFIG, runs)

    def refuse(*_: object) -> None:
        raise AssertionError("trained again")

    monkeypatch.setattr(measured, "anchor_scores", refuse)
    slower = CONFIG.model_copy(update={"train": CONFIG.train.model_copy(update={"lr": 0.001})})
    again = measure_anchors(fitted_net(dataset), slower, runs)

    assert again.anchors == first.anchors


@pytest.mark.skipif(not is_installed(), reason="LightGBM is not installed")
def test_lightgbm_is_an_anchor_where_it_is_installed(tmp_path: Path) -> None:
    anchors = measure_anchors(fitted_net(make_dataset(1920, users=60)), CONFIG, RunStore(tmp_path))

    assert "LightGBM" in {anchor.name for anchor in anchors.anchors}
    assert anchors.skipped == ()


def test_clicks_alone_have_anchors_by_recall(tmp_path: Path) -> None:
    fitted = fitted_painvrl(make_clicks(1200, users=60))
    config = load_config("painvrl", overrides=("front.bootstrap=50",))

    anchors = measure_anchors(fitted, config, RunStore(tmp_path))

    assert anchors.metric == "recall_at_20"
    assert {anchor.name for anchor in anchors.anchors} == {"popularity", "item-knn"}
    for anchor in anchors.anchors:
        assert 0 < anchor.value.mean < 1
        assert anchor.lead.mean == pytest.approx(anchors.model.mean - anchor.value.mean)
        assert anchor.gauc is None


def test_a_catalogue_too_large_for_item_knn_says_so(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(measured, "_NEIGHBOUR_ITEMS", 59)
    config = load_config("painvrl", overrides=("front.bootstrap=50",))

    anchors = measure_anchors(
        fitted_painvrl(make_clicks(1200, users=60)), config, RunStore(tmp_path)
    )

    assert [anchor.name for anchor in anchors.anchors] == ["popularity"]
    assert anchors.skipped == (measured._TOO_MANY_ITEMS,)
