"""Assigns users, or other units, to a share of the traffic: the same ones every time."""

from __future__ import annotations

import hashlib

_BITS = 53  # of a float's mantissa: every value is exact and below 1


def unit_hash(salt: str, unit: str) -> float:
    """Return the place of ``unit`` in [0, 1) under ``salt``.

    The first 53 bits of BLAKE2b over salt, a zero byte and unit: uniform over units, independent
    between salts, and equal in every process and release. A unit is in a share if its place is
    below the share, so that a growing share keeps the units that it has.
    """
    digest = hashlib.blake2b(f"{salt}\0{unit}".encode(errors="surrogatepass"), digest_size=8)
    return (int.from_bytes(digest.digest()) >> 64 - _BITS) / (1 << _BITS)
