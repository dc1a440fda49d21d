"""Texts as vectors: cosines computed by hand."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from training.data.convert.text import embed_texts
from training.errors import DatasetError


def test_cosines_are_those_of_tf_idf() -> None:
    """All three shared words fit into three dimensions, so the SVD loses nothing.

    idf = log(7 / (1 + texts with the word)) + 1: cat and fish have two, dog has three.
    """
    texts = ["cat dog", "dog and cat", "fish dog", "fish", "a bird", ""]
    vectors, ids = embed_texts(texts, list("abcdef"), Path("texts"))
    assert ids == ["a", "b", "c", "d"]
    assert vectors.shape == (4, 3)
    rare, common = np.log(7 / 3) + 1, np.log(7 / 4) + 1
    square = rare**2 + common**2
    expected = np.array(
        [
            [1, 1, common**2 / square, 0],
            [1, 1, common**2 / square, 0],
            [common**2 / square, common**2 / square, 1, rare / np.sqrt(square)],
            [0, 0, rare / np.sqrt(square), 1],
        ]
    )
    np.testing.assert_allclose(vectors @ vectors.T, expected, atol=1e-5)


def test_many_words_are_reduced_to_64_dimensions() -> None:
    words = [f"word{number}" for number in range(200)]
    texts = [f"{words[k]} {words[k - 1]} {words[k - 2]}" for k in range(200)]
    vectors, ids = embed_texts(texts, [str(k) for k in range(200)], Path("texts"))
    assert vectors.shape[1] == 64
    assert vectors.dtype == np.float32
    np.testing.assert_allclose(np.linalg.norm(vectors, axis=1), 1, rtol=1e-5)
    assert len(ids) == len(vectors) > 190


@pytest.mark.parametrize("texts", [["cat", "dog"], ["", ""], ["the", "the"]])
def test_texts_that_share_no_word_are_refused(texts: list[str]) -> None:
    with pytest.raises(DatasetError, match="has no word that two texts share") as caught:
        embed_texts(texts, ["a", "b"], Path("movies.csv"))
    assert caught.value.file == Path("movies.csv")
