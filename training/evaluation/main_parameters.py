"""What a model ranks by: how many places change if it does not know a thing."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

import numpy as np
import torch
from torch import Tensor

from service.contract.attributes import ATTRIBUTES
from service.contract.card import Parameter, Parameters
from service.contract.front import Estimate
from training.arrays import Floats, Rows
from training.data.dataset import Dataset
from training.fitting.fitted_net import FittedNet, ItemInputs, sample_users
from training.metrics.estimates import LEAST_USERS, mean_and_se

USERS = 100
PERSON = "the person"

Known = Callable[[ItemInputs], ItemInputs]


def main_parameters(fitted: FittedNet, tradeoffs: Floats, default: float) -> Parameters:
    """Return what the net ranks by, most important first at the tradeoff ``default``.

    For up to 100 test users the catalogue is ranked at ``tradeoffs`` (T,) as it is, and without
    each thing: a modality, what was learned of items by their id, the proxies, and the person, in
    place of whom the average user stands. The share of the first 10 places that then have another
    item is how much depends on it.
    """
    dataset, split = fitted.dataset, fitted.split
    users = sample_users(dataset.impressions.user[split.test], len(dataset.item_ids), most=USERS)
    states = fitted.item_states()
    top, _ = fitted.rank_catalogue(users, tradeoffs, states=states)

    def changed(states: Tensor, vectors: Tensor | None = None) -> tuple[Estimate, ...]:
        other, _ = fitted.rank_catalogue(users, tradeoffs, states=states, vectors=vectors)
        return tuple(_replaced(*lists) for lists in zip(top, other, strict=True))

    with torch.inference_mode():
        average = fitted.net.user_encoder(states[:0]).expand(len(users), -1)
    parameters = [
        Parameter(
            name=PERSON,
            description=_person(dataset),
            changed=changed(states, average),
        ),
        *(
            Parameter(name=name, description=text, changed=changed(fitted.item_states(known)))
            for name, text, known in _of_items(dataset)
        ),
    ]
    at_default = int(np.flatnonzero(tradeoffs == default)[0])
    parameters.sort(key=lambda parameter: -parameter.changed[at_default].mean)
    return Parameters(users=len(users), parameters=tuple(parameters))


def _replaced(top: Rows, other: Rows) -> Estimate:
    """Return the mean share of the places of ``top`` (U, K) whose item is not in ``other``."""
    in_both = (top[:, :, None] == other[:, None, :]).any(axis=2)  # (U, K)
    return mean_and_se(1.0 - in_both.mean(axis=1), users_suffice=len(top) >= LEAST_USERS)


def _person(dataset: Dataset) -> str:
    attributes = _joined([coding.name for coding in dataset.user_codings])
    given = f", and the person's {attributes}" if attributes else ""
    return f"what the person was shown and clicked{given}"


def _of_items(dataset: Dataset) -> Iterator[tuple[str, str, Known]]:
    """Yield all that a net knows of items: its name, a description, and what remains without it."""
    start = 0
    for index, modality in enumerate(dataset.modalities):
        columns = slice(start, start + modality.dim)
        start += modality.dim
        if modality.name == ATTRIBUTES:
            names = _joined([coding.name for coding in dataset.item_codings])
            yield modality.name, f"the item's {names}", _without(index, columns)
        else:
            text = f"the item's {modality.name}, as {modality.dim} numbers that an encoder made"
            yield modality.name, text, _without(index, columns)
    yield (
        "the item's record",
        "what was learned of the item from its own impressions and clicks in training, such as how "
        "often it is clicked; a new item has none",
        lambda inputs: inputs._replace(warm=torch.zeros_like(inputs.warm)),
    )
    if dataset.proxy_fields:
        names = _joined([proxy.name for proxy in dataset.proxy_fields])
        yield (
            "exposure statistics",
            f"the item's {names} at the time of the request: statistics by which recommenders "
            "choose what to show, so that they follow from what was shown before",
            lambda inputs: inputs._replace(proxies=torch.full_like(inputs.proxies, torch.nan)),
        )


def _joined(names: Sequence[str]) -> str:
    """Return names as in a sentence: a, b and c."""
    return " and ".join(filter(None, (", ".join(names[:-1]), *names[-1:])))


def _without(index: int, columns: slice) -> Known:
    """Return what is known of items without the modality ``index``, which has ``columns``."""

    def known(inputs: ItemInputs) -> ItemInputs:
        embedding, mask = inputs.embedding.clone(), inputs.modality_mask.clone()
        embedding[:, columns], mask[:, index] = 0.0, 0.0
        return inputs._replace(embedding=embedding, modality_mask=mask)

    return known
