"""Worlds with known truth: who likes what, before any recommender shows anything."""

from __future__ import annotations

import logging
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from training.data.convert.tiktok import TikTok, read_tiktok

Floats = NDArray[np.float32]

# The specification's truth: r = INTERCEPT + SLOPE clip(z(S), +-CLIP) + QUALITY_WEIGHT q.
INTERCEPT, SLOPE, CLIP, QUALITY_WEIGHT = -1.3, 1.4, 3.0, 0.5
# Our choices: shares of the variance of S, and of q, that item content explains.
CONTENT_SHARE, QUALITY_CONTENT_SHARE = 0.7, 0.5

THEMES = (
    *("Jazz", "Surf", "Chess", "Ramen", "Parkour", "Origami", "Techno", "Garden", "Rally", "Magic"),
    *("Violin", "Climb", "Bakery", "Comedy", "Yoga", "Drone", "Pottery", "Salsa", "Skate", "Opera"),
)
ITEMS_PER_THEME = 40
LATENT_DIM = 12
TOY_MODALITIES = {"image": (slice(0, 8), 32), "audio": (slice(4, 12), 24)}
MISSING_SHARE = 0.04

MIN_POSITIVES = 5
FIT_DIM, FIT_CONTENT_DIM = 32, 64
FIT_EPOCHS, FIT_BATCH, FIT_LR, FIT_TEMPERATURE, FIT_RESIDUAL_DECAY = 15, 1024, 1e-2, 0.15, 1e-4

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class World:
    """The truth r of every user and item in low-rank form.

    user_factors (U, D) and item_factors (I, D) whose product plus ``offset`` is z(S), mean 0 and
    deviation 1 over all pairs; quality (I,), z-scored; embeddings: modality -> values (n, dim)
    and the n item rows that have it.
    """

    name: str
    titles: list[str]
    user_factors: Floats
    item_factors: Floats
    offset: float
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

    def truth_logit(self, z: Floats, items: NDArray[np.int64]) -> Floats:
        """Return r (logit of liking) for preferences ``z`` of ``items``, same shape."""
        clipped = np.clip(z, -CLIP, CLIP)
        return np.float32(INTERCEPT) + SLOPE * clipped + QUALITY_WEIGHT * self.quality[items]

    def preferences(self, users: NDArray[np.int64] | slice) -> Floats:
        """Return z(S) of a block of users with every item, (B, I)."""
        scores: Floats = self.user_factors[users] @ self.item_factors.T  # (B, I)
        return scores + np.float32(self.offset)

    def pair_preferences(self, users: NDArray[np.int64], items: NDArray[np.int64]) -> Floats:
        """Return z(S) of R (user, item) pairs, (R,)."""
        scores = np.einsum("rd,rd->r", self.user_factors[users], self.item_factors[items])
        return scores + np.float32(self.offset)


def toy_world(rng: np.random.Generator, users: int) -> World:
    """Generate themed items whose modalities are noisy views of partly shared latent factors."""
    items = len(THEMES) * ITEMS_PER_THEME
    theme = np.repeat(np.arange(len(THEMES)), ITEMS_PER_THEME)
    centres = rng.standard_normal((len(THEMES), LATENT_DIM))
    latent = centres[theme] + 0.6 * rng.standard_normal((items, LATENT_DIM))
    favourite = centres[rng.integers(len(THEMES), size=(users, 2))].mean(axis=1)
    taste = favourite + 0.6 * rng.standard_normal((users, LATENT_DIM))
    embeddings = {}
    lacking = rng.permutation(items)[: round(MISSING_SHARE * items) * len(TOY_MODALITIES)]
    for (name, (view, dim)), lack in zip(
        TOY_MODALITIES.items(), np.split(lacking, len(TOY_MODALITIES)), strict=True
    ):
        projection = rng.standard_normal((latent[:, view].shape[1], dim)) / np.sqrt(LATENT_DIM)
        values = latent[:, view] @ projection + 0.3 * rng.standard_normal((items, dim))
        have = np.setdiff1d(np.arange(items), lack)
        embeddings[name] = (values[have].astype(np.float32), have)
    return _mix(
        World(
            name="toy",
            titles=[f"{THEMES[k]} {n:03d}" for k in range(len(THEMES)) for n in _numbers()],
            user_factors=taste.astype(np.float32),
            item_factors=np.empty(0, np.float32),
            offset=0.0,
            quality=_quality(rng, latent),
            embeddings=embeddings,
        ),
        content=latent,
        residual=rng.standard_normal((items, LATENT_DIM)),
    )


