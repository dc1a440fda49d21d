from __future__ import annotations

import struct
import zlib

import numpy as np
import pytest

from service.contract.records import decode, decode_vector, encode, mask_bits, mask_matrix

ALL_BITS = 2**64 - 1


def pack(
    *values: float,
    version: int = 1,
    dtype: int = 0,
    length: int | None = None,
    mask: int = 0,
    reserved: int = 0,
) -> bytes:
    """One record packed by hand, from the table in the module's docstring."""
    count = len(values) if length is None else length
    header = struct.pack("<BBHIQQ", version, dtype, 0, count, mask, reserved)
    return header + struct.pack(f"<{len(values)}{'e' if dtype == 1 else 'f'}", *values)


def sealed(record: bytes) -> bytes:
    """The record with its checksum, over the bytes joined."""
    head = record[:2] + b"\1\0" + record[4:16]
    return head + struct.pack("<II", zlib.crc32(head + record[24:]), 0) + record[24:]


def test_a_float32_record_has_the_documented_bytes() -> None:
    values = np.array([[1.0, -2.0]], np.float32)

    (record,) = encode(values, np.array([0b101], np.uint64))

    assert record == bytes.fromhex(
        "01 00 0100 02000000"  # version, float32, with a checksum, two values
        "0500000000000000 6299fe23 00000000"  # mask, checksum, reserved
        "0000803f 000000c0"  # 1, -2
    )


def test_a_float16_record_has_the_documented_bytes() -> None:
    values = np.array([[1.0, -2.0, 0.5]], np.float32)

    (record,) = encode(values, np.array([1 << 63], np.uint64), half=True)

    assert record == bytes.fromhex(
        "01 01 0100 030000000000000000000080 312150fa 00000000 003c 00c0 0038"  # 1, -2, 0.5
    )


@pytest.mark.parametrize(("half", "size"), [(False, 24 + 12), (True, 24 + 6)])
def test_encode_agrees_with_struct_row_by_row(half: bool, size: int) -> None:
    values = np.array([[1.5, -0.25, 3.0], [0.0, 8.0, -1.0]], np.float64)
    masks = [0b011, ALL_BITS]

    records = encode(values, np.array(masks, np.uint64), half=half)

    assert records == [
        sealed(pack(*row, dtype=int(half), mask=mask))
        for row, mask in zip(values, masks, strict=True)
    ]
    assert {len(record) for record in records} == {size}


@pytest.mark.parametrize("dtype", [0, 1])
def test_a_record_with_a_time_in_the_reserved_bytes_is_read_as_one_without(dtype: int) -> None:
    old = pack(1.0, -2.0, dtype=dtype, mask=3, reserved=1_700_000_000_123)

    back = decode([old], 2)
    vector = decode_vector(old, 2)

    assert (back.values.tolist(), back.mask.tolist()) == ([[1, -2]], [3])
    assert back.corrupt.tolist() == [False]
    assert vector is not None
    assert vector.tolist() == [[1, -2]]


