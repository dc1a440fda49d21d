"""The demo on texts: its titles, the feed of texts, and the command."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from typer.testing import CliRunner

from training.cli.app import app
from training.data.dataset import open_dataset
from training.data.simulate.simulate import simulate
from training.data.simulate.worlds import TextContent
from training.demo import titles
from training.errors import TrainingError


@pytest.mark.usefixtures("encoder_cache")
def test_the_encoder_puts_titles_of_a_theme_together(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(titles, "_FORMS", ("{}",))

    content = titles.text_content()

    assert content.titles[:2] == ["Saxophone solos", "Bebop piano"]
    assert np.bincount(content.themes).tolist() == [6] * 20
    nearness = content.vectors @ content.vectors.T - 2 * np.eye(120)
    nearest = content.themes[nearness.argmax(axis=1)]
    assert (nearest == content.themes).mean() > 0.25  # by chance .04


def test_all_titles_differ() -> None:
    themes = titles.theme_titles()
    names = [title for theme in themes for title in theme]

    assert len(names) == len(set(names)) == 840


def test_a_feed_of_texts_has_their_titles_and_vectors(tmp_path: Path) -> None:
    vectors = np.random.default_rng(0).standard_normal((840, 24), np.float32)
    names = [f"Title {n}" for n in range(840)]

    simulate(
        tmp_path / "data",
        source=TextContent(names, np.arange(840) % 20, vectors),
        impressions=3_200,
    )

    dataset = open_dataset(tmp_path / "data")
    assert dataset.titles == names
    assert [(m.name, m.dim) for m in dataset.modalities] == [("text", 24)]
    np.testing.assert_array_equal(dataset.embedding, vectors)


def test_the_command_simulates_texts_in_a_folder_of_their_own(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: dict[str, Any] = {}

    def stop(out: Path, **options: Any) -> None:
        seen.update(options, out=out)
        raise TrainingError("stopped")

    monkeypatch.setattr("training.demo.demo.text_content", lambda: "content")
    monkeypatch.setattr("training.demo.demo.simulate", stop)

    result = CliRunner().invoke(app, ["demo", "--texts", "--once", "--build", str(tmp_path)])

    assert str(result.exception) == "stopped"
    assert (seen["source"], seen["out"]) == ("content", tmp_path / "texts")
