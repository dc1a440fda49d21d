"""Every artifact has a card: complete, in words, with the figures of manifest and measurements."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from service.contract.attributes import Coding
from service.contract.card import CARD, CARD_PAGE, Card
from service.contract.files import sha256
from service.contract.front import Front
from service.contract.manifest import Manifest
from tests.conftest import World
from tests.contract.architectures import config_of, small
from tests.datasets import make_clicks, make_dataset
from tests.fitted_nets import fitted_net, fitted_painvrl
from tests.manifest_document import manifest_document
from training.config import FrontOptions
from training.data.dataset import Dataset
from training.data.summary import summarise
from training.evaluation.exposure_shares import exposure_shares
from training.evaluation.main_parameters import main_parameters
from training.evaluation.ranking_front import measure_ranking_front
from training.evaluation.report.card import card_tradeoffs, make_card
from training.evaluation.report.card_page import card_page, cell
from training.evaluation.report.origin import as_toml
from training.evaluation.report.schema import Report
from training.fitting.fitted_net import FittedNet
from training.nets.base import NetOptions
from training.nets.registry import configurable

HEADINGS = (
    "What the model ranks by", "Main parameters", "What a person can choose",
    "What it was trained on", "How well it ranks", "Compared with simple models",
    "Who gains and who loses exposure", "What groups of users are shown", "What the score means",
    "Limits", "How to reproduce",
)  # fmt: skip
CONSTANTS = {"0.5"}  # in the words of the page


@pytest.fixture(scope="module")
def shop() -> Dataset:
    """Forty users, five of whom live in the south."""
    dataset = make_dataset(600, users=40, items=30)
    south = np.arange(40) < 5
    region = Coding(name="region", categories=("north|west", "south"))
    attributes = np.c_[~south, south].astype(np.float32)
    return replace(dataset, user_attributes=attributes, user_codings=(region,))


def card_of(fitted: FittedNet, options: NetOptions, front: Front | None = None) -> Card:
    """Return the card of an untrained net, on a front by hand unless one is given."""
    document = manifest_document()
    document |= {"architecture": options.architecture, "config": config_of(options).model_dump()}
    if front is not None:
        document |= {"front": front.model_dump(), "default_tradeoff": front.recommended}
    manifest = Manifest.model_validate(document)
    tradeoffs = np.array(card_tradeoffs(manifest.front, manifest.default_tradeoff))
    report = Report(
        **manifest.front.model_dump(),
        baselines={},
        parameters=main_parameters(fitted, tradeoffs, manifest.default_tradeoff),
        exposure=exposure_shares(fitted, tradeoffs),
        data=summarise(fitted.dataset, fitted.split),
    )
    return make_card(manifest, report)


@pytest.fixture(params=configurable())
def card(request: pytest.FixtureRequest, shop: Dataset) -> Card:
    options = small(request.param)
    return card_of(fitted_net(shop, options), options)


@pytest.fixture(scope="module")
def trained(world: World) -> Card:
    return Card.model_validate_json((world.artifact.path / CARD).read_bytes())


def leaves(value: Any) -> Iterator[Any]:
    """Yield all numbers and texts of a document."""
    if isinstance(value, dict | list):
        for part in value.values() if isinstance(value, dict) else value:
            yield from leaves(part)
    elif not isinstance(value, bool) and value is not None:
        yield value


def assert_says_what_it_holds(card: Card, page: str) -> None:
    """Compare a page with its card: each part, no gap, and no figure that the card lacks."""
    assert re.findall(r"^###? (.*)$", page, re.MULTILINE) == list(HEADINGS)
    assert not re.search(r"\b(None|nan|inf|null|True|False)\b", page)
    words = page.partition("\n## How to reproduce")[0]
    assert not re.search(r"[,:(] *$|\(\)|``|\.\. |^- *$| ,|^#.*\n+#", words, re.MULTILINE)
    held = list(leaves(card.model_dump(mode="json")))
    rest = page
    texts = {text for text in held if isinstance(text, str) and len(text) > 3}
    for text in sorted(texts, key=len, reverse=True):
        rest = rest.replace(text.strip(), " ").replace(text.replace("|", r"\|"), " ")
    numbers = {abs(number) for number in held if not isinstance(number, str)}
    said = {f"{v:g}" for v in numbers} | {f"{v:.{d}f}" for v in numbers for d in range(1, 6)}
    said |= {f"{100 * v:.1f}" for v in numbers}
    figures = set(re.findall(r"\d+\.\d+", rest))
    assert figures
    assert figures - said - CONSTANTS == set()


def test_each_architecture_has_a_complete_card(card: Card) -> None:
    page = card_page(card)

    assert_says_what_it_holds(card, page)
    assert Card.model_validate_json(card.model_dump_json()) == card
    assert card.parameters is not None
    assert {p.name for p in card.parameters.parameters} >= {"the person", "visual", "text"}
    for entry in card.not_measured:
        assert entry.reason in page
    for sentence in (*card.ranks_by, *card.limits, *(choice.effect for choice in card.choices)):
        assert sentence in page
        assert sentence.endswith(".")
    reasons = {entry.part for entry in card.not_measured}
    assert reasons >= {"command", "commit", "anchors", "calibration"}
    assert r"| region | north\|west |" in page
    assert "Left out, with too few users: 1 of the groups." in page


def test_clicks_alone_have_a_card_too() -> None:
    fitted = fitted_painvrl(make_clicks())
    front = measure_ranking_front(
        fitted, FrontOptions(points=3, reference=(0.0, 0.0), bootstrap=20), seed=0
    )
    card = card_of(fitted, small("painvrl"), front)

    page = card_page(card)

    assert_says_what_it_holds(card, page)
    assert "logged recall_at_20" in page
    assert "Under uniform exposure: not measured, because the log has no impressions" in page


def test_the_articles_of_the_law_are_answered(trained: Card) -> None:
    asked = " ".join(f"{choice.request} {choice.effect}" for choice in trained.choices)
    for answer in ('"tradeoff": w', '"profiling": false', "`DELETE /users/{user_id}`", "w = 0.5"):
        assert answer in asked


def test_a_training_writes_its_card_and_hashes_it(world: World, trained: Card) -> None:
    page = (world.artifact.path / CARD_PAGE).read_text(encoding="utf-8")

    assert page == card_page(trained)
    assert_says_what_it_holds(trained, page)
    for name in (CARD, CARD_PAGE):
        assert world.artifact.manifest.files[name] == sha256(world.artifact.path / name)


def test_its_figures_are_those_of_the_manifest_and_the_training(
    world: World, trained: Card
) -> None:
    manifest, fitted = world.artifact.manifest, world.fitted
    assert trained.front == manifest.front
    assert trained.calibration == manifest.calibration
    assert trained.default_tradeoff == manifest.default_tradeoff == 0.5
    assert trained.data == summarise(world.dataset, fitted.split)
    assert trained.reproduction.configuration.strip() == as_toml(world.config).strip()
    assert trained.reproduction.fingerprint == manifest.dataset.fingerprint
    assert (trained.reproduction.commit, trained.reproduction.changed_sources) == ("5" * 40, True)
    tradeoffs = np.array(trained.tradeoffs)
    assert set(tradeoffs) == {0.0, 0.5, 1.0, manifest.front.recommended}
    assert trained.exposure == exposure_shares(fitted, tradeoffs)
    assert trained.parameters is not None
    assert trained.parameters.parameters[0].name == "the person"


def test_who_is_shown_adds_up_to_the_front(trained: Card) -> None:
    exposure, shown = trained.exposure, {p.tradeoff: p.shown for p in trained.front.points}
    assert exposure is not None
    for t, w in enumerate(trained.tradeoffs):
        for measure in ("tail_share", "popularity_percentile"):
            everyone = getattr(exposure.everyone, measure)[t]
            assert everyone.mean == pytest.approx(shown[w][measure].mean)
        deciles = [g for g in exposure.items if g.group.startswith("popularity decile")]
        tail = [g.shown[t].mean for g in deciles if int(g.group.split()[2]) <= 8]
        assert sum(tail) == pytest.approx(shown[w]["tail_share"].mean)


@pytest.mark.parametrize("part", ["parameters", "exposure", "data"])
def test_a_part_may_be_missing_only_with_a_reason(trained: Card, part: str) -> None:
    document = trained.model_dump()
    kept = [entry for entry in document["not_measured"] if entry["part"] != "user_attributes"]
    with pytest.raises(ValueError, match=f"{part} is missing without a reason in not_measured"):
        Card.model_validate(document | {part: None})
    reason = {"part": part, "reason": "nobody looked"}
    with pytest.raises(ValueError, match=f"{part} is there, with a reason"):
        Card.model_validate(document | {"not_measured": [*document["not_measured"], reason]})
    with pytest.raises(ValueError, match="user_attributes is missing without a reason"):
        Card.model_validate(document | {"not_measured": kept})


def test_a_report_without_measurements_gives_a_card_that_says_so(
    document: dict[str, Any], world: World
) -> None:
    config = world.config.model_dump()
    manifest = Manifest.model_validate(document | {"config": config})
    card = make_card(manifest, Report(**manifest.front.model_dump(), baselines={}))

    page = card_page(card)

    assert page.count("Not measured: the training did not measure it.") == 4
    assert card.limits


def test_names_of_a_dataset_break_no_table() -> None:
    assert cell("a|b\n<script>") == r"a\|b &lt;script>"
