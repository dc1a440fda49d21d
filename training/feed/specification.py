"""``feed.toml``: what a click is, which impressions count, and the proxies to count."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Annotated, Literal, Self

from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    StringConstraints,
    TypeAdapter,
    ValidationError,
    model_validator,
)

from service.contract.feedback import CLICK, KINDS
from service.contract.manifest import Name, Proxy
from training.errors import ConfigError
from training.toml import read_document

_UNITS_MS = {"s": 1000, "m": 60_000, "h": 3_600_000, "d": 86_400_000}


def _millis(value: object) -> object:
    """Read a duration such as ``30m`` as milliseconds."""
    if not isinstance(value, str):
        raise ValueError('is a text such as "30s", "15m", "1h" or "7d"')
    match = re.fullmatch(r"([1-9][0-9]{0,8})([smhd])", value)
    if match is None:
        raise ValueError(f'{value!r} is no duration such as "30s", "15m", "1h" or "7d"')
    return int(match[1]) * _UNITS_MS[match[2]]


Duration = Annotated[int, BeforeValidator(_millis)]  # in milliseconds
Kind = Annotated[str, StringConstraints(pattern=KINDS)]


class _Frozen(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


class Labels(_Frozen):
    """Which events make an impression a click."""

    kinds: tuple[Kind, ...] = Field(default=(CLICK,), min_length=1)
    window: Duration = Field(
        default=30 * 60_000, description="Later events do not count; after the decision."
    )
    at_least: float | None = Field(
        default=None, description="The smallest value of an event that counts."
    )


class ShownPlaces(_Frozen):
    """Which places of which decisions are impressions."""

    places: Literal["served", "viewed"] = Field(
        default="served", description="`viewed`: only places with an event of the kind `view`."
    )
    degraded: Literal["keep", "drop"] = Field(
        default="keep",
        description="Decisions that name a reason why they are degraded. They were shown all the "
        "same, most of them to users who were not known yet.",
    )


class CountedProxy(_Frozen):
    """A proxy that counts an item's events of one kind in a sliding window."""

    name: Name
    count: Kind
    window: Duration


class Feed(_Frozen):
    """The parsed ``feed.toml``; durations are in milliseconds.

    A proxy at a time is the number of distinct events of its kind that arrived in the ``window``
    before the current bucket. Buckets are ``bucket`` long and begin at multiples of it since 1970.
    An event counts from its arrival in the stream on: what live counting knew then is what a
    prepared row holds. The current bucket never counts, so neither does a row's own outcome.
    """

    name: Name = "feed"
    bucket: Duration = Field(default=60_000, description="Counts change when a bucket ends.")
    late: Duration = Field(
        default=86_400_000,
        description="Events count if they arrive at most so long after, or before, their own time.",
    )
    labels: Labels = Labels()
    impressions: ShownPlaces = ShownPlaces()
    proxies: tuple[CountedProxy, ...] = ()

    @model_validator(mode="after")
    def _countable(self) -> Self:
        names = [proxy.name for proxy in self.proxies]
        for proxy in self.proxies:
            if names.count(proxy.name) > 1:
                raise ValueError(f"two proxies have the name {proxy.name!r}; rename one")
            if proxy.window % self.bucket:
                raise ValueError(
                    f"the window of {proxy.name!r} is no multiple of bucket; change one of them"
                )
        return self

    @property
    def counted(self) -> list[str]:
        """The kinds of events that proxies count, sorted."""
        return sorted({proxy.count for proxy in self.proxies})

    @property
    def longest_ms(self) -> int:
        """The longest window of a proxy, 0 without proxies."""
        return max((proxy.window for proxy in self.proxies), default=0)

    @property
    def proxy_fields(self) -> tuple[Proxy, ...]:
        """The proxies as a dataset declares them."""
        return tuple(Proxy(name=proxy.name) for proxy in self.proxies)


def parse_duration(option: str, text: str) -> int:
    """Return a duration such as ``1d`` in milliseconds; raises ConfigError naming the option."""
    try:
        return TypeAdapter(Duration).validate_python(text)
    except ValidationError as error:
        problem = error.errors()[0]["msg"].removeprefix("Value error, ")
        raise ConfigError(f"{option}: {problem}") from error


def read_feed(path: Path) -> Feed:
    """Parse ``feed.toml``; raises ConfigError naming the first bad entry."""
    return read_document(path, Feed, of="the feed", root="proxies")
