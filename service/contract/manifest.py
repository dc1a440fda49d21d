"""The manifest of an artifact: sizes, graph signatures, calibration, front and file hashes."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Any, Literal, Self

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, model_validator

from service.contract.front_metrics import describe

SCHEMA_VERSION = 2
MAX_MODALITIES = 64  # bits of a record's mask

Name = Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9_-]{0,63}$")]
Sha256 = Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]
Unit = Annotated[float, Field(ge=0.0, le=1.0)]


def _known_version(version: int) -> int:
    if version != SCHEMA_VERSION:
        raise ValueError(
            f"is {version}, this release reads {SCHEMA_VERSION}: train the model again"
        )
    return version


def _possible_name(name: str) -> str:
    if len(name) > 255 or not (name.isascii() and name.isprintable()):
        raise ValueError("is no file name of at most 255 printable ASCII characters")
    return name


SchemaVersion = Annotated[int, AfterValidator(_known_version)]
FileName = Annotated[str, AfterValidator(_possible_name)]


class _Frozen(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


class Modality(_Frozen):
    """One block of an item's ``embedding`` vector; the blocks are in manifest order."""

    name: Name
    dim: int = Field(ge=1)
    learned: bool = Field(
        default=False,
        description="True if the model learned the block by item id. An item without it is cold.",
    )


class Proxy(_Frozen):
    """A confounding proxy: an item statistic that a recommender feeds back into exposure."""

    name: Name
    kind: Literal["numeric", "categorical"] = "numeric"
    categories: tuple[str, ...] = Field(
        default=(), description="A categorical value is stored as its index in this list."
    )


class Tensor(_Frozen):
    """Name, dtype and shape of a graph's input or output; a letter is a symbolic size."""

    name: str
    dtype: Literal["float32"] = "float32"
    shape: tuple[int | str, ...]


class Graph(_Frozen):
    """The signature of one ONNX file."""

    inputs: tuple[Tensor, ...]
    outputs: tuple[Tensor, ...]


class Spaces(_Frozen):
    """Names of the key spaces in Redis. They keep the vectors of different models apart."""

    items: Name
    users: Name
    proxies: Name


class Calibration(_Frozen):
    """``score = sigmoid(slope * logit + intercept)``: monotone, so it keeps every order."""

    slope: float = Field(gt=0)
    intercept: float
    meaning: str = Field(description="Where it is a click probability, and where a rank score.")


class Estimate(_Frozen):
    """A mean and its standard error, None where that cannot be estimated."""

    mean: float
    se: float | None = Field(default=None, ge=0)


class FrontPoint(_Frozen):
    """The metrics at one tradeoff, by name; ``front_metrics`` lists them."""

    tradeoff: Unit
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


class Anchor(_Frozen):
    """A simple model that learned from the same rows, measured on logged test rows."""

    name: str
    value: Estimate
    gauc: Estimate | None = None
    lead: Estimate = Field(
        description="This model's value less the anchor's, paired by user; negative if the anchor "
        "is better."
    )


class Anchors(_Frozen):
    """The anchors of a model: a model that does not beat them is not worth serving."""

    metric: Literal["auc", "recall_at_20"] = Field(description="The metric of every value.")
    model: Estimate = Field(description="This model at tradeoff 1, on the same test rows.")
    model_gauc: Estimate | None = None
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


class Trade(_Frozen):
    """What a front gains on its unbiased side for a bounded cost on its logged side.

    Both are against w = 1, in the unit of the axis; the shares are of what w = 1 has above chance,
    null where it has nothing.
    """

    most_cost: Unit = Field(description="The largest share of the logged side that it may cost.")
    tradeoff: Unit = Field(description="The measured tradeoff with the greatest gain.")
    gain: Estimate = Field(description="unbiased(w) - unbiased(1).")
    cost: Estimate = Field(description="logged(1) - logged(w).")
    gain_share: float | None
    cost_share: float | None


class UserGroup(_Frozen):
    """A group of logged test rows, by the click rate of their user in training."""

    group: int = Field(ge=0, lt=10, description="0 holds the users who click least.")
    users: int
    rows: int
    click_rate: float = Field(description="Mean over the rows of their user's training rate.")
    predicted: float = Field(description="Mean calibrated score at w = 1.")
    observed: float = Field(description="Share of clicks.")
    gap: Estimate = Field(description="predicted - observed, with its error over users.")


