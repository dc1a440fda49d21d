"""``publish --add``, ``--update`` and ``--remove``: some items change, the rest stays."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest

from service.contract.records import decode
from tests.conftest import World
from tests.integration.conftest import Deployment, until
from training.cli.app import main
from training.data.schema import DESCRIPTION
from training.release.publish import item_values, publish

Run = Callable[..., tuple[int, str, str]]


@pytest.fixture
def run(
    deployment: Deployment, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Run:
    """Return ``run(*options)``: exit code, output and error of ``publish toy``."""

    def run_command(*options: str | Path) -> tuple[int, str, str]:
        settings = deployment.settings
        place = ["--models", str(settings.models_dir), "--namespace", settings.namespace]
        place += ["--redis", settings.redis_url.get_secret_value()]
        monkeypatch.setattr(sys, "argv", ["training", "publish", "toy", *map(str, options), *place])
        with pytest.raises(SystemExit) as stopped:
            main()
        out, err = capsys.readouterr()
        return int(stopped.value.code or 0), out, err

    return run_command


@pytest.fixture
def part(world: World, tmp_path: Path) -> Path:
    """A folder of items alone: the dataset's items 0 and 1, changed, and a new one."""
    data, folder = world.dataset, tmp_path / "part"
    folder.mkdir()
    (folder / DESCRIPTION).write_text((data.path / DESCRIPTION).read_text())
    item_ids = [*data.item_ids[:2], "brand-new"]
    items = pl.read_parquet(data.path / data.description.items, glob=False)[:3].with_columns(
        pl.Series("item_id", item_ids),
        pl.lit(7.0).alias(world.artifact.manifest.proxies[0].name),
        pl.lit("Changed").alias(data.description.title or ""),
    )
    items.write_parquet(folder / data.description.items)
    for embedding in data.description.embeddings.values():
        values = folder / embedding.values
        values.parent.mkdir(exist_ok=True)
        vectors = np.load(data.path / embedding.values)
        np.save(values, vectors[[5, 6, 7]])
        (folder / str(embedding.ids)).write_text("\n".join(item_ids) + "\n")
    return folder


def _records(deployment: Deployment, world: World, item_ids: list[str]) -> Any:
    raw = deployment.redis.mget(deployment.keys.items(item_ids))
    return decode(raw, world.artifact.manifest.embedding_dim)


def test_items_are_added_and_updated_and_removed(
    deployment: Deployment, world: World, run: Run, part: Path, tmp_path: Path
) -> None:
    first, second, third = world.dataset.item_ids[:3]
    items = len(world.dataset.item_ids)
    learned = item_values(world.artifact, world.dataset)[0][:2]
    learned = learned[:, -world.artifact.manifest.modalities[-1].dim :]
    untouched = deployment.redis.get(deployment.keys.items([third])[0])
    before = _records(deployment, world, [first, second])
    with deployment.serve() as service:
        code, out, _ = run("--update", part)
        assert (code, out) == (
            0, f"toy@1: 2 items written, 1 left out; the catalogue has {items}\n"
        )  # fmt: skip
        after = _records(deployment, world, [first, second])
        np.testing.assert_array_equal(after.values[:, -learned.shape[1] :], learned)
        assert after.mask.tolist() == before.mask.tolist()
        assert not np.array_equal(after.values, before.values)
        (item,) = service.rank(user_id="u", candidates=["brand-new"])["items"]
        assert item["status"] == "missing"

        code, out, _ = run("--add", part, "--batch", "2")
        assert out == f"toy@1: 3 items written, 0 left out; the catalogue has {items + 1}\n"
        until(lambda: "brand-new" in service.ids(user_id="u", top_k=1000))
        (item,) = service.rank(user_id="u", candidates=["brand-new"], titles=True)["items"]
        assert (item["status"], item["title"]) == ("cold", "Changed")
        proxies = deployment.redis.get(deployment.keys.proxies(["brand-new"])[0])
        count = len(world.artifact.manifest.proxies)
        assert decode([proxies], count, allow_nan=True).values[0, 0] == 7.0

        ids = tmp_path / "gone.txt"
        ids.write_text(f"brand-new\r\n\n{first}\nnever\n")
        code, out, _ = run("--remove", ids)
        assert out == f"toy@1: 2 items removed, 1 left out; the catalogue has {items - 1}\n"
        until(lambda: len(service.ids(user_id="u", top_k=1000)) == items - 1)
        assert first not in service.ids(user_id="u", top_k=1000)
    assert deployment.redis.get(deployment.keys.items([third])[0]) == untouched
    url, namespace = deployment.settings.redis_url.get_secret_value(), deployment.settings.namespace
    done = publish(world.artifact, world.dataset, url=url, namespace=namespace)
    assert done.written == 3 * items  # one batch each of proxies, titles and items
    again = publish(world.artifact, world.dataset, url=url, namespace=namespace)
    assert (again.written, again.items) == (0, items)


def test_mistakes_are_named_and_change_nothing(
    deployment: Deployment, world: World, run: Run, part: Path, tmp_path: Path
) -> None:
    def names() -> set[bytes]:
        return set(deployment.redis.keys(f"*{deployment.settings.namespace}*"))

    before = names()
    half = tmp_path / "half.txt"
    half.write_text("\n".join(world.dataset.item_ids[: len(world.dataset.item_ids) // 2]))
    everything = tmp_path / "all.txt"
    everything.write_text("\n".join(world.dataset.item_ids))
    long, empty = tmp_path / "long.txt", tmp_path / "empty.txt"
    long.write_text("x" * 129)
    empty.write_text("\n\n")
    for options, problem in (
        ((), "name one of --data, --add, --update, --remove, not none"),
        (("--add", part, "--remove", half), "not --add and --remove"),
        (("--remove", half), "items of the catalogue of toy@1 would go. To remove them, add --for"),
        (("--remove", everything, "--force"), "--remove: these are all 800 items of toy@1"),
        (("--remove", long), "has over 128 characters"),
        (("--remove", empty), "has no item id; write one a line"),
        (("--remove", part), "Is a directory"),
        (("--add", tmp_path), "dataset.toml: is missing"),
    ):
        code, out, err = run(*options)
        assert (code, out) == (2, "")
        assert problem in err.splitlines()[-1]
    assert names() == before
    (part / DESCRIPTION).write_text(
        (part / DESCRIPTION).read_text().replace("[embeddings.", "[embeddings.my-")
    )
    code, _, err = run("--add", part)
    assert code == 2
    assert f"{part} has" in err
    deployment.redis.delete(deployment.keys.catalog)
    code, _, err = run("--remove", half)
    assert "has no items in Redis: publish it first, with --data" in err
