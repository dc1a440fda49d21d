"""The binary record that Redis holds for a user, an item, or an item's proxies.

One layout serves all three, little-endian, so that many records decode as one NumPy array:

    offset  size  field
    0       1     codec version (1)
    1       1     dtype of the values: 0 float32, 1 float16
    2       2     reserved, 0
    4       4     number of values
    8       8     mask: bit i set = modality i present (items); 0 otherwise
    16      8     written at, milliseconds since 1970
    24      -     the values

Items hold all modalities in manifest order, zeros where one is absent; proxies hold NaN where a
value is unknown; users hold the ranker's ``user`` vector.
"""

from __future__ import annotations

import struct
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

CODEC_VERSION = 1
MAX_VALUE = 1e6  # of embeddings and user vectors
_DTYPES = ("<f4", "<f2")
_NUMPY = tuple(map(np.dtype, _DTYPES))
_HEAD = struct.Struct("<BBHI")
_VALUES_AT = 24


@dataclass(frozen=True)
class Records:
    """Decoded records: ``values`` (N, V) float32, ``mask`` (N,) uint64, ``written_ms`` (N,).

    ``present`` (N,) is False where Redis had nothing, ``corrupt`` (N,) True where the bytes were
    not a record of the expected length; both kinds of row hold zeros.
    """

    values: NDArray[np.float32]
    mask: NDArray[np.uint64]
    written_ms: NDArray[np.uint64]
    present: NDArray[np.bool_]
    corrupt: NDArray[np.bool_]


def encode(
    values: NDArray[np.floating],
    mask: NDArray[np.uint64] | None = None,
    *,
    written_ms: int,
    half: bool = False,
) -> list[bytes]:
    """Pack ``values`` (N, V) and ``mask`` (N,) into N records; ``half`` stores float16."""
    rows = np.zeros(len(values), _layout(values.shape[1], int(half)))
    rows["version"] = CODEC_VERSION
    rows["dtype"] = int(half)
    rows["length"] = values.shape[1]
    rows["mask"] = 0 if mask is None else mask
    rows["written_ms"] = written_ms
    rows["values"] = values
    size, packed = rows.itemsize, rows.tobytes()
    return [packed[start : start + size] for start in range(0, len(packed), size)]


def decode(records: Sequence[bytes | None], length: int, *, allow_nan: bool = False) -> Records:
    """Unpack N records of ``length`` values; a wrong one is marked corrupt, never raised.

    Without ``allow_nan`` a value that is not within +-``MAX_VALUE`` is corrupt, so that no product
    of two overflows; with it (proxies: NaN is unknown) only an infinite one is.
    """
    count = len(records)
    values = np.zeros((count, length), np.float32)
    mask = np.zeros(count, np.uint64)
    written_ms = np.zeros(count, np.uint64)
    present = np.fromiter((record is not None for record in records), np.bool_, count)
    good = np.zeros(count, np.bool_)
    for code in range(len(_DTYPES)):
        layout = _layout(length, code)
        index = [
            row
            for row, record in enumerate(records)
            if record is not None and len(record) == layout.itemsize and record[1] == code
        ]
        if not index:
            continue
        rows = np.frombuffer(b"".join(records[row] or b"" for row in index), layout)
        fine = (rows["version"] == CODEC_VERSION) & (rows["length"] == length)
        unpacked = rows["values"].astype(np.float32).reshape(len(index), length)
        refused = np.isinf(unpacked) if allow_nan else ~(np.abs(unpacked) <= MAX_VALUE)
        fine &= ~refused.any(axis=1)
        kept = np.asarray(index)[fine]
        values[kept], mask[kept] = unpacked[fine], rows["mask"][fine]
        written_ms[kept], good[kept] = rows["written_ms"][fine], True
    return Records(values, mask, written_ms, present, present & ~good)


def decode_vector(record: bytes, length: int) -> NDArray[np.float32] | None:
    """Unpack one record to (1, ``length``); None where ``decode`` would call it corrupt."""
    if len(record) < _VALUES_AT:
        return None
    version, code, _, count = _HEAD.unpack_from(record)
    if version != CODEC_VERSION or code >= len(_DTYPES) or count != length:
        return None
    dtype = _NUMPY[code]
    if len(record) != _VALUES_AT + length * dtype.itemsize:
        return None
    values = np.frombuffer(record, dtype, offset=_VALUES_AT).astype(np.float32).reshape(1, length)
    return values if (np.abs(values) <= MAX_VALUE).all() else None  # nor NaN


def mask_matrix(mask: NDArray[np.uint64], modalities: int) -> NDArray[np.float32]:
    """Expand bit masks (N,) to the item encoder's ``modality_mask`` (N, M) of zeros and ones."""
    bits = np.arange(modalities, dtype=np.uint64)
    return ((mask[:, None] >> bits) & np.uint64(1)).astype(np.float32)


def mask_bits(present: NDArray[np.bool_]) -> NDArray[np.uint64]:
    """Pack presence (N, M) into bit masks (N,): the inverse of ``mask_matrix``."""
    bits = np.uint64(1) << np.arange(present.shape[1], dtype=np.uint64)
    packed: NDArray[np.uint64] = (present.astype(np.uint64) * bits).sum(axis=1, dtype=np.uint64)
    return packed


def _layout(length: int, code: int) -> np.dtype[np.void]:
    return np.dtype(
        [
            ("version", "u1"),
            ("dtype", "u1"),
            ("reserved", "<u2"),
            ("length", "<u4"),
            ("mask", "<u8"),
            ("written_ms", "<u8"),
            ("values", _DTYPES[code], (length,)),
        ]
    )
