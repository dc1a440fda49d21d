"""The interface of a net. A new architecture implements it for training, evaluation and export."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, Any, ClassVar, Literal, Protocol

import torch
from annotated_types import Ge, Le
from torch import Tensor, nn

Size = Annotated[int, Ge(1)]
Weight = Annotated[float, Ge(0)]
Share = Annotated[float, Ge(0), Le(1)]


@dataclass(frozen=True)
class Slates:
    """A training batch of B slates, each some impressions of one user, R rows in all.

    start (B,) int64: the first row of a slate, its rows being consecutive; slate (R,) int64: the
    slate of a row; user (B,), item (R,) int64: table rows; proxies (R, P), NaN = unknown; label
    (R,) float32; position (R,) int64; propensity (R,) of the exposure, in (0, 1]; offset (R,): the
    part of a teacher's logit that exposure explains.
    """

    user: Tensor
    start: Tensor
    slate: Tensor
    item: Tensor
    proxies: Tensor
    label: Tensor
    position: Tensor
    propensity: Tensor
    offset: Tensor

    def lengths(self) -> Tensor:
        """Return the number of rows (B,) of each slate."""
        return torch.diff(self.start, append=self.start.new_full((1,), len(self.item)))


@dataclass(frozen=True)
class TrainingTables:
    """The tables and training rows that a net is built from.

    dims: the modalities' sizes, their sum D; embedding (I, D), modality_mask (I, M),
    user_attributes (U, A); of the training rows: user, item, label, position (R,), proxies (R, P).
    """

    dims: tuple[int, ...]
    embedding: Tensor
    modality_mask: Tensor
    user_attributes: Tensor
    user: Tensor
    item: Tensor
    label: Tensor
    position: Tensor
    proxies: Tensor

    def exposures(self) -> Tensor:
        """Return the number of training rows of each item (I,)."""
        return torch.bincount(self.item, minlength=len(self.embedding)).float()


class ProgressStore(Protocol):
    """Stores the state of a long preparation, so that a restarted run resumes it."""

    def load(self) -> dict[str, Any] | None:
        """Return the last saved state; None if there is none."""

    def save(self, state: dict[str, Any]) -> None:
        """Replace the saved state: tensors, numbers, strings and lists of them."""


@dataclass(frozen=True)
class Ablation:
    """A change of a net's options to compare it with.

    With ``penalty``, a penalty of c log popularity replaces the net's tradeoff.
    """

    description: str
    changes: Mapping[str, Any]
    penalty: bool = False


@dataclass(frozen=True)
class LearnedMask:
    """The invariant mask of a net: gates (D,) in [0, 1] over the content of items.

    weights: lambda* of each training step of the gates. moved: the share of clicks that each
    reassignment moved to another environment.
    """

    gates: Tensor
    weights: tuple[float, ...]
    moved: tuple[float, ...]


@dataclass(frozen=True)
class NetOptions:
    """Base of every net's options, the section [net] of a configuration.

    Each subclass narrows ``architecture`` to a Literal of its names in the registry; a
    configuration chooses a net by such a name.
    """

    architecture: str = ""

    @property
    def exposure(self) -> Literal["none", "propensity", "offset"]:
        """The column of ``Slates`` that the loss needs in addition to the labels."""
        return "none"

    def alternatives(self) -> tuple[NetOptions, ...]:
        """Return the options to choose from on validation rows: itself, if all are settled."""
        return (self,)

    @property
    def teacher(self) -> NetOptions | None:
        """The options of the teacher that computes the offsets; None: the packaged ``cp2rec``."""
        return None


class Ranker(nn.Module, ABC):
    """Scores item states for users; ``ranker.onnx`` is the graph of ``forward``."""

    @abstractmethod
    def pairwise(self, user: Tensor, state: Tensor, tradeoff: Tensor) -> Tensor:
        """Return logits (R,) of user vectors (R, U) with states (R, S), row by row."""

    @abstractmethod
    def forward(self, user: Tensor, state: Tensor, tradeoff: Tensor) -> Tensor:
        """Return logits (N,) of one user (1, U) with states (N, S); tradeoff (1,) in [0, 1]."""

    def all_pairs(self, user: Tensor, state: Tensor, tradeoff: Tensor) -> Tensor:
        """Return logits (B, N) of users (B, U) with states (N, S), one user at a time."""
        return torch.stack([self(row, state, tradeoff) for row in user.split(1)])


@dataclass(frozen=True)
class UserMoves:
    """How what known users engaged with after the training moves their vectors.

    ``history_encoder(embedding (N, D + D_learned), modality_mask (N, M + 1))`` returns traces
    (N, H) of items. ``user_update(record (1, V), trace (L, H))`` returns the user vector (1, U)
    after engagements with items of these traces. It equals the vector that the net, its weights
    unchanged, would have if its training rows held them as clicks.
    """

    history_encoder: nn.Module
    user_update: nn.Module


class FrontNet(nn.Module, ABC):
    """A network that ranks at every tradeoff.

    ``item_encoder(embedding (N, D + D_learned), modality_mask (N, M + 1), proxies (N, P))``
    returns states (N, S); the last modality is learned per item id.
    ``user_encoder(history (L, S))`` returns a user vector (1, U). Training, evaluation and the
    exported graphs all use these two modules and the ``ranker``.
    """

    item_encoder: nn.Module
    user_encoder: nn.Module
    ranker: Ranker
    scalable: ClassVar[bool] = False  # whether ``scale_exposure`` has an effect
    kept_exposure: float = 0.0  # share in [0, 1) of the exposure term that w = 0 keeps
    debiased_reads_proxies: bool = False  # whether scores at w = 0 read proxies, in any form
    # Weights with a row for each item, each user and each position after the first: a warm start
    # maps the rows of ids by id, and keeps those of positions that both logs have.
    of_items: ClassVar[tuple[str, ...]] = ("items.weight",)
    of_users: ClassVar[tuple[str, ...]] = ("users.weight",)
    of_positions: ClassVar[tuple[str, ...]] = ("examination.theta",)

    def read_content(self, tables: TrainingTables) -> None:
        """Compute what the net derives from its standardisation of content, such as histories.

        Called again after a warm start has replaced that standardisation.
        """

    @property
    def device(self) -> torch.device:
        """The device of the weights; tensors that a net does not train are buffers beside them."""
        return next(self.parameters()).device

    def prepare(self, seed: int, progress: ProgressStore) -> None:
        """Run any work that must precede the training loop, resumed from ``progress``."""

    def scale_exposure(self, factor: float) -> None:
        """Multiply the exposure term, which w weighs; scores at w = 0 do not change."""

    @abstractmethod
    def loss(self, batch: Slates) -> Tensor:
        """Return the training loss, a scalar."""

    def log_examination(self) -> Tensor | None:
        """Return log P(examined) (K,) of all trained positions; None without such a term."""
        return None

    def learned_mask(self) -> LearnedMask | None:
        """Return the invariant mask; None if the net learns none."""
        return None

    def without_popularity(self, state: Tensor) -> Tensor:
        """Return states (N, S) without the learned popularity; unchanged if the net learns none."""
        return state

    @abstractmethod
    def without_exposure(self, state: Tensor) -> Tensor:
        """Return states (N, S) without the exposure term.

        With b their score at w = 0, the score of ``state`` is b + kept_exposure (s_1 - b) at w = 0
        and s_1 at w = 1. If ``kept_exposure`` is 0, both are equal at w = 0, to the bit.
        """

    @abstractmethod
    def common_features(self, state: Tensor) -> Tensor:
        """Return the common features z' (N, d) of states (N, S), purified of the proxies."""

    @abstractmethod
    def learned_items(self, items: Tensor | None = None) -> Tensor:
        """Return the features learned per id (N, D_learned) of ``items`` (N,), or of all."""

    @abstractmethod
    def user_vectors(self, users: Tensor | None = None) -> Tensor:
        """Return the vectors (B, U) of ``users`` (B,), rows of the dataset's table, or of all."""

    def user_moves(self) -> UserMoves | None:
        """Return how engagements move known users; None if they stay until the next training."""
        return None

    def user_records(self, users: Tensor | None = None) -> Tensor:
        """Return what the store has (B, V) of ``users`` (B,), rows of the table, or of all.

        A record is the user's vector, then what ``user_moves`` needs.
        """
        return self.user_vectors(users)


def with_learned(
    embedding: Tensor, modality_mask: Tensor, learned: Tensor, warm: Tensor
) -> tuple[Tensor, Tensor]:
    """Append the learned modality: return embedding (N, D + D_learned) and mask (N, M + 1).

    Items that are not ``warm`` (N,) lack this modality.
    """
    warm = warm.to(modality_mask.dtype).unsqueeze(1)  # (N, 1)
    return torch.cat([embedding, learned * warm], 1), torch.cat([modality_mask, warm], 1)
