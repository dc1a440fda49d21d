"""A new model is a net and its options: nothing of pipeline, contract or service changes."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, ClassVar, Literal

import numpy as np
import pytest
import torch
from annotated_types import Ge
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812  # its usual name

from service.contract.records import mask_matrix
from service.contract.repository import Repository
from service.models.scorer import Scorer
from tests.torch_ranking import item_states
from training.config import Config, load_config
from training.data.dataset import Dataset
from training.nets.base import FrontNet, NetOptions, Ranker, Slates, TrainingTables
from training.nets.registry import NETS
from training.pipeline import train
from training.release.publish import item_values


@dataclass(frozen=True)
class TwoPricesOptions(NetOptions):
    """A user's taste for content, and w times how often an item was clicked."""

    family: ClassVar[str] = "two-prices"
    main: Literal["two-prices"] = "two-prices"
    dim: Annotated[int, Ge(1)] = 4


class ItemEncoder(nn.Module):
    def __init__(self, content_dim: int, dim: int) -> None:
        super().__init__()
        self.content_dim = content_dim
        self.weight = nn.Linear(content_dim, dim, bias=False)

    def forward(self, embedding: Tensor, modality_mask: Tensor, proxies: Tensor) -> Tensor:  # noqa: ARG002
        learned = embedding[:, self.content_dim :] * modality_mask[:, -1:]
        return torch.cat([self.weight(embedding[:, : self.content_dim]), learned], 1)


class UserEncoder(nn.Module):
    def forward(self, history: Tensor) -> Tensor:
        count = torch.ones_like(history[:, :1]).sum(0, keepdim=True) + 1.0
        return history[:, :-1].sum(0, keepdim=True) / count


class TwoPricesRanker(Ranker):
    def pairwise(self, user: Tensor, state: Tensor, tradeoff: Tensor) -> Tensor:
        return (user * state[:, :-1]).sum(1) + tradeoff * state[:, -1]

    def forward(self, user: Tensor, state: Tensor, tradeoff: Tensor) -> Tensor:
        direction = torch.cat([user, tradeoff.view(1, 1)], 1)
        return (direction @ state.transpose(0, 1)).squeeze(0)


class TwoPrices(FrontNet):
    def __init__(self, tables: TrainingTables, options: TwoPricesOptions) -> None:
        super().__init__()
        content_dim = tables.embedding.shape[1]
        self.item_encoder: ItemEncoder = ItemEncoder(content_dim, options.dim)
        self.user_encoder = UserEncoder()
        self.ranker: TwoPricesRanker = TwoPricesRanker()
        self.person = nn.Embedding(len(tables.user_attributes), options.dim)
        self.price = nn.Embedding(len(tables.embedding), 1)
        self._embedding = tables.embedding

    def loss(self, batch: Slates) -> Tensor:
        state = torch.cat(
            [self.item_encoder.weight(self._embedding[batch.item]), self.price(batch.item)], 1
        )
        user = self.person(batch.user)[batch.slate]
        logit = self.ranker.pairwise(user, state, torch.ones(1))[batch.valid]
        return F.binary_cross_entropy_with_logits(logit, batch.label[batch.valid])

    def common_features(self, state: Tensor) -> Tensor:
        return state[:, :-1]

    def learned_items(self) -> Tensor:
        weight: Tensor = self.price.weight
        return weight

    def user_vectors(self) -> Tensor:
        weight: Tensor = self.person.weight
        return weight


class TwoPricesConfig(Config):
    net: TwoPricesOptions  # type: ignore[assignment]  # no packaged configuration names it


def test_a_new_net_trains_exports_and_serves(
    toy_dataset: Dataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(NETS, TwoPricesOptions, TwoPrices)
    packaged = load_config("cp2rec", overrides=("train.epochs=1", "front.bootstrap=20"))
    config = TwoPricesConfig(**{**dict(packaged), "model": "two-prices", "net": TwoPricesOptions()})

    # Exporting proves parity, and lets the service itself replay the golden inputs.
    artifact, trained = train(
        toy_dataset, config, Repository(tmp_path), "prices", tmp_path / "runs"
    )

    assert (artifact.label, artifact.manifest.kind) == ("prices@1", "two-prices")
    assert len(artifact.manifest.front.points) == 11
    scorer = Scorer(artifact)
    values, mask = item_values(artifact, toy_dataset)
    states = scorer.encode_items(
        values, mask_matrix(mask, len(artifact.manifest.modalities)), toy_dataset.proxies
    )
    users = trained.net.user_vectors().detach()[3:4]
    for tradeoff in (0.0, 0.3, 1.0):
        with torch.inference_mode():
            expected = trained.net.ranker(
                users, item_states(trained, toy_dataset), torch.tensor([tradeoff])
            )
        got = scorer.score(users.numpy(), states, tradeoff)
        np.testing.assert_allclose(got, expected.numpy(), atol=1e-5)
