"""The options of a simulation, validated once."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from training.data.simulate.log import DAYS, SLATE
from training.data.simulate.worlds import MAX_TASTE_DIM
from training.errors import ConfigError

ROWS_PER_USER = DAYS * SLATE
TOY_IMPRESSIONS = 200_000
TIKTOK_IMPRESSIONS = 3_500 * ROWS_PER_USER
UNIFORM_SHARE = 5 / 28  # 200,000 uniform rows for TikTok's 1,120,000 logged ones
MAX_POLICY_WEIGHT = 10


@dataclass(frozen=True)
class Options:
    """The arguments of ``simulate``, all in range; raises ConfigError naming one that is not."""

    source: Path | None = None
    seed: int = 0
    impressions: int | None = None
    policy_weight: float = 0.8
    taste_dim: int | None = None

    def __post_init__(self) -> None:
        if self.impressions is not None and self.impressions < ROWS_PER_USER:
            problem = f"{self.impressions} is below one user's {ROWS_PER_USER}"
            raise ConfigError(f"impressions: {problem}")
        if not 0 <= self.policy_weight <= MAX_POLICY_WEIGHT:
            problem = f"{self.policy_weight} is not in [0, {MAX_POLICY_WEIGHT}]"
            raise ConfigError(f"policy_weight: {problem}")
        if self.taste_dim is not None and self.source is None:
            problem = "generated users have no fitted tastes; add a source or leave taste_dim out"
            raise ConfigError(f"taste_dim: {problem}")
        if self.taste_dim is not None and not 1 <= self.taste_dim <= MAX_TASTE_DIM:
            raise ConfigError(f"taste_dim: {self.taste_dim} is not in [1, {MAX_TASTE_DIM}]")
        if self.seed < 0:
            raise ConfigError(f"seed: {self.seed} is negative")

    @property
    def users(self) -> int:
        """Number of simulated users: the requested logged rows over those of one user, rounded."""
        rows = self.impressions
        if rows is None:
            rows = TOY_IMPRESSIONS if self.source is None else TIKTOK_IMPRESSIONS
        return round(rows / ROWS_PER_USER)

    @property
    def logged_rows(self) -> int:
        """Number of logged impressions."""
        return self.users * ROWS_PER_USER

    @property
    def uniform_rows(self) -> int:
        """Number of uniformly exposed impressions."""
        return round(UNIFORM_SHARE * self.logged_rows)
