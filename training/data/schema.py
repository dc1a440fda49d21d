"""``dataset.toml``: the files of a dataset folder and the meaning of their columns."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import tomli_w
from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError

from service.contract.manifest import MAX_MODALITIES, Name, Proxy
from training.errors import DatasetError
from training.toml import parse

DESCRIPTION = "dataset.toml"

# A path relative to the folder; no system takes a longer one.
PartPath = Annotated[str, Field(pattern=r"^[^\x00-\x1f\x7f]{1,4095}$")]


class _Frozen(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Embedding(_Frozen):
    """One modality: a float array (n, dim) as ``.npy``, and its n item ids, one per line."""

    values: PartPath
    ids: PartPath


def _few_enough(embeddings: dict[str, Embedding]) -> dict[str, Embedding]:
    most = MAX_MODALITIES - 1  # a model adds the one that it learns by item id
    if len(embeddings) > most:
        raise ValueError(f"has {len(embeddings)} modalities, at most {most} are served; join some")
    return embeddings


class Description(_Frozen):
    """The parsed ``dataset.toml``; paths are relative to the folder."""

    name: Name
    impressions: PartPath = "impressions.parquet"
    items: PartPath = "items.parquet"
    users: PartPath = "users.parquet"
    title: str | None = Field(default=None, description="Column of items to show to people.")
    user_attributes: tuple[str, ...] = Field(default=(), description="Numeric columns of users.")
    unbiased_kind: str = Field(
        default="uniform exposure", description="How rows with exposure 'uniform' were chosen."
    )
    proxies: tuple[Proxy, ...] = ()
    embeddings: Annotated[dict[Name, Embedding], AfterValidator(_few_enough)] = Field(min_length=1)

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