def tiktok_world(rng: np.random.Generator, source: Path, users: int) -> World:
    """Fit real users and items of ``source/tiktok.npz``; raises DatasetError.

    Users are drawn from those with at least 5 training positives, without replacement while they
    last; beyond that a user's taste is shared by several simulated users.
    """
    tiktok = read_tiktok(source)
    content = _principal_components(list(tiktok.embeddings.values()))
    taste, explained, residual = _fit(tiktok, content, seed=int(rng.integers(2**31)))
    active = np.flatnonzero(np.bincount(tiktok.positives["train"][:, 0]) >= MIN_POSITIVES)
    rounds = [rng.permutation(active) for _ in range(-(-users // len(active)))]
    everything = np.arange(tiktok.items)
    return _mix(
        World(
            name="tiktok-simulated",
            titles=[f"Video {row:04d}" for row in everything],
            user_factors=taste[np.concatenate(rounds)[:users]],
            item_factors=np.empty(0, np.float32),
            offset=0.0,
            quality=_quality(rng, content),
            embeddings={name: (x, everything) for name, x in tiktok.embeddings.items()},
        ),
        content=explained,
        residual=residual,
    )


def _numbers() -> range:
    return range(1, ITEMS_PER_THEME + 1)


def _mix(world: World, content: NDArray[np.floating], residual: NDArray[np.floating]) -> World:
    """Set item factors so that S is CONTENT_SHARE content (I, D), the rest residual (I, D)."""
    parts = zip((content, residual), (CONTENT_SHARE, 1 - CONTENT_SHARE), strict=True)
    taste = world.user_factors.astype(np.float64)
    factors = sum(np.sqrt(share) / _moments(taste, part)[1] * part for part, share in parts)
    mean, deviation = _moments(taste, np.asarray(factors))
    factors = (factors / deviation).astype(np.float32)
    return replace(world, item_factors=factors, offset=-mean / deviation)


def _moments(taste: NDArray[np.float64], factors: NDArray[np.floating]) -> tuple[float, float]:
    """Return mean and deviation over all pairs of ``taste @ factors.T`` without forming it."""
    factors = factors.astype(np.float64)
    mean = float(taste.mean(axis=0) @ factors.mean(axis=0))
    square = float(np.sum((taste.T @ taste) * (factors.T @ factors)))
    return mean, float(np.sqrt(square / (len(taste) * len(factors)) - mean**2))


def _quality(rng: np.random.Generator, content: NDArray[np.floating]) -> Floats:
    """Return z-scored item quality (I,): a random direction of content (I, D) plus noise."""
    explained = content @ rng.standard_normal(content.shape[1])
    noise = rng.standard_normal(len(content))
    share = QUALITY_CONTENT_SHARE
    return _zscore(np.sqrt(share) * _zscore(explained) + np.sqrt(1 - share) * noise)


def _zscore(values: NDArray[np.floating]) -> Floats:
    result: Floats = ((values - values.mean()) / values.std()).astype(np.float32)
    return result


def _principal_components(modalities: list[Floats]) -> Floats:
    """Return whitened leading components (I, 64) of the modalities, each weighing the same."""
    scaled = [x - x.mean(axis=0, dtype=np.float64) for x in modalities]
    x = np.concatenate([x / np.sqrt((x**2).sum(axis=1).mean()) for x in scaled], axis=1)
    values, vectors = np.linalg.eigh(x.T @ x / len(x))
    keep = slice(max(x.shape[1] - FIT_CONTENT_DIM, 0), None)
    result: Floats = (x @ vectors[:, keep] / np.sqrt(values[keep] + 1e-8)).astype(np.float32)
    return result


def _fit(tiktok: TikTok, content: Floats, seed: int) -> tuple[Floats, Floats, Floats]:
    """Fit p_u . (W x_i + v_i) on the training positives by in-batch softmax without logQ.

    Negatives are drawn by popularity and not corrected for it, so item popularity cancels. W x is
    the low-rank content part (content x: (I, C)) and v a decayed residual. Returns users (U, D),
    content part (I, D) and residual (I, D).
    """
    generator = torch.Generator().manual_seed(seed)
    threads = torch.get_num_threads()
    torch.set_num_threads(1)  # the order of sums, hence the files, must not depend on the machine
    try:
        x = torch.from_numpy(content)
        positives = torch.from_numpy(tiktok.positives["train"])
        taste = torch.nn.Parameter(torch.randn(tiktok.users, FIT_DIM, generator=generator) * 0.1)
        weight = torch.nn.Parameter(torch.randn(x.shape[1], FIT_DIM, generator=generator) * 0.1)
        residual = torch.nn.Parameter(torch.randn(tiktok.items, FIT_DIM, generator=generator) * 0.1)
        optimizer = torch.optim.AdamW(
            [
                {"params": [taste, weight], "weight_decay": 0.0},
                {"params": [residual], "weight_decay": FIT_RESIDUAL_DECAY / FIT_LR},
            ],
            lr=FIT_LR,
        )
        for epoch in range(FIT_EPOCHS):
            losses = []
            for batch in torch.randperm(len(positives), generator=generator).split(FIT_BATCH):
                user, item = positives[batch].unbind(1)
                p = torch.nn.functional.normalize(taste[user], dim=1)  # (B, D)
                q = torch.nn.functional.normalize(x[item] @ weight + residual[item], dim=1)
                logits = p @ q.T / FIT_TEMPERATURE  # (B, B)
                loss = torch.nn.functional.cross_entropy(logits, torch.arange(len(batch)))
                optimizer.zero_grad()
                loss.backward()  # type: ignore[no-untyped-call]
                optimizer.step()
                losses.append(loss.item())
            logger.info("preference epoch %d: loss %.3f nats", epoch + 1, np.mean(losses))
        with torch.no_grad():
            explained = x @ weight
            norm = (explained + residual).norm(dim=1, keepdim=True)
            p = torch.nn.functional.normalize(taste, dim=1)
        return (
            p.numpy(),
            (explained / norm).numpy(),
            (residual.detach() / norm).numpy(),
        )
    finally:
        torch.set_num_threads(threads)
