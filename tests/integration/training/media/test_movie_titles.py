"""The text encoder on real titles, by the command line."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import polars as pl
import pytest
from typer.testing import CliRunner

from tests.integration.training.data.convert.real_files import DATA, needs
from training.cli.app import app

FILMS = {
    "1": "Toy Story (1995)",
    "3114": "Toy Story 2 (1999)",
    "260": "Star Wars: Episode IV - A New Hope (1977)",
    "1196": "Star Wars: Episode V - The Empire Strikes Back (1980)",
    "1387": "Jaws (1975)",
    "1388": "Jaws 2 (1978)",
}


@needs("ml-latest-small")
@pytest.mark.usefixtures("encoder_cache")
def test_sequels_are_nearest(tmp_path: Path) -> None:
    films = pl.read_csv(DATA / "ml-latest-small/movies.csv", infer_schema=False, glob=False)
    chosen = pl.col("movieId").is_in(list(FILMS))
    pl.concat([films.filter(chosen), films.filter(~chosen)[::600]]).write_csv(
        tmp_path / "movies.csv"
    )
    command = ["embed", "--texts", str(tmp_path / "movies.csv"), "--id", "movieId"]
    columns = ["--column", "title", "--column", "genres", "--name", "minilm"]

    result = CliRunner().invoke(app, [*command, *columns, "--out", str(tmp_path)])

    assert result.exit_code == 0, result.output
    ids = (tmp_path / "minilm.ids.txt").read_text().split()
    vectors = np.load(tmp_path / "minilm.npy")
    nearness = vectors @ vectors.T - 2 * np.eye(len(ids))
    nearest = {ids[row]: ids[column] for row, column in enumerate(nearness.argmax(axis=1))}
    pairs = list(zip(*[iter(FILMS)] * 2, strict=True))
    assert [nearest[film] for film, _ in pairs] == [sequel for _, sequel in pairs]
    assert [nearest[sequel] for _, sequel in pairs] == [film for film, _ in pairs]
