"""The summary of a dataset: what reports and a model's card say of its training data."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from service.contract.front import Frozen


class ProxySummary(Frozen):
    """A confounding proxy over the impressions, on a sample of the rows."""

    name: str = Field(description="Its name.")
    kind: Literal["numeric", "categorical"] = Field(description="A number or a category.")
    missing: float = Field(description="Share of the rows in which it is unknown.")
    auc: float | None = Field(
        description="AUC of the proxy alone, a category scoring as its click rate; null for fewer "
        "than 30 clicks or skips."
    )
    correlation: float | None = Field(
        description="Pearson's correlation of a numeric proxy with the label."
    )


class ModalitySummary(Frozen):
    """A modality of the items; the norms (L2) are those of the items that have it."""

    name: str = Field(description="Its name.")
    dim: int = Field(description="Its size.")
    missing: float = Field(description="Share of the items that lack it.")
    norm_median: float = Field(description="Median norm.")
    norm_p99: float = Field(description="99 % quantile of the norm.")
    norm_max: float = Field(description="Largest norm.")


class Counts(Frozen):
    """Impressions of a user or an item: quantiles over all of them, those without any included."""

    least: float = Field(description="The least.")
    median: float = Field(description="The median.")
    p90: float = Field(description="90 % quantile.")
    p99: float = Field(description="99 % quantile.")
    most: float = Field(description="The most.")


class DatasetSummary(Frozen):
    """Counts and rates of a dataset, and a sentence for each suspicious thing."""

    rows: int = Field(description="Impressions.")
    logged: int = Field(description="Impressions under the exposure of the log's policy.")
    uniform: int = Field(description="Impressions under uniform exposure.")
    users: int = Field(description="Users.")
    items: int = Field(description="Items.")
    click_rate: float | None = Field(description="Of logged rows; null without any.")
    uniform_click_rate: float | None = Field(description="Of uniform rows; null without any.")
    first: str | None = Field(
        description="Time of the first row: a date in UTC, or a number that is no Unix time; null "
        "without times."
    )
    last: str | None = Field(description="Time of the last row.")
    split_by: Literal["column 'split'", "time", "random"] = Field(
        description="What chose the rows of `splits`."
    )
    splits: dict[str, int] = Field(description="Rows that train, validate and test.")
    proxies: tuple[ProxySummary, ...] = Field(description="The confounding proxies.")
    modalities: tuple[ModalitySummary, ...] = Field(description="The modalities of the items.")
    user_attributes: int = Field(description="Numbers that the attributes of users become.")
    rows_by_user: Counts = Field(description="Impressions of a user.")
    rows_by_item: Counts = Field(description="Impressions of an item.")
    suspicious: tuple[str, ...] = Field(description="What in the data looks wrong.")

    @property
    def clicks_alone(self) -> bool:
        """Whether no row is a skip."""
        return {self.click_rate, self.uniform_click_rate} <= {1.0, None}
