"""The binary record that Redis holds for a user, an item, or an item's proxies.

One layout serves all three, little-endian, so that many records decode as one NumPy array:

    offset  size  field
    0       1     codec version (1)
    1       1     dtype of the values: 0 float32, 1 float16
    2       2     1 = bytes 16 to 20 are a checksum; 0 in old records
    4       4     number of values
    8       8     mask: bit i set = modality i present (items); 0 otherwise
    16      4     checksum: CRC-32 of the other fields, bytes 0 to 16 and the values
    20      4     reserved, 0; readers ignore it, because old records have a time from 16 on
    24      -     the values

An item's values are all modalities in manifest order, zeros where one is absent. A proxy record's
values are NaN where a proxy is unknown. A user's values are the ranker's ``user`` vector.
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

CODEC_VERSION = 1
MAX_VALUE = 1e6  # of embeddings and user vectors
_DTYPES = ("<f4", "<f2")
_NUMPY = tuple(map(np.dtype, _DTYPES))
_HEAD = struct.Struct("<BBHI")
_CHECKED = 1
_CHECKSUM_AT = 16
_VALUES_AT = 24


@dataclass(frozen=True)
class Records:
    """Decoded records: ``values`` (N, V) float32 and ``mask`` (N,) uint64.

    ``present`` (N,) is False where Redis held no record. ``corrupt`` (N,) is True where the bytes
    are not a valid record of the expected length. Both kinds of row hold zeros.
    """

    values: NDArray[np.float32]
    mask: NDArray[np.uint64]
    present: NDArray[np.bool_]
    corrupt: NDArray[np.bool_]


def encode(
    values: NDArray[np.floating],
    mask: NDArray[np.uint64] | None = None,
    *,
    half: bool = False,
) -> list[bytes]:
    """Pack ``values`` (N, V) and ``mask`` (N,) into N records; ``half`` stores float16."""
    rows = np.zeros(len(values), _layout(values.shape[1], int(half)))
    rows["version"] = CODEC_VERSION
    rows["dtype"] = int(half)
    rows["length"] = values.shape[1]
    rows["mask"] = 0 if mask is None else mask
    rows["values"] = values
    rows["checked"] = _CHECKED
    rows["checksum"] = [_checksum(record) for record in _split(rows)]
    return _split(rows)


def decode(records: Sequence[bytes | None], length: int, *, allow_nan: bool = False) -> Records:
    """Unpack N records of ``length`` values; a wrong record is marked corrupt and never raises.

    A checksum that does not fit makes a record corrupt. So does a value beyond +-``MAX_VALUE``, so
    that no product of two values overflows, and so does NaN. With ``allow_nan`` (for proxies, where
    NaN means unknown) only an infinite value does.
    """
    count = len(records)
    values = np.zeros((count, length), np.float32)
    mask = np.zeros(count, np.uint64)
    present = np.fromiter((record is not None for record in records), np.bool_, count)
    valid = np.zeros(count, np.bool_)
    for code in range(len(_DTYPES)):
        layout = _layout(length, code)
        index = [
            row
            for row, record in enumerate(records)
            if record is not None
            and len(record) == layout.itemsize
            and record[1] == code
            and _is_intact(record)
        ]
        if not index:
            continue
        rows = np.frombuffer(b"".join(records[row] or b"" for row in index), layout)
        unpacked = rows["values"].astype(np.float32).reshape(len(index), length)
        refused = np.isinf(unpacked) if allow_nan else ~(np.abs(unpacked) <= MAX_VALUE)
        row_valid = (rows["version"] == CODEC_VERSION) & (rows["length"] == length)
        row_valid &= ~refused.any(axis=1)
        places = np.asarray(index)[row_valid]
        values[places], mask[places] = unpacked[row_valid], rows["mask"][row_valid]
        valid[places] = True
    return Records(values, mask, present, present & ~valid)


def decode_vector(record: bytes, length: int) -> NDArray[np.float32] | None:
    """Unpack one record to (1, ``length``), read-only; None where ``decode`` marks it corrupt.

    A float32 record is not copied.
    """
    if len(record) < _VALUES_AT:
        return None
    version, code, _, count = _HEAD.unpack_from(record)
    if version != CODEC_VERSION or code >= len(_DTYPES) or count != length:
        return None
    dtype = _NUMPY[code]
    if len(record) != _VALUES_AT + length * dtype.itemsize or not _is_intact(record):
        return None
    stored = np.frombuffer(record, dtype, offset=_VALUES_AT)
    values = stored.astype(np.float32, copy=False).reshape(1, length)
    values.flags.writeable = False
    return values if (np.abs(values) <= MAX_VALUE).all() else None  # False for NaN as well


def mask_matrix(mask: NDArray[np.uint64], modalities: int) -> NDArray[np.float32]:
    """Expand bit masks (N,) to the item encoder's ``modality_mask`` (N, M) of zeros and ones."""
    bits = np.arange(modalities, dtype=np.uint64)
    return ((mask[:, None] >> bits) & np.uint64(1)).astype(np.float32)


def mask_bits(present: NDArray[np.bool_]) -> NDArray[np.uint64]:
    """Pack presence (N, M) into bit masks (N,): the inverse of ``mask_matrix``."""
    bits = np.uint64(1) << np.arange(present.shape[1], dtype=np.uint64)
    packed: NDArray[np.uint64] = (present.astype(np.uint64) * bits).sum(axis=1, dtype=np.uint64)
    return packed


def _is_intact(record: bytes) -> bool:
    """Return whether the bytes of a record are those that were written, as far as it can tell."""
    if not record[2] & _CHECKED:
        return True
    return _checksum(record) == int.from_bytes(record[_CHECKSUM_AT : _CHECKSUM_AT + 4], "little")


def _checksum(record: bytes) -> int:
    return zlib.crc32(record[_VALUES_AT:], zlib.crc32(record[:_CHECKSUM_AT]))


def _split(rows: NDArray[np.void]) -> list[bytes]:
    size, packed = rows.itemsize, rows.tobytes()
    return [packed[start : start + size] for start in range(0, len(packed), size)]


def _layout(length: int, code: int) -> np.dtype[np.void]:
    return np.dtype(
        [
            ("version", "u1"),
            ("dtype", "u1"),
            ("checked", "<u2"),
            ("length", "<u4"),
            ("mask", "<u8"),
            ("checksum", "<u4"),
            ("reserved", "<u4"),
            ("values", _DTYPES[code], (length,)),
        ]
    )
