"""The study of looks tells ways to look apart."""

from __future__ import annotations

from tests.bench.experiments import study


def test_looks_are_tallied_by_the_way_to_look() -> None:
    tallies = study(logs=3, a_day=40, effect=3.0)
    assert {tally.logs for tally in tallies.values()} == {3}
    sequence, ordinary = tallies["confidence sequence"], tallies["ordinary interval"]
    assert (sequence.misses, len(sequence.found_on)) == (0, 3)
    assert min(ordinary.found_on) >= 5  # 100 users of each arm
    assert sum(ordinary.width) < sum(sequence.width)
