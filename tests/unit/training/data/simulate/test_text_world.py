"""A world of texts: tastes follow themes, whatever else the vectors say."""

from __future__ import annotations

import numpy as np
import pytest

from training.data.columns import Floats
from training.data.simulate.worlds import TextContent, text_world

THEMES, FORMS = 16, 5


def explained(z: Floats, groups: np.ndarray[tuple[int, ...], np.dtype[np.int64]]) -> float:
    """Return the share of the variance of preferences (U, I) within users that groups explain."""
    means = np.stack([z[:, groups == group].mean(axis=1) for group in range(groups.max() + 1)])
    return float(means.var(axis=0).mean() / z.var(axis=1).mean())


def test_tastes_follow_themes_and_not_what_varies_most() -> None:
    rng = np.random.default_rng(0)
    theme = np.repeat(np.arange(THEMES), 5 * FORMS)
    form = np.tile(np.arange(FORMS), THEMES * 5)
    of_theme, of_form = rng.standard_normal((THEMES, 32)), 3 * rng.standard_normal((FORMS, 32))
    vectors = of_theme[theme] + of_form[form] + 0.3 * rng.standard_normal((len(theme), 32))
    titles = [f"Title {n}" for n in range(len(theme))]

    world = text_world(rng, TextContent(titles, theme, vectors.astype(np.float32)), users=200)

    z = world.preferences(np.arange(200), np.arange(world.items))
    assert explained(z, theme) > 0.5
    assert explained(z, form) < 0.1
    assert z.std() == pytest.approx(1, abs=0.01)
    assert world.titles == titles
