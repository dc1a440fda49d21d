from __future__ import annotations

import pytest

from training.metrics.hypervolume import hypervolume


@pytest.mark.parametrize(
    ("points", "area"),
    [
        ([(0.7, 0.8)], 0.2 * 0.3),
        ([(0.7, 0.6), (0.6, 0.8)], 0.2 * 0.1 + 0.1 * 0.2),
        ([(0.6, 0.8), (0.65, 0.7), (0.7, 0.6)], 0.2 * 0.1 + 0.15 * 0.1 + 0.1 * 0.1),
        ([(0.7, 0.8), (0.6, 0.7), (0.7, 0.6), (0.7, 0.8)], 0.06),  # dominated, equal
        ([(0.7, 0.8), (0.9, 0.4), (0.4, 0.9)], 0.06),  # below the reference on one axis
        ([(0.5, 0.9), (0.9, 0.5)], 0.0),  # on the reference
        ([], 0.0),
    ],
)
def test_hypervolume_by_hand(points: list[tuple[float, float]], area: float) -> None:
    assert hypervolume(points, (0.5, 0.5)) == pytest.approx(area, abs=1e-12)
    assert hypervolume(points[::-1], (0.5, 0.5)) == pytest.approx(area, abs=1e-12)


def test_the_reference_has_two_sides() -> None:
    assert hypervolume([(0.7, 0.8)], (0.6, 0.2)) == pytest.approx(0.1 * 0.6)