@pytest.mark.parametrize("half", [True, False])
def test_a_flipped_bit_is_corrupt_or_changes_nothing(half: bool) -> None:
    (record,) = encode(np.array([[1.0, -2.0]], np.float32), np.array([5], np.uint64), half=half)
    unnoticed = set()
    for place in range(8 * len(record)):
        flipped = bytearray(record)
        flipped[place // 8] ^= 1 << place % 8

        back = decode([bytes(flipped)], 2)
        vector = decode_vector(bytes(flipped), 2)

        assert (vector is None) == back.corrupt[0]
        if vector is not None:
            unnoticed.add(place // 8)
            assert (back.values.tolist(), back.mask.tolist()) == ([[1, -2]], [5])
    assert unnoticed == {2, 20, 21, 22, 23}  # whether there is a checksum, and reserved bytes


def test_a_record_without_a_mask_holds_zero_there() -> None:
    (record,) = encode(np.ones((1, 1), np.float32))

    assert record[8:16] == bytes(8)


def test_float32_values_come_back_exactly() -> None:
    values = np.random.default_rng(0).normal(size=(5, 7)).astype(np.float32)
    mask = np.array([0, 1, 5, 1 << 63, ALL_BITS], np.uint64)

    back = decode(encode(values, mask), 7)

    np.testing.assert_array_equal(back.values, values)
    np.testing.assert_array_equal(back.mask, mask)
    assert back.present.tolist() == [True] * 5
    assert back.corrupt.tolist() == [False] * 5
    assert back.values.dtype == np.float32
    assert back.mask.dtype == np.uint64


def test_float16_values_come_back_rounded_to_half_precision() -> None:
    back = decode(encode(np.array([[0.1, 65504.0]]), half=True), 2)

    assert back.values.tolist() == [[0.0999755859375, 65504.0]]  # the binary16 nearest to 0.1
    assert back.values.dtype == np.float32
    assert not back.corrupt.any()


def test_rows_keep_their_places_when_dtypes_and_absent_rows_mix() -> None:
    records = [
        pack(1.0, 2.0, dtype=1, mask=1),
        None,
        pack(3.0, 4.0, dtype=0, mask=2),
        pack(5.0, 6.0, dtype=1, mask=3),
        pack(7.0, 8.0, dtype=0, mask=4),
    ]

    back = decode(records, 2)

    assert back.values.tolist() == [[1, 2], [0, 0], [3, 4], [5, 6], [7, 8]]
    assert back.mask.tolist() == [1, 0, 2, 3, 4]
    assert back.present.tolist() == [True, False, True, True, True]
    assert back.corrupt.tolist() == [False] * 5


@pytest.mark.parametrize(
    "bad",
    [
        pytest.param(b"", id="empty"),
        pytest.param(b"\x01", id="one byte"),
        pytest.param(pack(9.0, 9.0, mask=7)[:24], id="header only"),
        pytest.param(pack(9.0, 9.0, mask=7)[:-1], id="truncated float32"),
        pytest.param(pack(9.0, 9.0, dtype=1, mask=7)[:-1], id="truncated float16"),
        pytest.param(pack(9.0, 9.0, mask=7) + b"\0", id="a byte too long"),
        pytest.param(pack(9.0, 9.0, version=0, mask=7), id="version 0"),
        pytest.param(pack(9.0, 9.0, version=2, mask=7), id="version 2"),
        pytest.param(pack(9.0, 9.0, version=2, dtype=1, mask=7), id="version 2, float16"),
        pytest.param(pack(9.0, mask=7), id="a value too few"),
        pytest.param(pack(9.0, 9.0, 9.0, mask=7), id="a value too many"),
        pytest.param(pack(9.0, 9.0, length=3, mask=7), id="length says 3, float32"),
        pytest.param(pack(9.0, 9.0, length=1, dtype=1, mask=7), id="length says 1, float16"),
        pytest.param(pack(9.0, 9.0, 9.0, 9.0, dtype=1, mask=7), id="size of two float32"),
        pytest.param(pack(9.0, dtype=0, length=2, mask=7), id="size of two float16"),
        pytest.param(pack(9.0, 9.0, dtype=2, mask=7), id="dtype 2"),
        pytest.param(pack(9.0, 9.0, dtype=255, mask=7), id="dtype 255"),
        pytest.param(pack(9.0, np.inf, mask=7), id="inf"),
        pytest.param(pack(-np.inf, 9.0, mask=7), id="-inf"),
        pytest.param(pack(9.0, np.inf, dtype=1, mask=7), id="inf, float16"),
        pytest.param(pack(np.nan, 9.0, mask=7), id="NaN"),
        pytest.param(pack(9.0, np.nan, dtype=1, mask=7), id="NaN, float16"),
        pytest.param(pack(9.0, 9.0, mask=7)[:24] + b"\1\0\x80\x7f" * 2, id="signalling NaN"),
        pytest.param(b'{"v": [9.0, 9.0], "mask": "not a record"}', id="JSON"),
    ],
)
def test_a_wrong_record_is_corrupt_and_harms_no_other_row(bad: bytes) -> None:
    first, last = pack(1.0, 2.0, mask=1), pack(3.0, 4.0, dtype=1, mask=2)

    back = decode([first, bad, None, last], 2)

    assert back.corrupt.tolist() == [False, True, False, False]
    assert back.present.tolist() == [True, True, False, True]
    assert back.values.tolist() == [[1, 2], [0, 0], [0, 0], [3, 4]]
    assert back.mask.tolist() == [1, 0, 0, 2]


@pytest.mark.parametrize("dtype", [0, 1])
def test_allow_nan_lets_nan_through_and_still_refuses_infinity(dtype: int) -> None:
    records = [
        pack(np.nan, 2.0, dtype=dtype),
        pack(np.nan, np.inf, dtype=dtype),
        pack(-np.inf, 2.0, dtype=dtype),
    ]

    back = decode(records, 2, allow_nan=True)

    np.testing.assert_array_equal(back.values, [[np.nan, 2], [0, 0], [0, 0]])
    assert back.corrupt.tolist() == [False, True, True]


def test_absent_rows_are_neither_present_nor_corrupt() -> None:
    back = decode([None, None], 3)

    assert back.values.tolist() == [[0, 0, 0], [0, 0, 0]]
    assert back.present.tolist() == [False, False]
    assert back.corrupt.tolist() == [False, False]


def test_no_records_decode_to_empty_arrays_of_the_right_shape() -> None:
    back = decode([], 3)

    assert back.values.shape == (0, 3)
    for column in (back.mask, back.present, back.corrupt):
        assert column.shape == (0,)


def test_no_rows_encode_to_no_records() -> None:
    assert encode(np.zeros((0, 3), np.float32), np.zeros(0, np.uint64)) == []


def test_records_without_values_keep_their_header() -> None:
    """A model without proxies: zero values a row, one record a row all the same."""
    records = encode(np.zeros((2, 0)), np.array([4, 5], np.uint64))

    assert records == [sealed(pack(mask=4)), sealed(pack(mask=5))]
    back = decode(records, 0)
    assert back.values.shape == (2, 0)
    assert back.mask.tolist() == [4, 5]
    assert back.corrupt.tolist() == [False, False]


def test_bit_i_of_a_mask_is_column_i_of_the_matrix() -> None:
    matrix = mask_matrix(np.array([0b0001, 0b1010, 0, 0b1_0000], np.uint64), 4)

    assert matrix.tolist() == [[1, 0, 0, 0], [0, 1, 0, 1], [0, 0, 0, 0], [0, 0, 0, 0]]
    assert matrix.dtype == np.float32


def test_column_i_of_presence_is_bit_i_of_the_mask() -> None:
    bits = mask_bits(np.array([[True, False, False], [False, True, True], [False] * 3]))

    assert bits.tolist() == [1, 6, 0]
    assert bits.dtype == np.uint64


def test_the_64th_modality_fits() -> None:
    present = np.zeros((3, 64), np.bool_)
    present[0, 63] = True
    present[1, [0, 63]] = True
    present[2] = True

    bits = mask_bits(present)

    assert bits.tolist() == [2**63, 2**63 + 1, ALL_BITS]
    np.testing.assert_array_equal(mask_matrix(bits, 64), present.astype(np.float32))


@pytest.mark.parametrize("modalities", [1, 5, 33, 64])
def test_mask_bits_and_mask_matrix_are_inverse(modalities: int) -> None:
    present = np.random.default_rng(modalities).random((50, modalities)) < 0.5

    np.testing.assert_array_equal(mask_matrix(mask_bits(present), modalities), present)


def test_masks_of_nothing_are_empty() -> None:
    assert mask_bits(np.zeros((0, 3), np.bool_)).shape == (0,)
    assert mask_bits(np.zeros((2, 0), np.bool_)).tolist() == [0, 0]
    assert mask_matrix(np.zeros(0, np.uint64), 3).shape == (0, 3)


@pytest.mark.parametrize("half", [True, False])
@pytest.mark.parametrize(
    ("change", "value"),
    [(None, 0), (0, 2), (0, 0), (1, 2), (1, 1), (4, 7), (4, 0)],
)
def test_one_vector_is_decoded_as_many_are(half: bool, change: int | None, value: int) -> None:
    vectors = np.array([[1.5, -2.0, 0.25, 8.0]], np.float32)
    (record,) = encode(vectors, half=half)
    if change is not None:
        harmed = bytearray(record)
        harmed[change] = value
        record = bytes(harmed)
    for cut in (len(record), len(record) - 1, 24, 3, 0):
        many = decode([record[:cut]], 4)
        one = decode_vector(record[:cut], 4)
        assert (one is None) == many.corrupt[0]
        if one is not None:
            np.testing.assert_array_equal(one, many.values)
            assert one.dtype == np.float32


@pytest.mark.parametrize("absurd", [np.nan, np.inf, -np.inf, 2e6, -2e6])
def test_a_vector_of_absurd_numbers_is_none(absurd: float) -> None:
    (record,) = encode(np.array([[1.0, absurd]], np.float32))
    assert decode_vector(record, 2) is None
