"""Worlds with known truth: how much each user likes each item, before any exposure."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from sklearn.discriminant_analysis import LinearDiscriminantAnalysis

from training.data.columns import Floats
from training.data.convert.jester import RATINGS, TEXTS, read_jester
from training.data.convert.text import TEXT, embed_texts
from training.data.convert.tiktok import FILE, read_tiktok
from training.data.simulate.preference import fit_preferences, principal_components
from training.errors import DatasetError

# The specification's truth: r = INTERCEPT + SLOPE clip(z(S), +-CLIP) + QUALITY_WEIGHT q.
INTERCEPT, SLOPE, CLIP, QUALITY_WEIGHT = -1.3, 1.4, 3.0, 0.5
# Our choices: shares of the variance of S, and of q, that item content explains.
CONTENT_SHARE, QUALITY_CONTENT_SHARE = 0.75, 0.5
TASTE_DIM, MAX_TASTE_DIM = 32, 64  # of real users; at most the components of content

THEMES = (
    *("Jazz", "Surf", "Chess", "Ramen", "Parkour", "Origami", "Techno", "Garden", "Rally", "Magic"),
    *("Violin", "Climb", "Bakery", "Comedy", "Yoga", "Drone", "Pottery", "Salsa", "Skate", "Opera"),
)
ITEMS_PER_THEME = 40
LATENT_DIM = 12
TOY_MODALITIES = {"image": (slice(0, 8), 32), "audio": (slice(4, 12), 24)}
MISSING_SHARE = 0.04

MIN_POSITIVES, MIN_ITEMS = 2, 40

Array = NDArray[np.floating]


@dataclass(frozen=True)
class World:
    """The truth r of every user and item in low-rank form.

    user_factors (U, D) and item_factors (I, D): their product is z(S), with standard deviation 1
    over all pairs and mean 0 for each item; quality (I,), z-scored unless the ratings give its
    scale; embeddings: modality -> values (n, dim) and the rows of the n items that have it.
    """

    name: str
    titles: list[str]
    user_factors: Floats
    item_factors: Floats
    quality: Floats
    embeddings: dict[str, tuple[Floats, NDArray[np.int64]]]

    @property
    def users(self) -> int:
        """Number of users U."""
        return len(self.user_factors)

    @property
    def items(self) -> int:
        """Number of items I."""
        return len(self.item_factors)

    def preferences(self, users: NDArray[np.int64], items: NDArray[np.int64]) -> Floats:
        """Return z(S) of B users with N items, (B, N)."""
        scores: Floats = self.user_factors[users] @ self.item_factors[items].T
        return scores

    def pair_preferences(self, users: NDArray[np.integer], items: NDArray[np.int64]) -> Floats:
        """Return z(S) of R (user, item) pairs, (R,)."""
        scores: Floats = np.einsum("rd,rd->r", self.user_factors[users], self.item_factors[items])
        return scores

    def truth_logit(self, z: Floats, items: NDArray[np.int64]) -> Floats:
        """Return r (logit of liking) for preferences ``z`` of ``items``, same shape."""
        clipped = np.clip(z, -CLIP, CLIP)
        return np.float32(INTERCEPT) + SLOPE * clipped + QUALITY_WEIGHT * self.quality[items]


def toy_world(rng: np.random.Generator, users: int) -> World:
    """Generate themed items whose modalities are noisy views of partly shared latent factors."""
    items = len(THEMES) * ITEMS_PER_THEME
    theme = np.repeat(np.arange(len(THEMES)), ITEMS_PER_THEME)
    centres = rng.standard_normal((len(THEMES), LATENT_DIM))
    latent = centres[theme] + 0.6 * rng.standard_normal((items, LATENT_DIM))
    taste = _tastes(rng, centres, users)
    embeddings = {}
    lacking = rng.permutation(items)[: round(MISSING_SHARE * items) * len(TOY_MODALITIES)]
    for (name, (view, dim)), missing in zip(
        TOY_MODALITIES.items(), np.split(lacking, len(TOY_MODALITIES)), strict=True
    ):
        projection = rng.standard_normal((latent[:, view].shape[1], dim)) / np.sqrt(LATENT_DIM)
        values = latent[:, view] @ projection + 0.3 * rng.standard_normal((items, dim))
        item_rows = np.setdiff1d(np.arange(items), missing)
        embeddings[name] = (values[item_rows].astype(np.float32), item_rows)
    user_factors, item_factors = _factors(taste, latent, rng.standard_normal(latent.shape))
    return World(
        name="toy",
        titles=[f"{name} {n:03d}" for name in THEMES for n in range(1, ITEMS_PER_THEME + 1)],
        user_factors=user_factors,
        item_factors=item_factors,
        quality=_quality(rng, latent),
        embeddings=embeddings,
    )


@dataclass(frozen=True)
class TextContent:
    """Titles of I items, their themes (I,) counted from 0, and their vectors (I, D)."""

    titles: list[str]
    themes: NDArray[np.int64]
    vectors: Floats


def text_world(rng: np.random.Generator, content: TextContent, users: int) -> World:
    """Generate tastes for themes of texts: a user likes what lies near two themes.

    The items' latent factors are the linear discriminants of the themes: the directions of the
    vectors in which themes differ more than the texts of one theme do. So a model can learn from
    the vectors alone what a user likes.
    """
    themes = range(content.themes.max() + 1)
    analysis = LinearDiscriminantAnalysis(solver="eigen", shrinkage="auto", n_components=LATENT_DIM)
    latent = analysis.fit(content.vectors, content.themes).transform(content.vectors)
    latent /= latent.std(axis=0)
    centres = np.stack([latent[content.themes == theme].mean(axis=0) for theme in themes])
    taste = _tastes(rng, centres, users)
    user_factors, item_factors = _factors(taste, latent, rng.standard_normal(latent.shape))
    return World(
        name="texts-simulated",
        titles=content.titles,
        user_factors=user_factors,
        item_factors=item_factors,
        quality=_quality(rng, latent),
        embeddings={TEXT: (content.vectors, np.arange(len(content.titles)))},
    )


def _tastes(rng: np.random.Generator, centres: NDArray[np.floating], users: int) -> Array:
    """Return tastes (U, D): the mean of two of the themes' centres (T, D), and a deviation."""
    favourite = centres[rng.integers(len(centres), size=(users, 2))].mean(axis=1)
    taste: Array = favourite + 0.6 * rng.standard_normal((users, LATENT_DIM))
    return taste


