"""The measured front of an artifact: what its manifest, its report and ``GET /models`` hold."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field

from service.contract.front_metrics import describe

Unit = Annotated[float, Field(ge=0.0, le=1.0)]


class Frozen(BaseModel):
    """Base of what an artifact states: immutable, finite, without unknown keys."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


class Estimate(Frozen):
    """A mean and its standard error, None where that cannot be estimated."""

    mean: float = Field(description="The value.")
    se: float | None = Field(default=None, ge=0, description="Its standard error.")


class FrontPoint(Frozen):
    """The metrics at one tradeoff, by name; ``front_metrics`` lists them."""

    tradeoff: Unit = Field(description="The measured tradeoff.")
    logged: dict[str, Estimate] = Field(
        description="On logged traffic, with positions unknown to the model. Users with one label "
        "are left out of gauc, ndcg_at_10 and recall_at_10. If the log has clicks but no skips, "
        "the metrics are recall_at_20 to matched_auc, else the others. "
        f"{describe('logged')}."
    )
    unbiased: dict[str, Estimate] = Field(
        description=f"On unbiased traffic. {describe('unbiased')}."
    )
    shown: dict[str, Estimate] = Field(
        default_factory=dict,
        description=f"Exposure in the top 10 of the whole catalogue. {describe('shown')}.",
    )


class Anchor(Frozen):
    """A simple model that learned from the same rows, measured on logged test rows."""

    name: str = Field(description="Its name.")
    value: Estimate = Field(description="Its value of the metric.")
    gauc: Estimate | None = Field(default=None, description="Its GAUC; null in older artifacts.")
    lead: Estimate = Field(
        description="This model's value less the anchor's, paired by user; negative if the anchor "
        "is better."
    )
    gauc_lead: Estimate | None = Field(
        default=None, description="The same in GAUC; null in older artifacts."
    )


class Anchors(Frozen):
    """The anchors of a model: a model that does not beat them is not worth serving."""

    metric: Literal["auc", "recall_at_20"] = Field(description="The metric of every value.")
    model: Estimate = Field(description="This model at tradeoff 1, on the same test rows.")
    model_gauc: Estimate | None = Field(
        default=None, description="This model's GAUC there; null in older artifacts."
    )
    anchors: tuple[Anchor, ...] = Field(min_length=1, description="Best first.")
    beaten: bool = Field(
        description="Whether the lead over the best anchor exceeds two standard errors."
    )
    rows: int = Field(description="Training rows that the anchors were fitted to.")
    skipped: tuple[str, ...] = Field(
        default=(), description="A sentence for each anchor that was left out."
    )

    @property
    def best(self) -> Anchor:
        """The anchor with the greatest value."""
        return self.anchors[0]


class Trade(Frozen):
    """What a front gains on its unbiased side for a bounded cost on its logged side.

    Both are against w = 1, in the unit of the axis; the shares are of what w = 1 has above chance,
    null where it has nothing.
    """

    most_cost: Unit = Field(description="The largest share of the logged side that it may cost.")
    tradeoff: Unit = Field(description="The measured tradeoff with the greatest gain.")
    gain: Estimate = Field(description="unbiased(w) - unbiased(1).")
    cost: Estimate = Field(description="logged(1) - logged(w).")
    gain_share: float | None = Field(description="The gain as a share.")
    cost_share: float | None = Field(description="The cost as a share.")


class UserGroup(Frozen):
    """A group of logged test rows, by the click rate of their user in training."""

    group: int = Field(
        ge=0,
        le=10,
        description="0 holds the users who click least, 10 those without training rows.",
    )
    users: int = Field(description="Its users.")
    rows: int = Field(description="Its test rows.")
    click_rate: float | None = Field(
        description="Mean over the rows of their user's training rate; null for group 10."
    )
    predicted: float = Field(description="Mean calibrated score at w = 1.")
    observed: float = Field(description="Share of clicks.")
    gap: Estimate = Field(description="predicted - observed, with its error over users.")


class Front(Frozen):
    """The measured accuracy-bias front of one artifact, or of several seeds of its training."""

    points: tuple[FrontPoint, ...] = Field(min_length=2, description="By tradeoff, ascending.")
    unbiased_kind: str = Field(
        description="Kind of unbiased traffic, for example 'uniform exposure'."
    )
    axis: str = Field(description="The metric whose two sides span the front, for example 'auc'.")
    hypervolume: Estimate = Field(description="The area between the front and `reference`.")
    reference: tuple[float, float] = Field(
        description="Corner (logged, unbiased) of the hypervolume, fixed before training."
    )
    spearman: dict[str, float] = Field(
        description="Rank correlation of the tradeoff with each side."
    )
    gain: dict[str, Estimate] = Field(
        description="Paired gains: logged(w=1) - logged(w=0) and unbiased(w=0) - unbiased(w=1)."
    )
    positives: dict[str, int] = Field(default={}, description="Test clicks of each side.")
    trades: tuple[Trade, ...] = Field(
        default=(), description="The greatest gains at a cost of at most 5 % and at most 10 %."
    )
    matched_gain: Estimate | None = Field(
        default=None,
        description="Matched AUC, among items of similar popularity: of w = 0 less that of w = 1.",
    )
    verdict: Literal["clear", "weak", "none"] = Field(
        description="Whether there is a front: `clear`, `weak` or `none`."
    )
    recommended: Unit | None = Field(default=None, description="The tradeoff to serve.")
    advice: str = Field(default="", description="Why that one, in words.")
    user_groups: tuple[UserGroup, ...] = Field(
        default=(), description="Calibration by group of users; none for a score without one."
    )
    diagnostic: str = Field(description="The reason for the verdict, in words.")
    se_kind: Literal["bootstrap over users", "over seeds"] = Field(
        description="Where the standard errors come from."
    )
    seeds: tuple[int, ...] = Field(description="The seeds of the trainings.")
    dataset: str = Field(description="The dataset that it was measured on.")
    anchors: Anchors | None = Field(
        default=None,
        description="Simple models that this one has to beat; null in older artifacts.",
    )
