"""A configuration is valid or refused by ConfigError, whatever --set and --config bring."""

from __future__ import annotations

import importlib.resources
import tomllib
from pathlib import Path
from typing import Any

from hypothesis import example, given
from hypothesis import strategies as st

from tests.fuzz.damage import damaged_bytes
from training.config import Config, load_config
from training.configs import MODELS
from training.errors import ConfigError


def _text(model: str) -> str:
    return importlib.resources.files("training.configs").joinpath(f"{model}.toml").read_text()


def _options(table: dict[str, Any], prefix: str = "") -> list[str]:
    options = []
    for key, value in table.items():
        options.append(prefix + key)
        if isinstance(value, dict):
            options += _options(value, f"{prefix}{key}.")
    return options


OPTIONS = sorted({option for model in MODELS for option in _options(tomllib.loads(_text(model)))})

keys = st.sampled_from(OPTIONS) | st.text(max_size=12)
values = st.one_of(
    st.integers().map(str),
    st.floats().map(str),
    st.text(max_size=12),
    st.text(alphabet="[]{}=.,'\"\\\n#0e-:T\x00\udcff", max_size=12),
    st.sampled_from(["true", "[1, 2]", "{a = 1}", "2020-01-01", "9" * 5000, "[" * 5000, "1e999"]),
)


@given(st.sampled_from(MODELS), st.lists(st.tuples(keys, values).map("=".join), max_size=3))
@example("cp2rec", ["seed=" + "[" * 5000])
@example("cp2rec", ["seed=" + "9" * 5000])
@example("cp2rec", [".".join("a" * 5000) + "=1"])
def test_any_override_is_taken_or_refused(model: str, overrides: list[str]) -> None:
    _load(model, None, overrides)


@given(model=st.sampled_from(MODELS), data=st.data())
def test_any_file_is_taken_or_refused(tmp_path: Path, model: str, data: st.DataObject) -> None:
    path = tmp_path / "mine.toml"
    path.write_bytes(data.draw(damaged_bytes(_text(model).encode()) | st.binary(max_size=99)))
    _load(model, path, [])


def _load(model: str, path: Path | None, overrides: list[str]) -> None:
    try:
        config = load_config(model, path, tuple(overrides))
    except ConfigError as error:
        assert str(error)
    else:
        assert Config.model_validate_json(config.model_dump_json()) == config
