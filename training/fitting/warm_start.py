"""Warm start: a training that continues from the net of an artifact.

Dense weights, the bins of proxies and the standardisation of content are those of the artifact.
Rows of tables follow their ids: an id that the artifact learned keeps its row, a new one starts as
in a new net, one that the dataset does not list is dropped. Histories are those of the dataset.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from service.contract.attributes import Coding
from training.arrays import Floats
from training.data.dataset import Dataset
from training.data.split import Split
from training.errors import ConfigError
from training.fitting.batches import standardisation
from training.fitting.fitted_net import FittedNet
from training.fitting.row_adagrad import Past
from training.nets.base import FrontNet, TrainingTables
from training.nets.id_table import id_tables

# The share of the past that counts. In daily warm starts the sums would grow without end, and known
# rows would hardly move any more. Chosen on validation rows.
MEMORY = 0.05


@dataclass(frozen=True)
class TrainingState:
    """What a training leaves for the next one.

    weights: the net's, by name. Rows of tables are in the order of ``items``, the ids of warm
    items, and of ``users``, all ids. past: that of ``RowAdagrad``, by the name of the table's
    weight; a row whose squares are 0 was never trained. user_codings, attributes: how user
    attributes became numbers and were standardised. trained_until: time of the last training row.
    """

    items: Sequence[str]
    users: Sequence[str]
    weights: dict[str, Tensor]
    past: dict[str, Past]
    user_codings: tuple[Coding, ...]
    attributes: Floats  # (2, A)
    trained_until: float


@dataclass(frozen=True)
class WarmStart:
    """The artifact to continue from: ``label`` is name@version, ``digest`` that of its manifest."""

    label: str
    digest: str
    state: TrainingState

    def check_rows(self, dataset: Dataset, split: Split) -> None:
        """Raise ConfigError if the artifact may have learned from rows that do not train now.

        A column ``split`` is the user's word that it has not.
        """
        impressions, until = dataset.impressions, self.state.trained_until
        held_out = impressions.timestamp[np.concatenate([split.validation, split.test])]
        if impressions.split is None and held_out.min() <= until:
            raise ConfigError(
                f"--from: {self.label} learned from rows up to timestamp {until:.0f}, and the "
                f"validation rows of --data begin at {held_out.min():.0f}: they would measure what "
                "it has seen; add later rows, or train without --from"
            )

    def known_items(self, dataset: Dataset) -> Tensor:
        """Return a mask (I,) of the items that the artifact learned."""
        return torch.from_numpy(np.isin(dataset.item_ids, self.state.items))

    @torch.no_grad()
    def hand_over(self, net: FrontNet, dataset: Dataset, tables: TrainingTables) -> list[Past]:
        """Give a new ``net`` of ``tables`` the artifact's weights; return the past of its ids.

        Raises ConfigError if a weight does not fit.
        """
        state, weights = self.state, net.state_dict()
        for name in set(table_names(net)) - {*net.of_items, *net.of_users}:
            raise ConfigError(f"--from: the net says of no kind of ids that {name} has their rows")
        of_items = _common(dataset.item_ids, state.items)
        of_users = _common(dataset.user_ids, state.users)
        past = {}
        for name, weight in weights.items():
            former = state.weights.get(name)
            by_row = {*net.of_items, *net.of_users, *net.of_positions} & {name}
            if former is None or former.shape[len(by_row) :] != weight.shape[len(by_row) :]:
                raise ConfigError(
                    f"--from: the net's weight {name} is {_shape(weight)} and in {self.label} "
                    f"{_shape(former)}; train without --from"
                )
            if name in net.of_positions:
                common = min(len(weight), len(former))
                now = then = torch.arange(common)
            elif by_row:
                now, then = of_items if name in net.of_items else of_users
            else:
                weight.copy_(former)
                continue
            if name in state.past:
                trained = state.past[name].squares[then].any(1)
                now, then = now[trained], then[trained]
                past[name] = state.past[name].of_rows(len(weight), now, then).faded(MEMORY)
            weight[now] = former[then]
        net.read_content(tables)
        return [past[name] for name in table_names(net) if name in past]


def training_state(fitted: FittedNet, start: WarmStart | None) -> TrainingState:
    """Return the state of a fitted net, which continued from ``start`` if that is not None."""
    net, dataset, warm = fitted.net, fitted.dataset, fitted.warm

    def listed(name: str, rows: Tensor) -> Tensor:
        return rows[warm] if name in net.of_items else rows

    weights, past = net.state_dict(), dict(zip(table_names(net), fitted.fit.past, strict=False))
    return TrainingState(
        items=[dataset.item_ids[row] for row in warm.nonzero().flatten().tolist()],
        users=dataset.user_ids,
        weights={name: listed(name, weight) for name, weight in weights.items()},
        past={name: Past(listed(name, p.squares), p.steps) for name, p in past.items()},
        user_codings=dataset.user_codings,
        attributes=start.state.attributes if start else standardisation(dataset.user_attributes),
        trained_until=float(dataset.impressions.timestamp[fitted.split.train].max()),
    )


def table_names(net: FrontNet) -> list[str]:
    """Return the names of the weights of all tables of ids, in the order of ``id_tables``."""
    names = {id(parameter): name for name, parameter in net.named_parameters()}
    return [names[id(table.weight)] for table in id_tables(net)]


def _common(now: Sequence[str], then: Sequence[str]) -> tuple[Tensor, Tensor]:
    """Return the rows (N,) of the ids in both tables: those in the first, those in the second."""
    former = {name: row for row, name in enumerate(then)}
    pairs = [(row, former[name]) for row, name in enumerate(now) if name in former]
    here, there = torch.tensor(pairs, dtype=torch.int64).view(-1, 2).unbind(1)
    return here, there


def _shape(weight: Tensor | None) -> str:
    return "absent" if weight is None else " x ".join(map(str, weight.shape)) or "a number"
