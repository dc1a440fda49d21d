"""Both decoders of records take any bytes, and agree."""

from __future__ import annotations

import struct

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from service.contract.records import MAX_VALUE, decode, decode_vector, encode

LENGTH = 5


@st.composite
def records(draw: st.DrawFn) -> bytes:
    """Bytes with a header that is often valid and values of any bits."""
    version, code = draw(st.sampled_from([1, 1, 1, 0, 2, 255])), draw(st.integers(0, 3))
    length = draw(st.sampled_from([LENGTH, LENGTH, LENGTH, 0, LENGTH + 1, 2**32 - 1]))
    head = struct.pack("<BBHIQQ", version, code, draw(st.integers(0, 65535)), length, 2**64 - 1, 0)
    size = LENGTH * (2 if code == 1 else 4)
    values = draw(st.binary(min_size=size, max_size=size) | st.binary(max_size=4 * LENGTH + 1))
    plain = draw(st.lists(st.floats(width=16), min_size=LENGTH, max_size=LENGTH))
    return head + draw(
        st.sampled_from([values, np.array(plain, "<f2" if code == 1 else "<f4").tobytes()])
    )


@given(st.lists(st.none() | records() | st.binary(max_size=60), max_size=8), st.booleans())
def test_any_bytes_decode_to_values_in_range_or_are_corrupt(
    stored: list[bytes | None], allow_nan: bool
) -> None:
    decoded = decode(stored, LENGTH, allow_nan=allow_nan)

    assert decoded.values.shape == (len(stored), LENGTH)
    assert decoded.values.dtype == np.float32
    assert decoded.present.tolist() == [record is not None for record in stored]
    assert not (decoded.corrupt & ~decoded.present).any()
    assert not decoded.values[decoded.corrupt | ~decoded.present].any()
    assert not np.isinf(decoded.values).any()
    if not allow_nan:
        assert (np.abs(decoded.values) <= MAX_VALUE).all()


@given(records() | st.binary(max_size=60))
def test_the_decoders_agree(record: bytes) -> None:
    many, one = decode([record], LENGTH), decode_vector(record, LENGTH)

    assert (one is None) == bool(many.corrupt[0])
    if one is not None:
        np.testing.assert_array_equal(one, many.values, strict=True)


@given(
    st.lists(
        st.lists(st.floats(-MAX_VALUE, MAX_VALUE, width=32), min_size=LENGTH, max_size=LENGTH),
        min_size=1,
        max_size=4,
    ),
    st.integers(0, 2**64 - 1),
)
def test_what_is_encoded_is_decoded(rows: list[list[float]], bits: int) -> None:
    values, mask = np.array(rows, np.float32), np.full(len(rows), bits, np.uint64)

    decoded = decode(encode(values, mask), LENGTH)

    np.testing.assert_array_equal(decoded.values, values, strict=True)
    np.testing.assert_array_equal(decoded.mask, mask, strict=True)
    assert not decoded.corrupt.any()
