from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from service.contract.attributes import ATTRIBUTES, Coding
from service.contract.manifest import Modality
from tests.datasets import MakeDataset
from tests.fitted_nets import fitted_net, fitted_painvrl
from training.data.dataset import Dataset
from training.evaluation.main_parameters import PERSON, main_parameters
from training.fitting.fitted_net import FittedNet

TRADEOFFS = np.array([0.0, 0.4, 1.0])
STATISTICS = "exposure statistics"


@pytest.fixture
def shop(make_dataset: MakeDataset) -> Dataset:
    return make_dataset(600, users=40, items=40)


def changed(fitted: FittedNet) -> dict[str, list[float]]:
    parameters = main_parameters(fitted, TRADEOFFS, 0.4).parameters
    return {p.name: [estimate.mean for estimate in p.changed] for p in parameters}


def test_every_input_is_a_parameter_and_the_most_important_comes_first(shop: Dataset) -> None:
    values = changed(fitted_net(shop))

    assert values.keys() == {PERSON, "visual", "text", "the item's record", STATISTICS}
    at_default = [means[1] for means in values.values()]
    assert at_default == sorted(at_default, reverse=True)
    assert at_default[-1] > 0


def test_statistics_count_the_more_the_greater_the_tradeoff(shop: Dataset) -> None:
    none, some, most = changed(fitted_net(shop))[STATISTICS]

    assert none == 0  # to the bit: ``decomposed`` multiplies them by w
    assert 0 < some < most


def test_what_a_net_does_not_read_changes_nothing(shop: Dataset) -> None:
    assert changed(fitted_painvrl(shop))[STATISTICS] == [0, 0, 0]


def test_the_person_is_compared_with_the_average_user(
    shop: Dataset, monkeypatch: pytest.MonkeyPatch
) -> None:
    fitted = fitted_net(shop)
    average = fitted.net.user_encoder(fitted.item_states()[:0])
    monkeypatch.setattr(fitted.net, "user_vectors", lambda users: average.expand(len(users), -1))

    assert changed(fitted)[PERSON] == [0, 0, 0]


def test_the_first_places_are_compared_as_sets(shop: Dataset) -> None:
    fitted = fitted_net(shop)
    parameters = main_parameters(fitted, np.array([1.0]), 1.0)
    users = np.unique(shop.impressions.user[fitted.split.test])
    assert parameters.users == len(users)
    (visual,) = (p for p in parameters.parameters if p.name == "visual")

    blind = replace(
        shop,
        embedding=np.c_[0 * shop.embedding[:, :3], shop.embedding[:, 3:]],
        modality_mask=np.c_[np.zeros(40, np.bool_), shop.modality_mask[:, 1]],
    )
    with torch.inference_mode():
        seen, _ = fitted.rank_catalogue(users, np.array([1.0]))
        other, _ = replace(fitted, dataset=blind).rank_catalogue(users, np.array([1.0]))
    pairs = zip(seen[0].tolist(), other[0].tolist(), strict=True)
    lost = [len(set(a) - set(b)) / 10 for a, b in pairs]
    assert visual.changed[0].mean == pytest.approx(np.mean(lost))


def test_attributes_are_described_by_their_columns(shop: Dataset) -> None:
    named = replace(
        shop,
        modalities=(shop.modalities[0], Modality(name=ATTRIBUTES, dim=2)),
        item_codings=(Coding(name="price"), Coding(name="brand")),
        user_codings=(Coding(name="age"), Coding(name="income")),
    )
    parameters = main_parameters(fitted_net(named), TRADEOFFS, 0.4).parameters

    texts = {p.name: p.description for p in parameters}
    assert texts[ATTRIBUTES] == "the item's price and brand"
    assert texts[PERSON].endswith("the person's age and income")
    assert texts[STATISTICS].startswith("the item's popularity, age and style at the time")