def tiktok_world(
    rng: np.random.Generator, source: Path, users: int, taste_dim: int = TASTE_DIM
) -> World:
    """Fit real users and items of ``source/tiktok.npz``; raises DatasetError.

    Simulated users take the tastes of real users with at least 2 training positives, drawn without
    replacement. If there are more simulated users than these, several share a taste.
    """
    tiktok = read_tiktok(source)
    item_rows = np.arange(tiktok.items)
    active = np.flatnonzero(np.bincount(tiktok.positives["train"][:, 0]) >= MIN_POSITIVES)
    if tiktok.items < MIN_ITEMS or not len(active):
        problem = (
            f"has {tiktok.items} items and {len(active)} users with {MIN_POSITIVES} training "
            f"positives; the simulator needs at least {MIN_ITEMS} and 1"
        )
        raise DatasetError(source / FILE, problem)
    content = principal_components(list(tiktok.embeddings.values()))
    taste, explained, residual = fit_preferences(
        tiktok.positives["train"],
        tiktok.users,
        content,
        dim=taste_dim,
        seed=int(rng.integers(2**31)),
    )
    sample = _sample(rng, active, users)
    user_factors, item_factors = _factors(taste[sample], explained, residual)
    return World(
        name="tiktok-simulated",
        titles=[f"Video {row:04d}" for row in item_rows],
        user_factors=user_factors,
        item_factors=item_factors,
        quality=_quality(rng, content),
        embeddings={name: (x, item_rows) for name, x in tiktok.embeddings.items()},
    )


