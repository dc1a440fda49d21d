"""The manifest of an artifact: sizes, graph signatures, calibration, front and file hashes."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Any, Literal, Self

from pydantic import AfterValidator, Field, model_validator

from service.contract.front import Front, Frozen, Unit

SCHEMA_VERSION = 2
MAX_MODALITIES = 64  # bits of a record's mask

Name = Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9_-]{0,63}$")]
Sha256 = Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]


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


GraphName = Literal["item_encoder", "user_encoder", "ranker", "history_encoder", "user_update"]
NEEDED: tuple[GraphName, ...] = ("item_encoder", "user_encoder", "ranker")
MOVING: tuple[GraphName, ...] = ("history_encoder", "user_update")  # both, or known users stay

SchemaVersion = Annotated[int, AfterValidator(_known_version)]
FileName = Annotated[str, AfterValidator(_possible_name)]


class Modality(Frozen):
    """One block of an item's ``embedding`` vector; the blocks are in manifest order."""

    name: Name
    dim: int = Field(ge=1)
    learned: bool = Field(
        default=False,
        description="True if the model learned the block by item id. An item without it is cold.",
    )


class Proxy(Frozen):
    """A confounding proxy: an item statistic that a recommender feeds back into exposure."""

    name: Name
    kind: Literal["numeric", "categorical"] = "numeric"
    categories: tuple[str, ...] = Field(
        default=(), description="A categorical value is stored as its index in this list."
    )


class Tensor(Frozen):
    """Name, dtype and shape of a graph's input or output; a letter is a symbolic size."""

    name: str
    dtype: Literal["float32"] = "float32"
    shape: tuple[int | str, ...]


class Graph(Frozen):
    """The signature of one ONNX file."""

    inputs: tuple[Tensor, ...]
    outputs: tuple[Tensor, ...]


def _complete(graphs: dict[GraphName, Graph]) -> dict[GraphName, Graph]:
    needed = {*NEEDED, *MOVING} if graphs.keys() & set(MOVING) else {*NEEDED}
    if missing := sorted(needed - graphs.keys()):
        raise ValueError(f"{missing[0]} is missing")
    return graphs


class Spaces(Frozen):
    """Names of the key spaces in Redis. They keep the vectors of different models apart."""

    items: Name
    users: Name
    proxies: Name


class Calibration(Frozen):
    """``score = sigmoid(slope * logit + intercept)``: monotone, so it keeps every order."""

    slope: float = Field(gt=0, description="Of the logit.")
    intercept: float = Field(description="Added to the product of slope and logit.")
    meaning: str = Field(description="Where it is a click probability, and where a rank score.")


class DatasetInfo(Frozen):
    """The dataset that a model was trained on."""

    name: str
    fingerprint: Sha256
    users: int
    items: int
    impressions: int


class Predecessor(Frozen):
    """The artifact that a training continued from."""

    name: Name = Field(description="Its name.")
    version: int = Field(ge=1, description="Its version.")
    sha256: Sha256 = Field(description="Of its manifest.")


class Manifest(Frozen):
    """``manifest.json``; ``files`` maps every file that serves or is published to its SHA-256."""

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
    graphs: Annotated[dict[GraphName, Graph], AfterValidator(_complete)] = Field(
        description="Without `history_encoder` and `user_update`, known users do not move between "
        "trainings."
    )
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
    continued_from: Predecessor | None = None
    trained_until: datetime | None = Field(
        default=None,
        description="Time of the last training row: what users engaged with later is not in their "
        "records. null: the rows have no times; then that is `created`.",
    )
    files: dict[FileName, Sha256]
    training_files: dict[FileName, Sha256] = Field(
        default={},
        description="Files for later trainings, also with SHA-256. Nothing else reads them, and an "
        "artifact without them serves.",
    )

    @model_validator(mode="after")
    def _graphs_fit(self) -> Self:
        """Refuse sizes that the graphs do not have: records would not fit them."""
        try:
            state, user = self.state_dim, self.user_dim
            trace, record = self.trace_dim, self.record_dim
        except (IndexError, ValueError):
            raise ValueError("graphs: an encoder has no output of shape (rows, size)") from None
        if record < user:
            raise ValueError("graphs.user_update: a record is shorter than a user vector")
        signatures = graph_signatures(
            embedding=self.embedding_dim,
            modalities=len(self.modalities),
            proxies=len(self.proxies),
            state=state,
            user=user,
            trace=trace,
            record=record,
        )
        for name, expected in signatures.items():
            if self.graphs.get(name) != expected:
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
    def moves_users(self) -> bool:
        """Whether engagements after the training move known users."""
        return MOVING[0] in self.graphs

    @property
    def trace_dim(self) -> int:
        """Length H of an item's trace, 0 if known users do not move."""
        return int(self.graphs["history_encoder"].outputs[0].shape[1]) if self.moves_users else 0

    @property
    def record_dim(self) -> int:
        """Length V >= U of a user's record: the user vector, then what an update of it needs."""
        return (
            int(self.graphs["user_update"].inputs[0].shape[1])
            if self.moves_users
            else self.user_dim
        )

    @property
    def learned_mask(self) -> int:
        """Mask bits of the modalities that the model learned by item id."""
        return sum(1 << i for i, modality in enumerate(self.modalities) if modality.learned)


def graph_signatures(
    *,
    embedding: int,
    modalities: int,
    proxies: int,
    state: int,
    user: int,
    trace: int = 0,
    record: int = 0,
) -> dict[GraphName, Graph]:
    """Return the signatures that the graphs of every artifact must have, for the given sizes.

    Without a ``trace``, known users do not move, and two graphs are missing.
    """
    content = (
        Tensor(name="embedding", shape=("N", embedding)),
        Tensor(name="modality_mask", shape=("N", modalities)),
    )
    vector = Tensor(name="user", shape=(1, user))
    signatures: dict[GraphName, Graph] = {
        "item_encoder": Graph(
            inputs=(*content, Tensor(name="proxies", shape=("N", proxies))),
            outputs=(Tensor(name="state", shape=("N", state)),),
        ),
        "user_encoder": Graph(
            inputs=(Tensor(name="history", shape=("L", state)),), outputs=(vector,)
        ),
        "ranker": Graph(
            inputs=(
                vector,
                Tensor(name="state", shape=("N", state)),
                Tensor(name="tradeoff", shape=(1,)),
            ),
            outputs=(Tensor(name="logit", shape=("N",)),),
        ),
    }
    if trace:
        signatures["history_encoder"] = Graph(
            inputs=content, outputs=(Tensor(name="trace", shape=("N", trace)),)
        )
        signatures["user_update"] = Graph(
            inputs=(
                Tensor(name="record", shape=(1, record)),
                Tensor(name="trace", shape=("L", trace)),
            ),
            outputs=(vector,),
        )
    return signatures
