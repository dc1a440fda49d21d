"""The manifest: everything a reader must know about an artifact before touching a graph."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field

SCHEMA_VERSION = 1

Name = Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9_-]{0,63}$")]
Sha256 = Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]
Unit = Annotated[float, Field(ge=0.0, le=1.0)]


class _Frozen(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


class Modality(_Frozen):
    """One block of an item's ``embedding`` vector; blocks follow each other in manifest order."""

    name: Name
    dim: int = Field(ge=1)
    learned: bool = Field(
        default=False,
        description="True for what the model learned per item id. An item without it is cold.",
    )


class Proxy(_Frozen):
    """A confounding proxy: an item statistic that a recommender feeds back into exposure."""

    name: Name
    kind: Literal["numeric", "categorical"] = "numeric"
    categories: tuple[str, ...] = Field(
        default=(), description="A categorical value travels as its index in this list."
    )


class Tensor(_Frozen):
    """Name, dtype and shape of a graph's input or output; symbolic sizes are letters."""

    name: str
    dtype: Literal["float32"] = "float32"
    shape: tuple[int | str, ...]


class Graph(_Frozen):
    """The signature of one ONNX file."""

    inputs: tuple[Tensor, ...]
    outputs: tuple[Tensor, ...]


class Spaces(_Frozen):
    """Names of the key spaces in Redis, so that no model reads another model's vectors."""

    items: Name
    users: Name
    proxies: Name


class Calibration(_Frozen):
    """``score = sigmoid(slope * logit + intercept)``; monotone, so it never changes an order."""

    slope: float = Field(gt=0)
    intercept: float
    meaning: str


class Estimate(_Frozen):
    """A mean and its standard error (None where it cannot be estimated)."""

    mean: float
    se: float | None = Field(default=None, ge=0)


class FrontPoint(_Frozen):
    """What was measured at one tradeoff, by metric name."""

    tradeoff: Unit
    logged: dict[str, Estimate] = Field(
        description="On logged traffic as served, the position unknown to the model: auc, logloss "
        "(nats) and ece (expected calibration error) of the calibrated score; gauc (by rows), "
        "ndcg_at_10 and recall_at_10 of each user's own rows, users with one label left out. "
        "auc_with_position is the AUC once the model knows the position. Of data that hold clicks "
        "alone, of the whole catalogue ranked for each user: recall_at_20, ndcg_at_20, "
        "ndcg_at_20_hit (normalised by the hits alone), cold_recall_at_20 (of items without a "
        "training click), matched_auc (against items of like popularity)."
    )
    unbiased: dict[str, Estimate] = Field(
        description="On unbiased traffic: the same, without ece and auc_with_position; of data "
        "that hold clicks alone, recall_at_20."
    )
    shown: dict[str, Estimate] = Field(
        default_factory=dict,
        description="Of the top 10 of the whole catalogue: arp (mean training clicks of an item), "
        "popularity_percentile (their percentile, 50 = the median item), tail_share (of places, "
        "to the 80 % least clicked items), exposure_gini (of places over items), coverage (of "
        "items, shown to anyone).",
    )


class Front(_Frozen):
    """The measured accuracy-bias front of one artifact, or of several seeds of its training."""

    points: tuple[FrontPoint, ...] = Field(min_length=2)
    unbiased_kind: str = Field(description="What 'unbiased' means, e.g. 'uniform exposure'.")
    axis: str = Field(description="The metric whose two values span the front, e.g. 'auc'.")
    hypervolume: Estimate
    reference: tuple[float, float] = Field(description="(logged, unbiased) corner, fixed before.")
    spearman: dict[str, float] = Field(description="Rank correlation of tradeoff with each axis.")
    gain: dict[str, Estimate] = Field(
        description="Paired gains: logged(w=1) - logged(w=0) and unbiased(w=0) - unbiased(w=1)."
    )
    verdict: Literal["clear", "weak", "none"]
    diagnostic: str
    se_kind: Literal["bootstrap over users", "over seeds"]
    seeds: tuple[int, ...]
    dataset: str


class DatasetInfo(_Frozen):
    """Which data a model was trained on."""

    name: str
    fingerprint: Sha256
    users: int
    items: int
    impressions: int


class Manifest(_Frozen):
    """``manifest.json``. ``files`` holds the SHA-256 of every other file of the artifact."""

    schema_version: Literal[1]
    name: Name
    kind: Name
    created: datetime
    git_commit: str | None
    config: dict[str, Any]
    dataset: DatasetInfo
    modalities: tuple[Modality, ...] = Field(min_length=1, max_length=64)  # bits of a mask
    proxies: tuple[Proxy, ...]
    graphs: dict[Literal["item_encoder", "user_encoder", "ranker"], Graph] = Field(min_length=3)
    opset: int
    spaces: Spaces
    default_tradeoff: Unit
    calibration: Calibration
    parity_tolerance: float = Field(gt=0, description="Largest allowed |difference| of logits.")
    front: Front
    files: dict[str, Sha256]

    @property
    def embedding_dim(self) -> int:
        """Length D of an item's packed embedding: all modalities in order."""
        return sum(modality.dim for modality in self.modalities)

    @property
    def state_dim(self) -> int:
        """Length S of an encoded item."""
        return int(self.graphs["item_encoder"].outputs[0].shape[1])

    @property
    def user_dim(self) -> int:
        """Length U of a user vector."""
        return int(self.graphs["user_encoder"].outputs[0].shape[1])

    @property
    def learned_mask(self) -> int:
        """Bits of the modalities that were learned per item id."""
        return sum(1 << i for i, modality in enumerate(self.modalities) if modality.learned)


def graph_signatures(
    *, embedding: int, modalities: int, proxies: int, state: int, user: int
) -> dict[Literal["item_encoder", "user_encoder", "ranker"], Graph]:
    """Return the one signature that every artifact's graphs must have, for the given sizes."""
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