class Front(_Frozen):
    """The measured accuracy-bias front of one artifact, or of several seeds of its training."""

    points: tuple[FrontPoint, ...] = Field(min_length=2)
    unbiased_kind: str = Field(
        description="Kind of unbiased traffic, for example 'uniform exposure'."
    )
    axis: str = Field(description="The metric whose two sides span the front, for example 'auc'.")
    hypervolume: Estimate
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
    verdict: Literal["clear", "weak", "none"]
    recommended: Unit | None = Field(default=None, description="The tradeoff to serve.")
    advice: str = Field(default="", description="Why that one, in words.")
    user_groups: tuple[UserGroup, ...] = Field(
        default=(), description="Calibration by group of users; none for a score without one."
    )
    diagnostic: str
    se_kind: Literal["bootstrap over users", "over seeds"]
    seeds: tuple[int, ...]
    dataset: str
    anchors: Anchors | None = Field(
        default=None,
        description="Simple models that this one has to beat; null in older artifacts.",
    )


class DatasetInfo(_Frozen):
    """The dataset that a model was trained on."""

    name: str
    fingerprint: Sha256
    users: int
    items: int
    impressions: int


class Manifest(_Frozen):
    """``manifest.json``; ``files`` maps every other file of the artifact to its SHA-256."""

    schema_version: SchemaVersion
    name: Name
    architecture: Name
    created: datetime
    git_commit: str | None
    git_dirty: bool | None = Field(
        default=None, description="Whether the sources differed from the commit; null without one."
    )
    config: dict[str, Any]
    dataset: DatasetInfo
    modalities: tuple[Modality, ...] = Field(min_length=1, max_length=MAX_MODALITIES)
    proxies: tuple[Proxy, ...]
    graphs: dict[Literal["item_encoder", "user_encoder", "ranker"], Graph] = Field(min_length=3)
    opset: int
    spaces: Spaces
    default_tradeoff: Unit
    calibration: Calibration
    parity_tolerance: float = Field(
        gt=0,
        description="Largest accepted difference of a logit, as a share of the largest logit where "
        "that is above 1.",
    )
    front: Front
    files: dict[FileName, Sha256]

    @model_validator(mode="after")
    def _graphs_fit(self) -> Self:
        """Refuse sizes that the graphs do not have: records would not fit them."""
        try:
            state, user = self.state_dim, self.user_dim
        except (IndexError, ValueError):
            raise ValueError("graphs: an encoder has no output of shape (rows, size)") from None
        signatures = graph_signatures(
            embedding=self.embedding_dim,
            modalities=len(self.modalities),
            proxies=len(self.proxies),
            state=state,
            user=user,
        )
        for name, expected in signatures.items():
            if self.graphs[name] != expected:
                raise ValueError(
                    f"graphs.{name}: inputs and outputs do not fit the modalities, the proxies "
                    "and the other graphs"
                )
        return self

    @property
    def embedding_dim(self) -> int:
        """Length D of an item's embedding: all modalities in manifest order."""
        return sum(modality.dim for modality in self.modalities)

    @property
    def state_dim(self) -> int:
        """Length S of an item state."""
        return int(self.graphs["item_encoder"].outputs[0].shape[1])

    @property
    def user_dim(self) -> int:
        """Length U of a user vector."""
        return int(self.graphs["user_encoder"].outputs[0].shape[1])

    @property
    def learned_mask(self) -> int:
        """Mask bits of the modalities that the model learned by item id."""
        return sum(1 << i for i, modality in enumerate(self.modalities) if modality.learned)


def graph_signatures(
    *, embedding: int, modalities: int, proxies: int, state: int, user: int
) -> dict[Literal["item_encoder", "user_encoder", "ranker"], Graph]:
    """Return the signatures that the graphs of every artifact must have, for the given sizes."""
    return {
        "item_encoder": Graph(
            inputs=(
                Tensor(name="embedding", shape=("N", embedding)),
                Tensor(name="modality_mask", shape=("N", modalities)),
                Tensor(name="proxies", shape=("N", proxies)),
            ),
            outputs=(Tensor(name="state", shape=("N", state)),),
        ),
        "user_encoder": Graph(
            inputs=(Tensor(name="history", shape=("L", state)),),
            outputs=(Tensor(name="user", shape=(1, user)),),
        ),
        "ranker": Graph(
            inputs=(
                Tensor(name="user", shape=(1, user)),
                Tensor(name="state", shape=("N", state)),
                Tensor(name="tradeoff", shape=(1,)),
            ),
            outputs=(Tensor(name="logit", shape=("N",)),),
        ),
    }
