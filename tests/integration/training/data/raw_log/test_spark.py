"""A local Spark prepares the same folder as polars, row by row; ``make test-spark`` runs this."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import polars as pl
import pytest
from polars.testing import assert_frame_equal

from tests.integration.training.data.raw_log.raw_tables import FLAT, JOINED, others, read, write_raw
from training.data.dataset import open_dataset
from training.data.raw_log.on_polars import PolarsEngine
from training.data.raw_log.prepare import prepare_log
from training.data.raw_log.specification import read_specification

ROOT = Path(__file__).parents[5]
PYTHON = os.environ.get("SPARK_PYTHON")
# Three parts, and a session whose own zone would shift times and days.
OPTIONS = {
    "spark.ui.enabled": "false",
    "spark.sql.shuffle.partitions": "3",
    "spark.sql.adaptive.coalescePartitions.enabled": "false",
    "spark.sql.session.timeZone": "Asia/Tokyo",
}

pytestmark = pytest.mark.skipif(
    PYTHON is None, reason="SPARK_PYTHON names no Python with pyspark; make test-spark sets it"
)


def submit(*arguments: str) -> subprocess.CompletedProcess[str]:
    """Run the script under ``spark-submit`` on two threads."""
    assert PYTHON is not None
    options = [part for key, value in OPTIONS.items() for part in ("--conf", f"{key}={value}")]
    script = "training/data/raw_log/on_spark.py"
    return subprocess.run(
        [
            Path(PYTHON).with_name("spark-submit"),
            "--master",
            "local[2]",
            *options,
            script,
            *arguments,
        ],
        cwd=ROOT,
        env={**os.environ, "PYSPARK_PYTHON": PYTHON, "PYTHONPATH": str(ROOT), "TZ": "America/Lima"},
        capture_output=True,
        text=True,
        timeout=600,
        check=False,
    )


@pytest.mark.parametrize("text", [FLAT, JOINED], ids=["flat", "joined"])
def test_both_engines_write_the_same_rows(text: str, tmp_path: Path) -> None:
    config = write_raw(tmp_path / "raw", text)
    done = submit(str(config), "--out", str(tmp_path / "spark"))
    assert done.returncode == 0, done.stderr[-4000:]
    counts = prepare_log(read_specification(config), str(tmp_path / "polars"), PolarsEngine())

    assert done.stdout.strip() == counts.replace(str(tmp_path / "polars"), str(tmp_path / "spark"))
    expected, made = read(tmp_path / "polars"), read(tmp_path / "spark")
    for name, table in expected.items():
        assert len(table) > 10
        assert_frame_equal(made[name], table, check_exact=True)
    assert others(tmp_path / "spark") == others(tmp_path / "polars")
    assert len(list((tmp_path / "spark" / "impressions").glob("*.parquet"))) == 3
    assert len(open_dataset(tmp_path / "spark").impressions) == len(expected["impressions"])
    assert {path.name for path in tmp_path.iterdir()} == {"raw", "spark", "polars"}


def test_a_mistake_is_one_line_and_nothing_is_written(tmp_path: Path) -> None:
    config = write_raw(tmp_path / "raw", FLAT)
    people = tmp_path / "raw" / "people.parquet"
    table = pl.read_parquet(people, glob=False)
    pl.concat([table, table[:1]]).write_parquet(people)
    done = submit(str(config), "--out", str(tmp_path / "spark"))
    assert done.returncode == 2
    assert (
        f"error: {people}, column 'uid': '0' occurs twice" in done.stdout
    )  # Spark joins the streams
    assert "Traceback" not in done.stdout  # Spark joins the streams
    assert [path.name for path in tmp_path.iterdir()] == ["raw"]
