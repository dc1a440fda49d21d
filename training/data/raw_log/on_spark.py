"""The preparation on a Spark cluster: ``spark-submit on_spark.py prepare.toml --out URL``.

The driver needs this package with its extra ``spark``, and no torch; the executors need nothing of
it, since every operation is one of Spark's own.
"""

from __future__ import annotations

import argparse
import sys
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import narwhals as nw
from pyspark.errors import PySparkException
from pyspark.sql import Column, SparkSession, functions

from training.data.raw_log.engine import Engine, Frame
from training.data.raw_log.prepare import prepare_log
from training.data.raw_log.specification import read_specification
from training.errors import DatasetError, TrainingError

_OPTIONS = {
    "spark.sql.session.timeZone": "UTC",
    "spark.sql.parquet.outputTimestampType": "TIMESTAMP_MICROS",
}


class SparkEngine(Engine):
    """Spark on the file systems of Hadoop: local files, HDFS, object stores."""

    def __init__(self, session: SparkSession) -> None:
        self._session = session
        for key, value in _OPTIONS.items():
            session.conf.set(key, value)

    @contextmanager
    def staged(self, out: str) -> Iterator[str]:
        system, target = self._located(out)
        if system.exists(target):
            raise DatasetError(Path(out), "exists; name another --out or remove it")
        folder = f"{out.rstrip('/')}.{uuid.uuid4().hex}.tmp"
        staged = self._path(folder)
        try:
            system.mkdirs(staged)
            yield folder
            if not system.rename(staged, target):
                raise DatasetError(Path(out), "cannot be made; name another --out")
        finally:
            system.delete(staged, True)

    def scan(self, path: str) -> Frame:
        try:
            table: Frame = nw.from_native(self._session.read.parquet(path))
        except PySparkException as error:
            problem = str(error).partition("\n")[0]
            raise DatasetError(Path(path), f"is not a Parquet table: {problem}") from error
        return table

    def write_parts(self, table: Frame, folder: str) -> None:
        table.to_native().write.parquet(folder)

    def write_file(self, table: Frame, path: str) -> None:
        folder = f"{path}.parts"
        table.to_native().coalesce(1).write.parquet(folder)
        system, parent = self._located(folder)
        part = next(
            status.getPath()
            for status in system.listStatus(parent)
            if status.getPath().getName().startswith("part-")
        )
        system.rename(part, self._path(path))
        system.delete(parent, True)

    def write_text(self, text: str, path: str) -> None:
        system, place = self._located(path)
        stream = system.create(place)
        stream.write(text.encode())
        stream.close()

    def copy(self, source: str, path: str) -> None:
        origin, file = self._located(source)
        system, place = self._located(path)
        if not origin.exists(file):
            raise DatasetError(Path(source), "is missing; name the file of the embeddings")
        copy = self._session._jvm.org.apache.hadoop.fs.FileUtil.copy
        copy(origin, file, system, place, False, self._hadoop())

    def remove(self, folder: str) -> None:
        system, place = self._located(folder)
        system.delete(place, True)

    def first_row(self, table: Frame) -> dict[str, Any] | None:
        row = table.to_native().first()
        return None if row is None else row.asDict()

    def micros(self, table: Frame, column: str) -> Frame:
        time = functions.unix_micros(functions.col(column).cast("timestamp"))
        return self._with(table, column, time)

    def datetimes(self, table: Frame, column: str) -> Frame:
        return self._with(table, column, functions.timestamp_micros(column))

    def _with(self, table: Frame, column: str, values: Column) -> Frame:
        changed: Frame = nw.from_native(table.to_native().withColumn(column, values))
        return changed

    def _hadoop(self) -> Any:
        return self._session._jsc.hadoopConfiguration()

    def _path(self, place: str) -> Any:
        return self._session._jvm.org.apache.hadoop.fs.Path(place)

    def _located(self, place: str) -> tuple[Any, Any]:
        """Return Hadoop's file system and path of ``place``."""
        path = self._path(place)
        return path.getFileSystem(self._hadoop()), path


def main() -> None:
    """Run the command; exit with 2 and one line for an error that a user can mend."""
    parser = argparse.ArgumentParser(description="Make a dataset folder from a raw log, on Spark.")
    parser.add_argument("config", type=Path, help="prepare.toml")
    parser.add_argument("--out", required=True, help="dataset folder to write; must not exist")
    arguments = parser.parse_args()
    try:
        log = read_specification(arguments.config)
        session = SparkSession.builder.appName(f"prepare {log.name}").getOrCreate()
        print(prepare_log(log, arguments.out, SparkEngine(session)))  # noqa: T201
        session.stop()
    except TrainingError as error:
        print(f"error: {error}", file=sys.stderr)  # noqa: T201
        sys.exit(2)


if __name__ == "__main__":
    main()