def jester_world(rng: np.random.Generator, source: Path, users: int) -> World:
    """Take the tastes of Jester's users who rated every joke; raises DatasetError.

    Nothing is fitted: r = INTERCEPT + SLOPE (rating - mean) / deviation grows with the user's own
    rating of the joke. ``mean`` is that of all ratings, ``deviation`` that of the ratings of a joke
    from its mean, so a joke's mean rating takes the place of the quality. Simulated users are drawn
    as in ``tiktok_world``.
    """
    jester = read_jester(source)
    ratings = jester.ratings[jester.complete].astype(np.float64)
    jokes = len(jester.texts)
    if jokes < MIN_ITEMS or not len(ratings):
        problem = (
            f"has {jokes} jokes and {len(ratings)} users who rated every joke; the simulator needs "
            f"at least {MIN_ITEMS} and 1"
        )
        raise DatasetError(source / RATINGS, problem)
    mean = ratings.mean(axis=0)
    deviation = (ratings - mean).std() or 1.0
    tastes = (ratings - mean) / deviation
    quality = SLOPE / QUALITY_WEIGHT * (mean - mean.mean()) / deviation
    numbers = [str(row) for row in range(jokes)]
    values, numbers = embed_texts(jester.texts, numbers, source / TEXTS)
    return World(
        name="jester-simulated",
        titles=jester.titles,
        user_factors=tastes[_sample(rng, np.arange(len(tastes)), users)].astype(np.float32),
        item_factors=np.eye(jokes, dtype=np.float32),
        quality=quality.astype(np.float32),
        embeddings={TEXT: (values.astype(np.float32), np.array(numbers, np.int64))},
    )


def _sample(rng: np.random.Generator, rows: NDArray[np.int64], users: int) -> NDArray[np.int64]:
    """Draw a row for each user; a row returns only after all others."""
    return np.concatenate([rng.permutation(rows) for _ in range(-(-users // len(rows)))])[:users]


def _factors(
    taste: NDArray[np.floating], content: NDArray[np.floating], residual: NDArray[np.floating]
) -> tuple[Floats, Floats]:
    """Return user (U, D) and item (I, D) factors: content explains CONTENT_SHARE of S's variance.

    Users are centred, so that the mean of S is zero for each item: the quality alone holds the
    liking that all users share.
    """
    users = taste.astype(np.float64) - taste.mean(axis=0, dtype=np.float64)
    items = np.sqrt(CONTENT_SHARE) * content / _deviation(users, content)
    items += np.sqrt(1 - CONTENT_SHARE) * residual / _deviation(users, residual)
    return users.astype(np.float32), (items / _deviation(users, items)).astype(np.float32)


def _deviation(users: NDArray[np.float64], items: NDArray[np.floating]) -> float:
    """Return the standard deviation of ``users @ items.T`` over all pairs, without the product.

    The mean is 0 because ``users`` are centred. Returns 1 for a world of one user.
    """
    items = items.astype(np.float64)
    square = np.sum((users.T @ users) * (items.T @ items)) / (len(users) * len(items))
    return float(np.sqrt(square)) or 1.0


def _quality(rng: np.random.Generator, content: NDArray[np.floating]) -> Floats:
    """Return z-scored item quality (I,): a random direction of content (I, D) plus noise."""
    explained = content @ rng.standard_normal(content.shape[1])
    noise = rng.standard_normal(len(content))
    share = QUALITY_CONTENT_SHARE
    return _zscore(np.sqrt(share) * _zscore(explained) + np.sqrt(1 - share) * noise)


def _zscore(values: NDArray[np.floating]) -> Floats:
    result: Floats = ((values - values.mean()) / values.std()).astype(np.float32)
    return result
