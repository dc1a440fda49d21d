"""Attributes of users and items: numbers, and texts as one number for each category."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import polars as pl
import pytest

from service.contract.manifest import Modality, Proxy
from tests.integration.training.data.small_dataset import (
    AUDIO,
    IMAGE,
    assert_refused,
    tables,
    write,
)
from training.data.attributes import MAX_CATEGORIES
from training.data.dataset import Dataset, open_dataset
from training.data.schema import read_description
from training.data.writer import write_dataset

ITEM_IDS = ["a", "b", "c"]


def _write(folder: Path, items: dict[str, list[object]], **described: object) -> Path:
    """Write a dataset whose items have the columns ``items``, all of them attributes."""
    contents = tables()
    options: dict[str, object] = {
        "embeddings": {"image": (IMAGE, ITEM_IDS), "audio": (AUDIO, ["c", "a"])},
        "item_attributes": tuple(items),
    }
    columns = [pl.Series(name, values, strict=False) for name, values in items.items()]
    write_dataset(
        folder,
        name="small",
        impressions=contents["impressions"],
        items=contents["items"].select("item_id").with_columns(columns),
        users=contents["users"],
        **(options | described),  # type: ignore[arg-type]  # options of several types
    )
    return folder


def _attributes(folder: Path, items: dict[str, list[object]]) -> Dataset:
    dataset = open_dataset(_write(folder, items))
    assert dataset.modalities[-1].name == "attributes"
    return dataset


def test_item_attributes_are_the_last_modality(tmp_path: Path) -> None:
    dataset = _attributes(
        tmp_path / "d", {"genre": ["rock", None, "jazz"], "length": [1.0, None, 3.0]}
    )

    assert dataset.modalities == (
        Modality(name="image", dim=2),
        Modality(name="audio", dim=3),
        Modality(name="attributes", dim=3),
    )
    # Categories in the order of their names; 1 and 3 have mean 2 and deviation 1.
    np.testing.assert_array_equal(dataset.embedding[:, 5:], [[0, 1, -1], [0, 0, 0], [1, 0, 1]])
    assert dataset.embedding.dtype == np.float32
    assert dataset.modality_mask.tolist() == [
        [True, True, True],
        [True, False, False],
        [True, True, True],
    ]


def test_an_item_with_some_attribute_has_the_modality(tmp_path: Path) -> None:
    dataset = _attributes(
        tmp_path / "d", {"genre": ["rock", None, None], "new": [None, True, None]}
    )

    np.testing.assert_array_equal(dataset.embedding[:, 5:], [[1, 0], [0, 0], [0, 0]])
    assert dataset.modality_mask[:, 2].tolist() == [True, True, False]


def test_a_far_value_is_bounded(tmp_path: Path) -> None:
    folder = _write(tmp_path / "d", {"price": [1.0, 2.0, 3.0]})
    codings = open_dataset(folder).item_codings
    items = pl.read_parquet(folder / "items.parquet", glob=False)
    items.with_columns(price=pl.Series([1.0, 2.0, 1e9])).write_parquet(folder / "items.parquet")

    embedding = open_dataset(folder, item_codings=codings).embedding

    deviation = np.sqrt(2 / 3)
    np.testing.assert_allclose(embedding[:, 5], [-1 / deviation, 0, 10], rtol=1e-6)


def test_the_codings_of_a_model_hold_for_later_items(tmp_path: Path) -> None:
    before = _attributes(tmp_path / "d", {"genre": ["rock", "jazz", "jazz"], "length": [1, 2, 3]})
    folder = _write(tmp_path / "e", {"genre": ["folk", "rock", "pop"], "length": [3, 3, 3]})

    later = open_dataset(folder, item_codings=before.item_codings)

    assert later.modalities == before.modalities
    deviation = np.sqrt(2 / 3)
    np.testing.assert_allclose(
        later.embedding[:, 5:],
        [[0, 0, 1 / deviation], [0, 1, 1 / deviation], [0, 0, 1 / deviation]],
        rtol=1e-6,
    )


def test_the_codings_of_a_model_hold_for_later_users(tmp_path: Path) -> None:
    paths = []
    for name, ages, towns in (
        ("d", [30, None], ["Bonn", "Ulm"]),
        ("e", [None, 50], ["Ulm", "Rom"]),
    ):
        write(tmp_path / name)
        users = pl.DataFrame({"user_id": ["u1", "u2"], "age": ages, "member": towns})
        users.write_parquet(tmp_path / name / "users.parquet")
        paths.append(tmp_path / name)
    before = open_dataset(paths[0])

    later = open_dataset(paths[1], user_codings=before.user_codings)

    assert later.user_codings == before.user_codings
    assert later.user_attributes.tolist() == [[30, 0, 1], [50, 0, 0]]


def test_rare_categories_share_a_column(tmp_path: Path) -> None:
    count = MAX_CATEGORIES + 2
    names = [f"n{number:03}" for number in range(count)]
    users = pl.DataFrame(
        {
            "user_id": [f"u{number}" for number in range(1, 2 * count + 1)],
            "town": [*names, *names[:-2], None, None],
            "age": [30] * (2 * count),
        }
    )
    write(tmp_path / "d", users=users.with_columns(member=pl.lit(True)))
    toml = tmp_path / "d" / "dataset.toml"
    toml.write_text(toml.read_text().replace('"age"', '"age", "town"', 1))

    attributes = open_dataset(tmp_path / "d").user_attributes

    assert attributes.shape == (2 * count, 1 + MAX_CATEGORIES + 1 + 1)  # age, towns, other, member
    towns = attributes[:, 1:-1]
    np.testing.assert_array_equal(towns[: count - 2], np.eye(MAX_CATEGORIES + 1)[: count - 2])
    np.testing.assert_array_equal(towns[count - 2 : count, -1], [1, 1])  # each of them once
    assert not towns[-2:].any()


def test_an_unknown_number_of_a_user_is_the_mean(tmp_path: Path) -> None:
    users = pl.DataFrame(
        {"user_id": ["u1", "u2", "u3"], "age": [20, None, 40], "member": [True, False, True]}
    )
    write(tmp_path / "d", users=users)

    attributes = open_dataset(tmp_path / "d").user_attributes

    np.testing.assert_array_equal(attributes, [[20, 1], [30, 0], [40, 1]])


@pytest.mark.parametrize("values", [[None, None, None], [float("nan")] * 3])
def test_a_column_without_a_value_is_refused(tmp_path: Path, values: list[object]) -> None:
    folder = _write(tmp_path / "d", {"price": values})

    problem = "has no value; leave it out of the attributes"
    assert_refused(folder, "items.parquet", "price", None, problem)


@pytest.mark.parametrize(
    ("text", "column", "problem"),
    [
        ("item_attributes = ['a', 'a']", "item_attributes", "names 'a' twice"),
        ("user_attributes = ['a', 'a']", "user_attributes", "names 'a' twice"),
        ("item_attributes = ['p']\nproxies = [{name = 'p'}]", "proxies", "'p' is also in item_at"),
        (
            "item_attributes = ['a']\n[embeddings.attributes]\nvalues='v'\nids='i'",
            "embeddings",
            "'attributes' is the modality that item_attributes make; rename yours",
        ),
        (
            "item_attributes = ['a']\n"
            + "".join(f"[embeddings.m{n}]\nvalues='v'\nids='i'\n" for n in range(63)),
            "embeddings",
            "has 63 modalities, at most 62 are served",
        ),
    ],
    ids=["items", "users", "proxy", "modality", "modalities"],
)
def test_a_description_of_attributes_that_cannot_be_is_refused(
    tmp_path: Path, text: str, column: str, problem: str
) -> None:
    (tmp_path / "dataset.toml").write_text(f"name = 'x'\n{text}\n")
    assert_refused(tmp_path, "dataset.toml", column, None, problem)


def test_without_item_attributes_a_modality_may_be_called_attributes(tmp_path: Path) -> None:
    folder = _write(
        tmp_path / "d", {}, embeddings={"attributes": (IMAGE, ITEM_IDS)}, proxies=(Proxy(name="p"),)
    )
    assert read_description(folder).item_attributes == ()
    assert list(read_description(folder).embeddings) == ["attributes"]
