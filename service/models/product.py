"""A ranker that is one product: each logit is the product of a state with one vector."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float32]
Powers = tuple[int, ...]  # of state, user and tradeoff in a tensor, the highest of all its entries

_INPUTS: dict[str, Powers] = {"state": (1, 0, 0), "user": (0, 1, 0), "tradeoff": (0, 0, 1)}
_CONSTANT: Powers = (0, 0, 0)
_PRODUCTS = {"Gemm", "MatMul", "Mul"}  # of their first two inputs
_SUMS = {"Add", "Identity", "Neg", "Squeeze", "Sub", "Transpose", "Unsqueeze"}
_CHOICES = {"Concat", "Expand", "Gather", "Reshape", "Slice", "Split"}  # of states: could mix rows

# States of one step: they stay in the CPU cache for all tradeoffs.
_ROWS = 8192


class Product:
    """Logits as products of states with a vector that is affine in the user and in the tradeoff.

    ``weights`` (2, S + 1, U + 1): of 1 and the tradeoff; for a constant of the logit, then for each
    entry of the vector; of 1, then each entry of the user.
    """

    def __init__(self, weights: Array) -> None:
        read = np.flatnonzero(weights.any(axis=(0, 2)))
        self._columns = int(read.max(initial=0))  # no logit reads later entries of a state
        used = weights[:, : 1 + self._columns]
        self._of_all, self._of_user = used[:, :, 0].copy(), used[:, :, 1:].copy()

    @np.errstate(over="ignore", invalid="ignore")  # callers look for infinite logits
    def logits(self, user: Array, state: Array, tradeoffs: Sequence[float]) -> Array:
        """Return logits (T, N) of a user (1, U) and states (N, S) at tradeoffs (T,).

        It takes one thread, and each logit is a sum apart: equal states get equal logits in every
        row, unlike those of a product of matrices.
        """
        weights = self._of_all + np.vecdot(self._of_user, user)  # (2, 1 + S)
        vectors = np.array(tradeoffs, np.float32)[:, None] * weights[1]  # (T, 1 + S)
        vectors += weights[0]
        logits = np.empty((len(vectors), len(state)), np.float32)
        for start in range(0, len(state), _ROWS):
            rows = slice(start, start + _ROWS)
            states = state[rows, : self._columns]
            np.vecdot(states, vectors[:, None, 1:], out=logits[:, rows])
        logits += vectors[:, :1]
        return logits


def folded(
    logits: Callable[[Array, Array, float], Array], user_dim: int, state_dim: int
) -> Product:
    """Return the product that ``logits(user (1, U), state (N, S), tradeoff)`` computes.

    Such logits have a weight for each product of 1 or an entry of the user, 1 or an entry of the
    state, and 1 or the tradeoff. Logits of zeros and unit vectors are sums of these weights;
    differences along each axis leave the weights.
    """
    users, states = _zero_and_units(user_dim), _zero_and_units(state_dim)
    runs = [[logits(user[None], states, w) for user in users] for w in (0.0, 1.0)]
    weights = np.array(runs, np.float32).swapaxes(1, 2)  # (2, S + 1, U + 1)
    weights[1] -= weights[0]
    weights[:, 1:] -= weights[:, :1]
    weights[:, :, 1:] -= weights[:, :, :1]
    return Product(weights)


def is_product(nodes: Sequence[Any]) -> bool:
    """Return whether the nodes of a ranker prove that each logit is affine in all of its inputs.

    Sums and products of tensors do, as long as no power is above one; a node of another operator
    proves nothing. Only the first axis of states has as many entries as there are logits, so no
    row can enter another one's logit: that would take a choice of rows, or a power of two.
    """
    computed = {name for node in nodes for name in node.output}
    known = dict(_INPUTS)
    for node in nodes:
        if any(name in computed and name not in known for name in node.input):
            return False  # out of order
        powers = _powers(
            node.domain + node.op_type, [known.get(name, _CONSTANT) for name in node.input]
        )
        if powers is None or max(powers) > 1:
            return False
        known |= dict.fromkeys(node.output, powers)
    return "logit" in known


def _powers(operator: str, inputs: list[Powers]) -> Powers | None:
    """Return the powers of an operator's outputs, None for an operator that proves nothing."""
    if operator in _PRODUCTS:
        product = tuple(map(sum, zip(*inputs[:2], strict=True)))
        return _highest([product, *inputs[2:]])
    highest = _highest(inputs)
    if operator in _SUMS or (operator in _CHOICES and not highest[0]):
        return highest
    return None


def _highest(powers: list[Powers]) -> Powers:
    return tuple(map(max, zip(_CONSTANT, *powers, strict=True)))


def _zero_and_units(size: int) -> Array:
    """Return the vector of zeros and all unit vectors (1 + size, size)."""
    return np.eye(1 + size, dtype=np.float32)[:, 1:]
