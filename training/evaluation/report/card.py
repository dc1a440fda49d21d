"""The card of a model, from its manifest and the report of its training."""

from __future__ import annotations

from collections.abc import Iterator

from service.contract.card import Card, Choice, NotMeasured, Parameters, Phrase, Reproduction
from service.contract.front import Front
from service.contract.manifest import Manifest
from training.config import Config
from training.data.split import POPULARITY_SHIFT
from training.evaluation.advice import share
from training.evaluation.anchors.outcome import shortfall
from training.evaluation.exposure_shares import COLD, LACKING
from training.evaluation.main_parameters import PERSON
from training.evaluation.report.origin import as_toml
from training.evaluation.report.page import VERDICTS
from training.evaluation.report.schema import Report
from training.evaluation.report.tables import catalogue_warnings
from training.fitting.calibration import UNCALIBRATED
from training.metrics.estimates import LEAST_USERS
from training.nets.registry import ARCHITECTURES

_UNTAKEN = "the training did not measure it"


def card_tradeoffs(front: Front, default: float) -> tuple[float, ...]:
    """Return the tradeoffs that a card compares: both ends, the recommended one, the default."""
    recommended = () if front.recommended is None else (front.recommended,)
    return tuple(sorted({0.0, *recommended, default, 1.0}))


def make_card(manifest: Manifest, report: Report) -> Card:
    """Return the card; its figures are those of ``manifest`` and ``report``."""
    return Card(
        schema_version=1,
        name=manifest.name,
        space=manifest.spaces.items,
        architecture=manifest.architecture,
        created=manifest.created,
        trained_until=manifest.trained_until,
        continued_from=manifest.continued_from,
        ranks_by=tuple(_ranks_by(manifest)),
        tradeoffs=card_tradeoffs(manifest.front, manifest.default_tradeoff),
        default_tradeoff=manifest.default_tradeoff,
        parameters=report.parameters,
        choices=tuple(_choices(manifest, report.parameters)),
        data=report.data,
        front=manifest.front,
        exposure=report.exposure,
        calibration=manifest.calibration,
        limits=tuple(_limits(manifest, report)),
        reproduction=Reproduction(
            command=None if report.origin is None else report.origin.command,
            commit=manifest.git_commit,
            changed_sources=bool(manifest.git_dirty),
            configuration=as_toml(Config.model_validate(manifest.config)),
            dataset=manifest.dataset.name,
            fingerprint=manifest.dataset.fingerprint,
        ),
        not_measured=tuple(_not_measured(manifest, report)),
    )


def _ranks_by(manifest: Manifest) -> Iterator[Phrase]:
    yield (
        "The model gives each item a score for the person who asks, and orders the items by it, "
        "the highest first; equal scores go by the item's id."
    )
    yield ARCHITECTURES[manifest.architecture].in_words
    yield (
        "Nothing but the parameters of the table enters the score: neither payment for a place nor "
        "any other property of the person or the item. Apart from the tradeoff, nobody sets how "
        "much a parameter counts: the training weighs each by how well it predicts the clicks of "
        "the log."
    )
    if manifest.moves_users:
        yield (
            "What a person clicks moves the person's next ranking at once, unless the operator "
            "has turned this off."
        )
    else:
        yield (
            "What a person with a record clicks does not move the ranking until the next training."
        )
    yield (
        "A person of whom nothing is known gets the ranking of the average user. An item that the "
        "training did not see has no record, and is ranked by the other parameters."
    )


def _choices(manifest: Manifest, parameters: Parameters | None) -> Iterator[Choice]:
    front, default = manifest.front, manifest.default_tradeoff
    yield Choice(
        name="Set the tradeoff",
        request='`POST /rank` with `"tradeoff": w`, w from 0 to 1',
        effect="w = 0 ranks by the estimate of what the person would like if all items were shown "
        "equally often, w = 1 by the estimate of what the person clicks under the exposure of the "
        "log. What each w gains and costs is measured below. A request that names no w is ranked "
        f"at w = {default:g}, unless the person or an experiment has another one.",
    )
    yield Choice(
        name="Keep a tradeoff",
        request="`PUT /users/{user_id}/tradeoff`, where the operator has turned it on",
        effect="The person's requests that name no w are ranked at it, by every model, until it is "
        "changed or deleted.",
    )
    yield Choice(
        name="Rank without profiling",
        request='`POST /rank` with `"profiling": false`',
        effect="The ranking is that of the average user, the same for everybody: it goes by the "
        "items alone. Nothing that is stored of the person is read; the id and the history of the "
        "request are neither used, "
        f"logged nor kept.{_without_person(front, default, manifest, parameters)}",
    )
    yield Choice(
        name="Delete the history",
        request="`DELETE /users/{user_id}`, unless the operator has turned live changes off",
        effect="The person's record, history, and the decisions and events that wait in the store "
        "are deleted, for all versions: from then on the person is ranked as a new one. Training "
        "data, and this version's file of user vectors, are the operator's to delete. Without a "
        "request, a history is forgotten some time after the last click, as the operator sets it.",
    )
    yield Choice(
        name="See what exposure does",
        request='`POST /rank` with `"explain": true`',
        effect="Each item comes with its score and its rank at w = 0 and at w = 1.",
    )
    yield Choice(
        name="Refuse exploration",
        request='`POST /rank` with `"explore": false`',
        effect="No place and no tradeoff is drawn at random. Without it, an operator who has "
        "turned exploration on may draw some; the answer then says so.",
    )


