"""Any text has one place in [0, 1), whatever its salt."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from service.contract.assignment import unit_hash

TEXTS = st.text(st.characters(exclude_characters="\0"))


@given(TEXTS, TEXTS)
def test_a_place_is_in_range_and_the_same_each_time(salt: str, unit: str) -> None:
    place = unit_hash(salt, unit)
    assert 0 <= place < 1
    assert unit_hash(salt, unit) == place


@given(TEXTS.filter(bool), TEXTS)
def test_salt_and_unit_are_kept_apart(unit: str, salt: str) -> None:
    assert unit_hash(salt, unit) != unit_hash(salt + unit, "")
