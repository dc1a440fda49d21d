"""The configuration of a training: a packaged TOML, overridden by a user's file, then by --set."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import date
from functools import reduce
from operator import or_
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal, Self

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError, model_validator

from training.configs import MODELS, PACKAGED
from training.errors import ConfigError
from training.nets.base import NetOptions
from training.nets.cp2rec.rivals import RivalOptions
from training.nets.registry import ARCHITECTURES, configurable
from training.toml import parse

Precision = Literal["float32", "bfloat16"]

PARITY_TOLERANCE = 1e-5  # graphs sum float32 in another order than torch

if TYPE_CHECKING:
    AnyOptions = NetOptions
else:  # the options of all architectures that a configuration may name
    AnyOptions = reduce(or_, dict.fromkeys(ARCHITECTURES[name].options for name in configurable()))


def _text_of_time(value: object) -> object:
    """Return a date, a time or a number of TOML as text."""
    return str(value) if isinstance(value, int | float | date) else value


Time = Annotated[str, BeforeValidator(_text_of_time)]


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
    precision: Precision = "float32"


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


class Tuning(_Frozen):
    """How ``train --tune`` chose options; only that command writes it.

    trials: number of trainings, ``failed`` of them without a value. untuned, best: the validation
    values of the untuned and of the chosen options. searched: the keys of the options.
    """

    trials: int = Field(ge=1)
    failed: int = Field(ge=0)
    untuned: float
    best: float
    searched: tuple[str, ...]


class Config(_Frozen):
    """The resolved configuration, stored in the artifact.

    since, until: the period of the impressions that are read, the end not included: ISO dates or
    times, in UTC unless they name a zone, or numbers in the unit of the column; None: no bound.
    default_tradeoff: of requests that name none; None: the one that the measured front recommends.
    parity_tolerance: the largest accepted difference between the logits of torch and of the graphs,
    as a share of the largest logit where that is above 1. tuning: None unless options were tuned.
    """

    seed: int = Field(ge=0, lt=2**31)
    since: Time | None = None
    until: Time | None = None
    default_tradeoff: float | None = Field(default=None, ge=0, le=1)
    parity_tolerance: float = Field(default=PARITY_TOLERANCE, gt=0, le=0.01)
    train: TrainOptions
    split: SplitOptions
    net: AnyOptions = Field(discriminator="architecture")
    front: FrontOptions
    warm_start: WarmStartOptions = WarmStartOptions()
    exposure: ExposureOptions | None = None
    tuning: Tuning | None = None

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


def load_config(model: str, path: Path | None = None, overrides: tuple[str, ...] = ()) -> Config:
    """Return the packaged configuration ``model``, overridden by ``path``, then by ``overrides``.

    ``overrides`` are ``section.key=value`` items. Raises ConfigError for a bad name, file, item or
    value.
    """
    if model not in MODELS:
        raise ConfigError(f"--model: {model!r} is not one of {', '.join(MODELS)}")
    return _validated(_merged(PACKAGED[model], _stated(path, overrides)))


def stated_keys(path: Path | None, overrides: tuple[str, ...]) -> frozenset[str]:
    """Return the keys, such as ``train.lr``, that ``path`` and ``overrides`` state.

    Raises ConfigError as ``load_config`` does.
    """
    return frozenset(_flat(_stated(path, overrides)))


def with_values(config: Config, values: Mapping[str, Any]) -> Config:
    """Return ``config`` with ``values`` by key, such as ``train.lr``; ConfigError for a bad one."""
    table = config.model_dump()
    for key, value in values.items():
        section, _, option = key.partition(".")
        table[section] = {**table[section], option: value}
    return _validated(table)


def value_of(config: Config, key: str) -> Any:
    """Return the value of ``config`` at ``key``, such as ``train.lr``."""
    section, _, option = key.partition(".")
    return getattr(getattr(config, section), option)


def _stated(path: Path | None, overrides: tuple[str, ...]) -> dict[str, Any]:
    """Return the table of a user's file with ``overrides`` over it."""
    table: dict[str, Any] = {}
    if path is not None:
        try:
            table = parse(path.read_text(encoding="utf-8-sig"))
        except (OSError, ValueError) as error:
            raise ConfigError(f"{path}: {error}") from error
    for override in overrides:
        table = _merged(table, _parse(override))
    return table


def _validated(table: dict[str, Any]) -> Config:
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


def _merged(table: Mapping[str, Any], over: Mapping[str, Any]) -> dict[str, Any]:
    """Return ``table`` with the values of ``over``, section by section."""
    merged = dict(table)
    for key, value in over.items():
        under = merged.get(key)
        if isinstance(value, dict) and isinstance(under, dict):
            merged[key] = _merged(under, value)
        else:
            merged[key] = value
    return merged


def _flat(table: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """Return the values of all sections by key, such as ``train.lr``."""
    flat: dict[str, Any] = {}
    for key, value in table.items():
        if isinstance(value, dict):
            flat |= _flat(value, f"{prefix}{key}.")
        else:
            flat[prefix + key] = value
    return flat