def _without_person(
    front: Front, default: float, manifest: Manifest, parameters: Parameters | None
) -> str:
    """Return how much of a ranking changes for the average user, in a sentence."""
    if parameters is None:
        return ""
    (person,) = (p for p in parameters.parameters if p.name == PERSON)
    at_default = card_tradeoffs(front, manifest.default_tradeoff).index(default)
    return (
        f" At w = {default:g}, {share(person.changed[at_default].mean)} of the first 10 places "
        "then have another item."
    )


def _limits(manifest: Manifest, report: Report) -> Iterator[Phrase]:
    front = manifest.front
    yield (
        "The model predicts clicks. A click is not satisfaction, and neither the truth, the "
        "legality nor the safety of an item enters the score."
    )
    yield (
        "It orders the candidates that a request names, or the whole catalogue. What becomes a "
        "candidate, and what a page shows of the order, is decided by the product."
    )
    yield (
        "All figures are from a log, before the model served anybody. Its effect on people shows "
        "in the decisions and events of the service."
    )
    if front.verdict != "clear":
        yield f"{VERDICTS[front.verdict]}: the verdict is `{front.verdict}`."
    if front.unbiased_kind == POPULARITY_SHIFT:
        yield (
            "What the person would like under uniform exposure was never observed: the unbiased "
            f"side is the {POPULARITY_SHIFT}, which is not free of the log's bias."
        )
    if front.anchors is not None and (problem := shortfall(front.anchors)) is not None:
        yield f"{problem}."
    if len(front.seeds) == 1:
        yield (
            "The model was trained once: the errors cover the choice of the test users, not the "
            "chance in a training."
        )
    for warning in catalogue_warnings(front):
        yield f"Items that training hardly saw take many places: {warning}."
    for sentence in () if report.data is None else report.data.suspicious:
        yield f"The data may be wrong: {sentence}."
    yield (
        "How well people are ranked of whom the training saw nothing was not measured, nor whether "
        "clicks are predicted as well for one group of people as for another by an attribute such "
        "as age."
    )
    if report.exposure is not None:
        yield (
            "Exposure was counted in the first 10 places of the whole catalogue; a product that "
            "ranks candidates shows other items."
        )


def _not_measured(manifest: Manifest, report: Report) -> Iterator[NotMeasured]:
    front, exposure = manifest.front, report.exposure
    if manifest.trained_until is None:
        yield NotMeasured(part="trained_until", reason="the rows of the log have no dates")
    if report.parameters is None:
        yield NotMeasured(part="parameters", reason=_UNTAKEN)
    if report.data is None:
        yield NotMeasured(part="data", reason=_UNTAKEN)
    if front.unbiased_kind == POPULARITY_SHIFT:
        yield NotMeasured(
            part="uniform_exposure",
            reason="the log has no impressions under uniform exposure; the unbiased side is the "
            f"{POPULARITY_SHIFT}",
        )
    if front.anchors is None:
        yield NotMeasured(part="anchors", reason=_UNTAKEN)
    if exposure is None:
        yield NotMeasured(part="exposure", reason=_UNTAKEN)
    else:
        names = [group.group for group in exposure.items]
        if COLD not in names:
            yield NotMeasured(
                part="cold_items", reason="every item of the catalogue has training impressions"
            )
        if not any(name.startswith(LACKING) for name in names):
            yield NotMeasured(part="missing_modalities", reason="every item has every modality")
    if exposure is None or not exposure.user_groups:
        yield NotMeasured(part="user_attributes", reason=_why_no_groups(report))
    if not front.user_groups:
        reason = "no group of users has enough test rows"
        if manifest.calibration == UNCALIBRATED:
            reason = "the score orders items and is no click probability"
        yield NotMeasured(part="calibration", reason=reason)
    if report.origin is None:
        yield NotMeasured(part="command", reason="a program trained the model, not a command")
    if manifest.git_commit is None:
        yield NotMeasured(part="commit", reason="the sources were no checkout of a repository")


def _why_no_groups(report: Report) -> str:
    if report.exposure is None:
        return _UNTAKEN
    if report.exposure.small_groups:
        return f"no group has {LEAST_USERS} users whose rankings were counted"
    return "the dataset gives no attributes of users"
