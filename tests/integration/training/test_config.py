from __future__ import annotations

from pathlib import Path

import pytest

import training.configs
from training.config import load_config
from training.errors import ConfigError
from training.nets.cp2rec.decomposed import Cp2recOptions


def test_a_file_goes_over_the_package_and_set_over_the_file(tmp_path: Path) -> None:
    path = tmp_path / "mine.toml"
    path.write_text("seed = 5\n[train]\nlr = 0.5\nepochs = 7\n[net]\ndim = 4\n")

    config = load_config("cp2rec", path, ("train.lr=0.25", "net.proxy_bins = 8"))

    assert config.seed == 5
    assert (config.train.lr, config.train.epochs) == (0.25, 7)
    assert config.net == Cp2recOptions(dim=4, proxy_bins=8, exposure_weight=(0.0, 1.0))
    assert config.train.lr_final == load_config("cp2rec").train.lr_final  # untouched neighbour


def test_the_overlay_lies_over_its_packaged_config() -> None:
    path = Path(training.configs.__file__).with_name("kuairec.toml")

    config = load_config("cp2rec-paper", path)

    assert config.train.slate * config.train.batch_slates == 1024
    assert getattr(config.net, "dim", None) == 10


@pytest.mark.parametrize(
    "content",
    [None, b"seed = ", b"\xff\xfe", b"seed = " + b"[" * 5000, b"seed = " + b"9" * 5000],
    ids=["missing", "cut", "no text", "nested", "digits"],
)
def test_a_file_that_cannot_be_read_is_named(tmp_path: Path, content: bytes | None) -> None:
    path = tmp_path / "mine.toml"
    if content is not None:
        path.write_bytes(content)

    with pytest.raises(ConfigError, match=r"mine\.toml: "):
        load_config("cp2rec", path)


def test_a_byte_order_mark_is_no_part_of_a_file(tmp_path: Path) -> None:
    path = tmp_path / "mine.toml"
    path.write_text("seed = 5\n", encoding="utf-8-sig")

    assert load_config("cp2rec", path).seed == 5
