"""``dataset.toml``: the files of a dataset folder and the meaning of their columns."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import tomli_w
from pydantic import (
    AfterValidator,
    BaseModel,
    ConfigDict,
    Field,
    ValidationError,
    ValidationInfo,
    field_validator,
)

from service.contract.attributes import ATTRIBUTES
from service.contract.manifest import MAX_MODALITIES, Name, Proxy
from training.errors import DatasetError
from training.toml import parse

DESCRIPTION = "dataset.toml"

# A path relative to the folder; no system takes a longer one.
PartPath = Annotated[str, Field(pattern=r"^[^\x00-\x1f\x7f]{1,4095}$")]


class _Frozen(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Embedding(_Frozen):
    """One modality: ``values``, a table with the columns ``item_id`` and ``vector``, or an array.

    An array is floats (n, dim) as ``.npy``; ``ids`` names its n item ids, one per line. Without
    ``ids`` they are in the file ``x.ids.txt`` of an array ``x.npy``. A folder holds either kind.
    """

    values: PartPath
    ids: PartPath | None = None


def _distinct(names: tuple[str, ...]) -> tuple[str, ...]:
    for index, name in enumerate(names):
        if name in names[:index]:
            raise ValueError(f"names {name!r} twice")
    return names


Names = Annotated[tuple[str, ...], AfterValidator(_distinct)]


class Description(_Frozen):
    """The parsed ``dataset.toml``; paths are relative to the folder."""

    name: Name
    impressions: PartPath = "impressions.parquet"
    items: PartPath = "items.parquet"
    users: PartPath = "users.parquet"
    timestamp: str | None = Field(
        default=None, description="Column of impressions with the time, if not `timestamp`."
    )
    title: str | None = Field(default=None, description="Column of items to show to people.")
    picture: str | None = Field(
        default=None, description="Column of items with the address of a picture."
    )
    link: str | None = Field(
        default=None, description="Column of items with the address of the item's page."
    )
    user_attributes: Names = Field(default=(), description="Columns of users: numbers or text.")
    item_attributes: Names = Field(default=(), description="Columns of items: numbers or text.")
    unbiased_kind: str = Field(
        default="uniform exposure", description="How rows with exposure 'uniform' were chosen."
    )
    proxies: tuple[Proxy, ...] = ()
    embeddings: dict[Name, Embedding] = Field(min_length=1)

    @field_validator("proxies")
    @classmethod
    def _no_attribute(cls, proxies: tuple[Proxy, ...], info: ValidationInfo) -> tuple[Proxy, ...]:
        for proxy in proxies:
            if proxy.name in info.data.get("item_attributes", ()):
                raise ValueError(
                    f"{proxy.name!r} is also in item_attributes; a proxy must not be content"
                )
        return proxies

    @field_validator("embeddings")
    @classmethod
    def _served(
        cls, embeddings: dict[str, Embedding], info: ValidationInfo
    ) -> dict[str, Embedding]:
        attributes = bool(info.data.get("item_attributes"))
        if attributes and ATTRIBUTES in embeddings:
            raise ValueError(
                f"{ATTRIBUTES!r} is the modality that item_attributes make; rename yours"
            )
        most = MAX_MODALITIES - 1 - attributes  # a model adds the one that it learns by item id
        if len(embeddings) > most:
            number = len(embeddings)
            raise ValueError(f"has {number} modalities, at most {most} are served; join some")
        return embeddings

    @property
    def shown_columns(self) -> tuple[str, ...]:
        """The columns of items that people see."""
        return tuple(name for name in (self.title, self.picture, self.link) if name)

    @property
    def time_column(self) -> str:
        """The column of impressions with the time."""
        return self.timestamp or "timestamp"

    @property
    def numbers(self) -> set[str]:
        """The columns that hold numbers, times apart."""
        numeric = {proxy.name for proxy in self.proxies if proxy.kind == "numeric"}
        return {"label", "position", "propensity"} | numeric

    def to_toml(self) -> str:
        """Return the description as the text of ``dataset.toml``."""
        return tomli_w.dumps(self.model_dump(mode="json", exclude_none=True))


def read_description(folder: Path) -> Description:
    """Parse ``folder/dataset.toml``; raises DatasetError naming the first bad entry."""
    path = folder / DESCRIPTION
    try:
        return Description.model_validate(parse(path.read_text(encoding="utf-8-sig")))
    except FileNotFoundError as error:
        raise DatasetError(path, "is missing; is this a dataset folder?") from error
    except NotADirectoryError as error:
        raise DatasetError(
            folder, f"is a file; name the folder that holds {DESCRIPTION}"
        ) from error
    except ValidationError as error:
        first = error.errors()[0]
        entry = ".".join(map(str, first["loc"]))
        problem = first["msg"].removeprefix("Value error, ")
        raise DatasetError(path, problem, column=entry) from error
    except ValueError as error:
        raise DatasetError(path, f"is not TOML: {error}") from error
