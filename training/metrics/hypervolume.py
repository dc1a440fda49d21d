"""The area that a front dominates."""

from __future__ import annotations

from collections.abc import Sequence


def hypervolume(points: Sequence[tuple[float, float]], reference: tuple[float, float]) -> float:
    """Return the area that ``points`` (x, y) dominate above ``reference``; greater is better."""
    area, height = 0.0, reference[1]
    for x, y in sorted(points, reverse=True):
        if x > reference[0] and y > height:
            area += (x - reference[0]) * (y - height)
            height = y
    return area
