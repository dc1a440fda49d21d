"""Item content from text: TF-IDF, reduced by a truncated SVD (latent semantic analysis)."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from sklearn.decomposition import TruncatedSVD
from sklearn.feature_extraction.text import TfidfVectorizer

from training.data.columns import Floats
from training.errors import DatasetError

TEXT = "text"  # the modality
DIM = 64
LEAST_TEXTS = 2  # a word of one text says nothing of other texts
LEAST_NORM = 1e-6  # of a vector before scaling; below, the text shares no word


def embed_texts(
    texts: list[str], item_ids: list[str], path: Path
) -> tuple[NDArray[np.floating], list[str]]:
    """Return the modality ``TEXT``: unit vectors (n, D), and the ids of the n items that have it.

    D is 64, or less for few texts or words. Words are those of at least two texts, without English
    stop words; an item whose text has none of them lacks the modality. Raises DatasetError naming
    ``path``, the origin of the texts, if no two texts share a word.
    """
    vectorizer = TfidfVectorizer(min_df=LEAST_TEXTS, stop_words="english", sublinear_tf=True)
    try:
        weights = vectorizer.fit_transform(texts)  # (items, words)
    except ValueError as error:  # no words
        raise DatasetError(path, "has no word that two texts share") from error
    svd = TruncatedSVD(min(DIM, *weights.shape), random_state=0)
    vectors: Floats = svd.fit_transform(weights).astype(np.float32)  # (items, D)
    norm = np.linalg.norm(vectors, axis=1)
    has = np.flatnonzero(norm > LEAST_NORM)
    return vectors[has] / norm[has, None], [item_ids[row] for row in has]
