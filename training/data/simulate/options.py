"""The options of a simulation, validated once."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from training.data.simulate.log import DAYS, SLATE
from training.data.simulate.worlds import MAX_TASTE_DIM
from training.errors import ConfigError

WorldName = Literal["toy", "texts", "tiktok", "jester"]
USERS: dict[WorldName, int] = {
    "toy": 625,
    "texts": 625,
    "tiktok": 3_500,
    "jester": 7_200,
}  # by default
# A feed shows no item twice: of 100 jokes it shows a user 40, so that it still has a choice.
SLATES: dict[WorldName, int] = {
    "toy": SLATE,
    "texts": SLATE,
    "tiktok": SLATE,
    "jester": 2,
}
UNIFORM_SHARE = 5 / 28  # 200,000 uniform rows for TikTok's 1,120,000 logged ones
MAX_POLICY_WEIGHT = 10


@dataclass(frozen=True)
class Options:
    """The arguments of ``simulate``, all in range; raises ConfigError naming one that is not."""

    world: WorldName = "toy"
    seed: int = 0
    impressions: int | None = None
    policy_weight: float = 0.8
    taste_dim: int | None = None

    def __post_init__(self) -> None:
        if self.impressions is not None and self.impressions < self.rows_per_user:
            problem = f"{self.impressions} is below one user's {self.rows_per_user}"
            raise ConfigError(f"impressions: {problem}")
        if not 0 <= self.policy_weight <= MAX_POLICY_WEIGHT:
            problem = f"{self.policy_weight} is not in [0, {MAX_POLICY_WEIGHT}]"
            raise ConfigError(f"policy_weight: {problem}")
        if self.taste_dim is not None and self.world != "tiktok":
            problem = "only tastes fitted to TikTok have it; leave taste_dim out"
            raise ConfigError(f"taste_dim: {problem}")
        if self.taste_dim is not None and not 1 <= self.taste_dim <= MAX_TASTE_DIM:
            raise ConfigError(f"taste_dim: {self.taste_dim} is not in [1, {MAX_TASTE_DIM}]")
        if self.seed < 0:
            raise ConfigError(f"seed: {self.seed} is negative")

    @property
    def slate(self) -> int:
        """Number of items that a user is shown on a day."""
        return SLATES[self.world]

    @property
    def rows_per_user(self) -> int:
        """Number of a user's logged impressions."""
        return DAYS * self.slate

    @property
    def users(self) -> int:
        """Number of simulated users: the requested logged rows over those of one user, rounded."""
        if self.impressions is None:
            return USERS[self.world]
        return round(self.impressions / self.rows_per_user)

    @property
    def logged_rows(self) -> int:
        """Number of logged impressions."""
        return self.users * self.rows_per_user

    @property
    def uniform_rows(self) -> int:
        """Number of uniformly exposed impressions."""
        return round(UNIFORM_SHARE * self.logged_rows)
