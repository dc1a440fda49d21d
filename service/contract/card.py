"""A model's card: what it ranks by, for whom, how well, and for whom not, in plain words.

``card.json`` holds it; ``card.md`` is the same as a page, made from it. The release of a model
writes both, from what the training measured.
"""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Literal, Self

from pydantic import Field, StringConstraints, model_validator

from service.contract.dataset_summary import DatasetSummary
from service.contract.front import Estimate, Front, Frozen, Unit
from service.contract.manifest import Calibration, Name, Predecessor, Sha256

CARD = "card.json"
CARD_PAGE = "card.md"

Phrase = Annotated[str, StringConstraints(strip_whitespace=True, min_length=1)]
Part = Literal[
    "trained_until",
    "parameters",
    "data",
    "uniform_exposure",
    "anchors",
    "exposure",
    "cold_items",
    "missing_modalities",
    "user_attributes",
    "calibration",
    "command",
    "commit",
]


class Parameter(Frozen):
    """Something that the model ranks by, and how much depends on it."""

    name: Phrase = Field(description="Its name.")
    description: Phrase = Field(description="What it is.")
    changed: tuple[Estimate, ...] = Field(
        description="Share of the first 10 places that get another item if the model does not know "
        "it, at each of the card's tradeoffs."
    )


class Parameters(Frozen):
    """What the model ranks by, most important first at the default tradeoff."""

    users: int = Field(ge=1, description="Users whose rankings of the catalogue were compared.")
    parameters: tuple[Parameter, ...] = Field(min_length=1, description="The parameters.")


class Choice(Frozen):
    """A choice that a person has about the ranking."""

    name: Phrase = Field(description="What it does, in few words.")
    request: Phrase = Field(description="The request by which a product passes the choice on.")
    effect: Phrase = Field(description="What follows from it.")


class ItemExposure(Frozen):
    """A group of items, and the share of the exposure that it gets."""

    group: Phrase = Field(description="The items of the group.")
    items: int = Field(ge=1, description="Its items.")
    catalogue: Unit = Field(description="Its share of the catalogue.")
    logged: Unit = Field(description="Its share of the training impressions.")
    shown: tuple[Estimate, ...] = Field(
        description="Its share of the first 10 places of the whole catalogue, by tradeoff."
    )
    change: tuple[Estimate, ...] = Field(
        description="The same less that at tradeoff 1, paired by user."
    )


class UserExposure(Frozen):
    """A group of users by one attribute, and the popularity of what they are shown."""

    attribute: Phrase = Field(description="The attribute.")
    group: Phrase = Field(description="The value, or the range of values.")
    users: int = Field(ge=1, description="Its users.")
    popularity_percentile: tuple[Estimate, ...] = Field(
        description="Mean percentile by training clicks of what they are shown, by tradeoff."
    )
    tail_share: tuple[Estimate, ...] = Field(
        description="Share of their places with an item of the tail, by tradeoff."
    )


class Exposure(Frozen):
    """Who is shown to whom, in the first 10 places of the whole catalogue."""

    users: int = Field(ge=1, description="Test users whose rankings were counted.")
    items: tuple[ItemExposure, ...] = Field(min_length=1, description="Groups of items.")
    everyone: UserExposure = Field(description="All these users.")
    user_groups: tuple[UserExposure, ...] = Field(
        default=(), description="Groups of them by attribute."
    )
    small_groups: int = Field(
        default=0, ge=0, description="Groups of users left out for having too few users."
    )


class Reproduction(Frozen):
    """How to make the model again."""

    command: Phrase | None = Field(description="The command.")
    commit: str | None = Field(description="The commit of the sources.")
    changed_sources: bool = Field(description="Whether the sources differed from the commit.")
    configuration: Phrase = Field(description="The resolved configuration, as TOML.")
    dataset: Phrase = Field(description="The dataset.")
    fingerprint: Sha256 = Field(description="Of the dataset's files.")


class NotMeasured(Frozen):
    """A part that the card does not have, and the reason."""

    part: Part = Field(description="The part.")
    reason: Phrase = Field(description="The reason.")


class Card(Frozen):
    """The card of a model. What was not measured is null or empty, and `not_measured` says why."""

    schema_version: Literal[1] = Field(description="The version of this form.")
    name: Name = Field(description="The model.")
    space: Name = Field(
        description="Names the version by its content: it ends with a hash of the model's graphs "
        "and vectors."
    )
    architecture: Name = Field(description="The kind of net.")
    created: datetime = Field(description="When the model was made.")
    trained_until: datetime | None = Field(description="Time of the last training row.")
    continued_from: Predecessor | None = Field(
        description="The artifact that the training continued from; null: from none."
    )
    ranks_by: tuple[Phrase, ...] = Field(min_length=1, description="How it ranks, in sentences.")
    tradeoffs: tuple[Unit, ...] = Field(
        min_length=2,
        description="The tradeoffs of `parameters` and `exposure`: both ends, the recommended one "
        "and the default.",
    )
    default_tradeoff: Unit = Field(description="The tradeoff of requests that name none.")
    parameters: Parameters | None = Field(description="The main parameters.")
    choices: tuple[Choice, ...] = Field(min_length=1, description="The choices of a person.")
    data: DatasetSummary | None = Field(description="The data that it was trained on.")
    front: Front = Field(
        description="The measured front with verdict, recommended tradeoff, anchors, and "
        "calibration by group of users."
    )
    exposure: Exposure | None = Field(description="Who gains and who loses exposure.")
    calibration: Calibration = Field(description="What the score means.")
    limits: tuple[Phrase, ...] = Field(min_length=1, description="What the model is not good for.")
    reproduction: Reproduction = Field(description="How to make it again.")
    not_measured: tuple[NotMeasured, ...] = Field(description="What is missing, and why.")

    @model_validator(mode="after")
    def _complete(self) -> Self:
        """Refuse a part that is missing without a reason, and a reason for one that is there."""
        missing = {
            "trained_until": self.trained_until is None,
            "parameters": self.parameters is None,
            "data": self.data is None,
            "anchors": self.front.anchors is None,
            "exposure": self.exposure is None,
            "user_attributes": self.exposure is None or not self.exposure.user_groups,
            "calibration": not self.front.user_groups,
            "command": self.reproduction.command is None,
            "commit": self.reproduction.commit is None,
        }
        reasons = {entry.part for entry in self.not_measured}
        for part, is_missing in missing.items():
            if is_missing != (part in reasons):
                problem = "is missing without a reason" if is_missing else "is there, with a reason"
                raise ValueError(f"{part} {problem} in not_measured")
        points = len(self.tradeoffs)
        for name, estimates in self._by_tradeoff():
            if len(estimates) != points:
                raise ValueError(f"{name}: {len(estimates)} values for {points} tradeoffs")
        return self

    def _by_tradeoff(self) -> list[tuple[str, tuple[Estimate, ...]]]:
        """Return all values by tradeoff, with the names of their groups."""
        values = []
        if self.parameters is not None:
            values += [(p.name, p.changed) for p in self.parameters.parameters]
        if self.exposure is not None:
            for items in self.exposure.items:
                values += [(items.group, items.shown), (items.group, items.change)]
            for users in (self.exposure.everyone, *self.exposure.user_groups):
                values += [(users.group, users.popularity_percentile)]
                values += [(users.group, users.tail_share)]
        return values
