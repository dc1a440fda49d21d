"""A user's own tradeoff in the store."""

from __future__ import annotations

import pytest

from service.contract.user_tradeoffs import decode, encode, tradeoff_key


@pytest.mark.parametrize("tradeoff", [0.0, 1.0, 0.3, 1 / 3, 1e-300])
def test_a_tradeoff_comes_back_as_it_was(tradeoff: float) -> None:
    assert decode(encode(tradeoff).encode()) == tradeoff


@pytest.mark.parametrize("value", [b"", b"x", b"-0.1", b"1.1", b"nan", b"inf", b"\xff"])
def test_a_corrupt_value_is_none(value: bytes) -> None:
    assert decode(value) is None


def test_no_space_has_the_key() -> None:
    assert tradeoff_key("ns", "a:b") == "ns:_tradeoff:a:b"
