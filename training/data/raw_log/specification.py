"""``prepare.toml``: the tables of a raw log and the meaning of their columns."""

from __future__ import annotations

from datetime import UTC, date, datetime, time
from pathlib import Path
from typing import Annotated, Literal, Self

from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    model_validator,
)

from service.contract.manifest import Name
from training.data.schema import Embedding, Names, PartPath
from training.toml import read_document

CLOCKS_S = {"second": 1, "hour": 3600, "day": 86_400}


class _Frozen(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


def _instant(value: object) -> object:
    """Read a date as its first instant, and a time without a zone as UTC."""
    if isinstance(value, date) and not isinstance(value, datetime):
        value = datetime.combine(value, time())
    if isinstance(value, datetime) and value.tzinfo is None:
        value = value.replace(tzinfo=UTC)
    return value


Instant = Annotated[datetime, BeforeValidator(_instant)]
TimeUnit = Literal["s", "ms", "us"]
Statistic = Literal["popularity", "positive_rate", "age_s"]


class Shown(_Frozen):
    """The table of impressions: its path and the names of its columns."""

    path: PartPath
    user: str
    item: str
    time: str = Field(description="A date, a datetime, or a number in `time_unit`.")
    time_unit: TimeUnit | None = Field(default=None, description="Of a numeric `time`.")
    request: str | None = Field(default=None, description="The request that showed the item.")
    label: str | None = Field(default=None, description="A number or Boolean; not with outcomes.")
    at_least: float = Field(default=1, description="The smallest `label` that is a click.")
    position: str | None = None
    propensity: str | None = None
    uniform: str | None = Field(
        default=None, description="A number or Boolean: 1 where the exposure was uniform."
    )


class Outcomes(_Frozen):
    """A table of outcomes, joined to impressions by request and item."""

    path: PartPath
    request: str
    item: str
    label: str | None = Field(default=None, description="Without it, each row is a click.")
    at_least: float = Field(default=1, description="The smallest `label` that is a click.")
    time: str | None = None
    time_unit: TimeUnit | None = None
    within_s: float | None = Field(
        default=None, gt=0, description="Later outcomes do not count; seconds after the impression."
    )


class Attributes(_Frozen):
    """A table of users or items with one row for each."""

    path: PartPath
    id: str
    attributes: Names = ()


class Items(Attributes):
    """The table of items; items that it lacks leave the log."""

    title: str | None = None


class Keep(_Frozen):
    """The impressions to write."""

    since: Instant | None = Field(default=None, description="Earlier rows only count for proxies.")
    until: Instant | None = Field(default=None, description="Rows from here on are not read.")
    user_rows: int = Field(default=1, ge=1, description="Users with fewer rows leave the log.")
    item_rows: int = Field(default=1, ge=1, description="Items with fewer rows leave the log.")


class Proxies(_Frozen):
    """The item statistics to compute, as of the last ``clock`` before each row."""

    names: tuple[Statistic, ...] = ("popularity", "positive_rate", "age_s")
    clock: Literal["second", "hour", "day"] = "day"
    prior_rows: int = Field(default=0, ge=0, description="Shrinks positive_rate.")


class RawLog(_Frozen):
    """The parsed ``prepare.toml``; paths are relative to its folder, or URLs on Spark."""

    name: Name
    impressions: Shown
    outcomes: Outcomes | None = None
    users: Attributes | None = None
    items: Items | None = None
    keep: Keep = Keep()
    proxies: Proxies = Proxies()
    embeddings: dict[Name, Embedding] = Field(min_length=1)

    @model_validator(mode="after")
    def _one_label(self) -> Self:
        if (self.impressions.label is None) == (self.outcomes is None):
            raise ValueError("name either impressions.label or a table [outcomes]")
        if self.outcomes is not None and self.impressions.request is None:
            raise ValueError("[outcomes] are joined by request: name impressions.request")
        if self.outcomes is not None and self.outcomes.within_s and self.outcomes.time is None:
            raise ValueError("outcomes.within_s needs outcomes.time")
        return self


def read_specification(path: Path) -> RawLog:
    """Parse ``path``; raises ConfigError naming the first bad entry.

    The paths in the result are absolute or URLs.
    """
    log = read_document(path, RawLog, of="the log", root="tables")
    folder = path.absolute().parent

    def located(entry: BaseModel | None, *names: str) -> BaseModel | None:
        if entry is None:
            return None
        places = {name: getattr(entry, name) for name in names}
        return entry.model_copy(
            update={n: p if "://" in p else str(folder / p) for n, p in places.items()}
        )

    tables = {
        n: located(getattr(log, n), "path") for n in ("impressions", "outcomes", "users", "items")
    }
    embeddings = {n: located(e, "values", "ids") for n, e in log.embeddings.items()}
    return log.model_copy(update={**tables, "embeddings": embeddings})
