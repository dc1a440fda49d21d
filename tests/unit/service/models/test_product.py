"""Which graphs are one product, its weights, and logits that depend on no other row."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray
from onnx.helper import make_node

from service.models.product import Product, folded, is_product

U, S = 5, 9

# A vector [u, w], its product with the states, and a constant: nodes as (operator, inputs, output).
LINEAR = (
    ("Reshape", "tradeoff shape", "w"),
    ("Concat", "user w", "vector"),
    ("Transpose", "state", "columns"),
    ("MatMul", "vector columns", "products"),
    ("Slice", "user one two", "bias"),
    ("Add", "products bias", "sums"),
    ("Squeeze", "sums axis", "logit"),
)


def proved(*nodes: tuple[str, str, str]) -> bool:
    return is_product([make_node(op, of.split(), [output]) for op, of, output in nodes])


def after(operator: str, inputs: str) -> tuple[tuple[str, str, str], ...]:
    """Return LINEAR with one more node, whose input ``before`` is what was the logit."""
    return (*LINEAR[:-1], ("Squeeze", "sums axis", "before"), (operator, inputs, "logit"))


def before(operator: str, inputs: str) -> tuple[tuple[str, str, str], ...]:
    """Return LINEAR with another vector."""
    return ((operator, inputs, "other"), ("Reshape", "other shape", "vector"), *LINEAR[2:])


@pytest.mark.parametrize(
    "nodes",
    [
        LINEAR,
        before("Mul", "user tradeoff"),
        before("Gemm", "user weight tradeoff"),
        after("Mul", "before scale"),
        after("Neg", "before"),
        (("Gemm", "state user bias", "rows"), ("Squeeze", "rows", "logit")),
        (("Mul", "state scale", "scaled"), ("MatMul", "scaled user", "logit")),
    ],
)
def test_logits_that_are_affine_in_each_input_are_one_product(
    nodes: tuple[tuple[str, str, str], ...],
) -> None:
    assert proved(*nodes)


@pytest.mark.parametrize(
    "nodes",
    [
        before("Relu", "user"),
        before("Mul", "user user"),
        before("Mul", "tradeoff tradeoff"),
        before("Cast", "user"),
        after("Relu", "before"),
        after("Softmax", "before"),  # of all rows
        after("Mul", "before before"),
        after("Mul", "before bias"),  # in which the user is, as in the logit
        (("Slice", "state one two", "first"), ("MatMul", "first user", "logit")),
        (("Reshape", "state shape", "mixed"), ("MatMul", "mixed user", "logit")),
        (("Gather", "user state", "chosen"), ("Squeeze", "chosen", "logit")),
        (*LINEAR[1:], LINEAR[0]),  # the vector stands before the tradeoff that is in it
        LINEAR[:-1],  # no logit
    ],
)
def test_other_graphs_are_none(nodes: tuple[tuple[str, str, str], ...]) -> None:
    assert not proved(*nodes)


def test_an_operator_of_another_domain_proves_nothing() -> None:
    nodes = [make_node(op, of.split(), [output]) for op, of, output in LINEAR]
    nodes[-2].domain = "com.microsoft"
    assert not is_product(nodes)


@pytest.fixture(scope="module")
def weights() -> NDArray[np.float32]:
    """Weights (2, S + 1, U + 1) of which the last three entries of a state are not read."""
    made = np.random.default_rng(5).normal(size=(2, S + 1, U + 1)).astype(np.float32)
    made[:, -3:] = 0
    return made


def by_hand(
    weights: NDArray[np.float32],
    user: NDArray[np.float32],
    state: NDArray[np.float32],
    tradeoff: float,
) -> list[float]:
    """Return the logits (N,), one term after another."""
    powers, users = (1.0, tradeoff), (1.0, *user[0].tolist())
    logits = []
    for row in state.tolist():
        entries = (1.0, *row)
        terms = (
            float(weights[k, s, u]) * powers[k] * entries[s] * users[u]
            for k, s, u in np.ndindex(*weights.shape)
        )
        logits.append(sum(terms))
    return logits


def drawn(*shape: int) -> NDArray[np.float32]:
    return np.random.default_rng(6).normal(size=shape).astype(np.float32)


def test_logits_are_sums_over_all_weights(weights: NDArray[np.float32]) -> None:
    user, state, tradeoffs = drawn(1, U), drawn(7, S), (0.0, 0.3, 1.0)
    logits = Product(weights).logits(user, state, tradeoffs)
    assert logits.dtype == np.float32
    for row, tradeoff in zip(logits, tradeoffs, strict=True):
        np.testing.assert_allclose(row, by_hand(weights, user, state, tradeoff), atol=1e-5)


def test_folding_finds_the_weights_of_a_function(weights: NDArray[np.float32]) -> None:
    user, state = drawn(1, U), drawn(7, S)
    product = folded(lambda u, x, w: np.array(by_hand(weights, u, x, w), np.float32), U, S)
    np.testing.assert_allclose(
        product.logits(user, state, (0.4,))[0], by_hand(weights, user, state, 0.4), atol=1e-5
    )


@pytest.mark.parametrize("size", [S, 67, 131])
def test_a_logit_is_the_same_to_the_bit_in_every_row_and_pool(size: int) -> None:
    """A product of matrices adds in another order in the rest of a block of rows."""
    product = Product(drawn(2, size + 1, U + 1))
    user, state, tradeoffs = drawn(1, U), drawn(83, size), (0.2, 0.9)
    together = product.logits(user, state, tradeoffs)
    equal = np.repeat(state[5:6], len(state), axis=0)
    for count in range(len(state) + 1):
        logits = product.logits(user, state[:count], tradeoffs)
        assert logits.shape == (2, count)
        assert np.array_equal(logits, together[:, :count])
        assert (product.logits(user, equal[:count], tradeoffs) == together[:, 5:6]).all()
    assert np.array_equal(product.logits(user, state[1:], tradeoffs), together[:, 1:])
    assert np.array_equal(product.logits(user, state, tradeoffs[:1]), together[:1])


def test_a_large_catalogue_is_multiplied_in_steps(weights: NDArray[np.float32]) -> None:
    product, user, state = Product(weights), drawn(1, U), drawn(7, S)
    many = np.tile(state, (2500, 1))
    logits = product.logits(user, many, (0.2, 0.9))
    assert np.array_equal(logits, np.tile(product.logits(user, state, (0.2, 0.9)), (1, 2500)))


def test_a_logit_that_is_too_large_is_not_finite_and_no_warning() -> None:
    huge = np.full((2, 2, 2), 3e38, np.float32)
    logits = Product(huge).logits(np.ones((1, 1), np.float32), drawn(3, 1), (1.0,))
    assert not np.isfinite(logits).any()


def test_a_ranker_may_read_no_state() -> None:
    constant = np.zeros((2, S + 1, U + 1), np.float32)
    constant[0, 0, 0] = 2.0
    assert Product(constant).logits(drawn(1, U), drawn(3, S), (0.5,)).tolist() == [[2.0] * 3]
