"""A decomposed net away from where training starts, and its formula computed by hand."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from tests.unit.training.nets.options import LIKELIHOOD_ALONE, D
from training.data.dataset import Dataset
from training.fitting.batches import SlateBatches, training_tables
from training.nets.base import Slates, with_learned
from training.nets.cp2rec.decomposed import Cp2recDecomposed, Cp2recOptions

PRIOR = 5.0
FULL = replace(Cp2recOptions(), dim=D, proxy_bins=4, proxy_dropout=0.0, new_share=0.0)


def logged(dataset: Dataset) -> NDArray[np.int64]:
    return np.flatnonzero(~dataset.impressions.uniform)


def make_net(dataset: Dataset, options: Cp2recOptions = LIKELIHOOD_ALONE) -> Cp2recDecomposed:
    """Return a net whose parameters all differ from their initial values."""
    torch.manual_seed(0)
    net = Cp2recDecomposed(training_tables(dataset, logged(dataset)), options)
    generator = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for parameter in net.parameters():
            parameter.add_(0.3 * torch.randn(parameter.shape, generator=generator))
    return net.eval()


def zero(*parameters: Tensor) -> None:
    """Set parameters to 0."""
    with torch.no_grad():
        for parameter in parameters:
            parameter.zero_()


@torch.no_grad()
def states(net: Cp2recDecomposed, dataset: Dataset, proxies: Tensor | None = None) -> Tensor:
    """Return the states (I, S) of all items, none of them cold."""
    embedding, mask = with_learned(
        torch.from_numpy(dataset.embedding),
        torch.from_numpy(dataset.modality_mask).float(),
        net.learned_items(),
        torch.ones(len(dataset.item_ids)),
    )
    if proxies is None:
        proxies = torch.from_numpy(dataset.proxies)
    state: Tensor = net.item_encoder(embedding, mask, proxies)
    return state


@torch.no_grad()
def scores(net: Cp2recDecomposed, dataset: Dataset, w: float) -> Tensor:
    """Return the logits (users, I) of every user with every item."""
    state = states(net, dataset)
    return torch.stack(
        [net.ranker(user[None], state, torch.tensor([w])) for user in net.user_vectors()]
    )


def slate_users(net: Cp2recDecomposed, batch: Slates, new: Tensor | None = None) -> Tensor:
    """Return user vectors (B, U), each blind to its slate.

    Users where ``new`` (B,) are known by their clicks alone.
    """
    nobody = torch.zeros(len(batch.user), dtype=torch.bool)
    cold = nobody if new is None else new
    return net.slate_users(batch, cold, net.users(batch.user))


def batch_of(dataset: Dataset, slate: int = 4, slates: int = 7) -> Slates:
    """Return the first batch of an epoch of the logged rows."""
    batches = SlateBatches(dataset, logged(dataset), slate=slate, batch_slates=slates)
    return next(batches.epoch(torch.Generator().manual_seed(0)))


@dataclass(frozen=True)
class Formula:
    """The documented formula of the net, computed from its parameters in float64, row by row."""

    net: Cp2recDecomposed
    dataset: Dataset

    def parameter(self, name: str) -> NDArray[np.float64]:
        """Return a parameter in float64."""
        return self.net.get_parameter(name).detach().double().numpy()

    def content(self) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Return standardised content (I, 5), twice.

        An absent modality is the missing vector in the first, zeros in the second.
        """
        filled, bare = np.zeros((2, *self.dataset.embedding.shape))
        shown = self.dataset.impressions.item[logged(self.dataset)]
        missing = self.parameter("item_encoder.content.missing")
        for modality, dims in enumerate((slice(0, 3), slice(3, 5))):
            has = self.dataset.modality_mask[:, modality]
            rows = shown[has[shown]]
            block = self.dataset.embedding[:, dims].astype(np.float64)
            block = block - block[rows].mean(0)
            block /= np.sqrt((block[rows] ** 2).sum(1).mean())
            filled[has, dims] = bare[has, dims] = block[has]
            filled[~has, dims] = missing[dims]
        return filled, bare

    def user(self, row: int, left_out: tuple[int, ...] = ()) -> NDArray[np.float64]:
        """Return the vector (d + 2,) of a user by its logged rows less ``left_out``."""
        impressions = self.dataset.impressions
        rows = logged(self.dataset)
        content = self.content()[1]
        shown = [r for r in rows if impressions.user[r] == row and r not in left_out]
        clicked = [r for r in shown if impressions.label[r] == 1]
        means = [
            content[impressions.item[some]].sum(0) / (len(some) + PRIOR)
            for some in (clicked, shown)
        ]
        raw = self.dataset.user_attributes
        standard = (raw[row] - raw.mean(0)) / raw.std(0)
        attributes = standard @ self.parameter("attributes")
        learned = self.parameter("users.weight")[row]  # factor, bias, conformity
        p = (
            learned[:D]
            + attributes[:-1]
            + self.parameter("clicked.weight") @ means[0]
            + self.parameter("exposed.weight") @ means[1]
        )
        bias = self.parameter("mu") + learned[D] + attributes[-1]
        conformity = self.parameter("conformity") + learned[D + 1]
        return np.array([*p, bias, np.exp(conformity)])

    def scores(self, w: float) -> NDArray[np.float64]:
        """Return the logits (users, I) at tradeoff ``w``."""
        x = self.content()[0]
        common = x @ self.parameter("item_encoder.factor.weight").T  # W and a
        q, bias = np.split(common + self.parameter("items.weight"), [D], axis=1)
        bias = bias[:, 0]
        with torch.no_grad():
            c = self.net.item_encoder.proxy(torch.from_numpy(self.dataset.proxies)).double().numpy()
        pull = c @ self.parameter("item_encoder.readout.weight").T
        users = [self.user(row) for row in range(len(self.dataset.user_ids))]
        return np.array(
            [
                q @ u[:D] + bias + u[D] + w * (u[D + 1] * pull[:, 0] + pull[:, 1])
                for u in users
            ]
        )  # fmt: skip
