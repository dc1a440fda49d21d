"""The period whose impressions are read: since a time, until before another."""

from __future__ import annotations

import math
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Self

import polars as pl

from training.errors import ConfigError

UNIX_TIME, _LATEST = 1e8, 4.2e9  # seconds since 1970: the years 1973 and 2103
UNITS = ("s", "ms", "us", "ns")  # each a thousandth of the one before
_EPOCH = datetime(1970, 1, 1)
_MICROSECOND = timedelta(microseconds=1)

Bound = int | float | None


def unix_unit(time: float) -> int | None:
    """Return the index in ``UNITS`` of a Unix time's unit; None for a number that is no such."""
    for power in range(len(UNITS)):
        if UNIX_TIME <= time / 1000**power <= _LATEST:
            return power
    return None


def unix_free(time: datetime) -> datetime:
    """Return a time in UTC without its zone; a time without one is in UTC."""
    return time if time.tzinfo is None else time.astimezone(UTC).replace(tzinfo=None)


@dataclass(frozen=True)
class Bounds:
    """A period in the unit of a time column: since <= time < until."""

    since: Bound = None
    until: Bound = None

    def within(self, low: float, high: float) -> Self | None:
        """Return the bounds that cut times from ``low`` to ``high``; None where no time is left."""
        if (self.since is not None and high < self.since) or (
            self.until is not None and low >= self.until
        ):
            return None
        since = None if self.since is None or low >= self.since else self.since
        until = None if self.until is None or high < self.until else self.until
        return type(self)(since, until)

    def predicate(self, name: str, dtype: pl.DataType) -> pl.Expr:
        """Return whether a row of the time column ``name`` lies within."""
        inside = pl.lit(True)
        if self.since is not None:
            inside = inside & (pl.col(name) >= _literal(self.since, dtype))
        if self.until is not None:
            inside = inside & (pl.col(name) < _literal(self.until, dtype))
        return inside


def _literal(bound: int | float, dtype: pl.DataType) -> pl.Expr:
    """Return a bound as a constant; a number may lie beyond the range of its column."""
    return pl.lit(bound) if dtype.is_numeric() else pl.lit(bound).cast(dtype)


@dataclass(frozen=True)
class Period:
    """ISO dates or times (in UTC unless they name a zone), or numbers in the unit of the column."""

    since: str | None = None
    until: str | None = None

    def __post_init__(self) -> None:
        """Raise ConfigError for a text that is no time, or a period that is empty."""
        since, until = (
            None if text is None else _parse(option, text)
            for option, text in (("since", self.since), ("until", self.until))
        )
        empty = isinstance(since, float) and isinstance(until, float) and since >= until
        if isinstance(since, datetime) and isinstance(until, datetime):
            empty = since >= until
        if empty:
            raise ConfigError(f"--since {self.since} is not before --until {self.until}")

    @property
    def whole(self) -> bool:
        """Whether the period has no end on either side."""
        return self.since is None and self.until is None

    def __str__(self) -> str:
        since = "" if self.since is None else f"since {self.since}"
        until = "" if self.until is None else f"until {self.until}"
        return f"{since} {until}".strip()

    def bounds(self, dtype: pl.DataType, latest: float) -> Bounds:
        """Return the period in the unit of a time column of type ``dtype``.

        ``latest`` time of the column: its size tells the unit of Unix times. Raises ConfigError for
        a date where the column holds other numbers, and for a number where it holds dates.
        """
        return Bounds(
            *(
                None if text is None else _in_column(option, text, dtype, latest)
                for option, text in (("since", self.since), ("until", self.until))
            )
        )


def _parse(option: str, text: str) -> float | datetime:
    """Return a finite number, or else a datetime in UTC without its zone."""
    try:
        number = float(text)
    except ValueError:
        try:
            return unix_free(datetime.fromisoformat(text))
        except ValueError as error:
            problem = "is no time; write an ISO date such as 2026-11-01, or a number"
            raise ConfigError(f"--{option} {text!r} {problem}") from error
    if not math.isfinite(number):
        raise ConfigError(f"--{option} {text!r} is not a finite number")
    return number


def _in_column(option: str, text: str, dtype: pl.DataType, latest: float) -> int | float:
    time = _parse(option, text)
    if isinstance(dtype, pl.Date | pl.Datetime):
        if isinstance(time, float):
            raise ConfigError(f"--{option} {text}: the log's times are dates; write an ISO date")
        microseconds = (time - _EPOCH) // _MICROSECOND
        if isinstance(dtype, pl.Date):
            return -(-microseconds // 86_400_000_000)  # a date is its first microsecond
        if dtype.time_unit == "ms":
            return -(-microseconds // 1000)
        return microseconds * (1000 if dtype.time_unit == "ns" else 1)
    exact = int(text) if isinstance(time, float) and text.strip().lstrip("-").isdecimal() else time
    if isinstance(exact, datetime):
        power = unix_unit(latest)
        if power is None:
            raise ConfigError(
                f"--{option} {text}: the log's times are no Unix times; write a number of its unit"
            )
        microseconds, a_second = (exact - _EPOCH) // _MICROSECOND, int(1000**power)
        if dtype.is_integer():
            return -(-microseconds * a_second // 10**6)
        return microseconds * a_second / 10**6
    return math.ceil(exact) if dtype.is_integer() else float(exact)
