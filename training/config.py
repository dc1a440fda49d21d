"""The configuration of a training: a packaged TOML, overridden by a user's file, then by --set."""

from __future__ import annotations

import copy
from functools import reduce
from importlib import resources
from operator import or_
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from training.errors import ConfigError
from training.nets.base import NetOptions
from training.nets.cp2rec.rivals import RivalOptions
from training.nets.registry import ARCHITECTURES, configurable
from training.toml import parse

PARITY_TOLERANCE = 1e-5  # graphs sum float32 in another order than torch

if TYPE_CHECKING:
    AnyOptions = NetOptions
else:  # the options of all architectures that a configuration may name
    AnyOptions = reduce(or_, dict.fromkeys(ARCHITECTURES[name].options for name in configurable()))


class _Frozen(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


class TrainOptions(_Frozen):
    """The schedule of a training; packaged ``cp2rec.toml`` explains each option."""

    epochs: int = Field(ge=1, le=10_000)
    evaluations: int = Field(ge=1, le=1000)
    patience: int = Field(ge=1)
    batch_slates: int = Field(ge=1)
    epoch_steps: int = Field(default=1, ge=1)
    slate: int = Field(ge=1)
    lr: float = Field(gt=0)
    lr_final: float = Field(gt=0)


class WarmStartOptions(_Frozen):
    """The schedule of ``train --from``, in place of that in ``[train]``.

    epochs: in place of train.epochs; lr_share: the learning rate starts at this share of train.lr,
    but not below train.lr_final.
    """

    epochs: int = Field(default=2, ge=1, le=10_000)
    lr_share: float = Field(default=0.3, gt=0, le=1)


class SplitOptions(_Frozen):
    """Shares of the logged rows for validation and test."""

    validation: float = Field(gt=0, lt=0.5)
    test: float = Field(gt=0, lt=0.5)


class ExposureOptions(_Frozen):
    """The estimate of exposure for debiasing losses."""

    propensity_floor: float = Field(gt=0, le=1)
    draws: int = Field(ge=1, le=1000)


class FrontOptions(_Frozen):
    """The measurement of a front.

    points: tradeoffs, evenly spaced; reference: (logged, unbiased) corner of the hypervolume;
    bootstrap: redraws of the users.
    """

    points: int = Field(ge=2, le=101)
    reference: tuple[float, float]
    bootstrap: int = Field(ge=20, le=10_000)


class Config(_Frozen):
    """The resolved configuration, stored in the artifact.

    default_tradeoff: of requests that name none; None: the one that the measured front recommends.
    parity_tolerance: the largest accepted difference between the logits of torch and of the graphs,
    as a share of the largest logit where that is above 1.
    """

    seed: int = Field(ge=0, lt=2**31)
    default_tradeoff: float | None = Field(default=None, ge=0, le=1)
    parity_tolerance: float = Field(default=PARITY_TOLERANCE, gt=0, le=0.01)
    train: TrainOptions
    split: SplitOptions
    net: AnyOptions = Field(discriminator="architecture")
    front: FrontOptions
    warm_start: WarmStartOptions = WarmStartOptions()
    exposure: ExposureOptions | None = None

    @model_validator(mode="after")
    def _debiasing_needs_exposure(self) -> Self:
        if self.net.exposure != "none" and self.exposure is None:
            raise ValueError(
                f"net.architecture = {self.net.architecture} needs a section [exposure]"
            )
        return self


class RivalConfig(Config):
    """The configuration of a baseline's training; only code creates it."""

    net: RivalOptions


def continued(config: Config) -> Config:
    """Return ``config`` with the schedule of a warm start."""
    options = config.warm_start
    lr = max(options.lr_share * config.train.lr, config.train.lr_final)
    schedule = config.train.model_copy(update={"epochs": options.epochs, "lr": lr})
    return config.model_copy(update={"train": schedule})


def _packaged() -> dict[str, dict[str, Any]]:
    """Return the complete packaged configurations by name: those that name an architecture.

    The others are partial: --config lays them over a complete one.
    """
    files = resources.files("training.configs").iterdir()
    texts = {f.name[:-5]: f.read_text() for f in files if f.name.endswith(".toml")}
    tables = {name: parse(texts[name]) for name in sorted(texts)}
    return {name: table for name, table in tables.items() if "architecture" in table.get("net", {})}


_PACKAGED = _packaged()
MODELS = tuple(_PACKAGED)


def load_config(model: str, path: Path | None = None, overrides: tuple[str, ...] = ()) -> Config:
    """Return the packaged configuration ``model``, overridden by ``path``, then by ``overrides``.

    ``overrides`` are ``section.key=value`` items. Raises ConfigError for a bad name, file, item or
    value.
    """
    if model not in MODELS:
        raise ConfigError(f"--model: {model!r} is not one of {', '.join(MODELS)}")
    table = copy.deepcopy(_PACKAGED[model])
    if path is not None:
        try:
            _merge(table, parse(path.read_text(encoding="utf-8-sig")))
        except (OSError, ValueError) as error:
            raise ConfigError(f"{path}: {error}") from error
    for override in overrides:
        _merge(table, _parse(override))
    try:
        return Config.model_validate(table)
    except ValidationError as error:
        problem = error.errors()[0]
        # Pydantic puts the architecture and the type of a union's member into the location too.
        keys = (str(key) for key in problem["loc"] if key not in configurable())
        option = ".".join(key for key in keys if key.isidentifier())
        raise ConfigError(f"configuration: {option}: {problem['msg']}") from error


def _parse(override: str) -> dict[str, Any]:
    """Return the table of ``a.b=value``, read as TOML; a bare word is a string."""
    key, equals, value = override.partition("=")
    if not equals or not key:
        raise ConfigError(f"--set {override!r}: write it as section.key=value")
    try:
        return parse(f"{key} = {value}")
    except ValueError:
        try:
            return parse(f'{key} = "{value.strip()}"')
        except ValueError as error:
            raise ConfigError(f"--set {override!r}: {error}") from error


def _merge(table: dict[str, Any], over: dict[str, Any]) -> None:
    for key, value in over.items():
        if isinstance(value, dict) and isinstance(table.get(key), dict):
            _merge(table[key], value)
        else:
            table[key] = value
