"""Items of requests as records of several models."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import polars as pl
import pytest

from service.contract.attributes import ATTRIBUTES, Coding
from service.contract.keys import Keys
from service.contract.manifest import Manifest
from service.contract.records import decode, encode
from service.errors import InvalidRequestError
from service.live.messages import PutItem, put_items
from service.live.records import Plan, Target, check_names, moved_of, put_of
from tests.manifest_document import manifest_document
from training.data.attributes import item_modality, learn_codings


def items(*bodies: dict[str, Any]) -> list[PutItem]:
    return put_items(msgspec.json.encode({"items": bodies}))


def target(*modalities: dict[str, Any], codings: tuple[Coding, ...] = ()) -> Target:
    """A model with these modalities of content, in place of the document's."""
    document = manifest_document()
    if modalities:
        document["modalities"] = [*modalities, document["modalities"][-1]]
        inputs = document["graphs"]["item_encoder"]["inputs"]
        inputs[0]["shape"][1] = sum(m["dim"] for m in document["modalities"])
        inputs[1]["shape"][1] = len(document["modalities"])
    manifest = Manifest.model_validate(document)
    return Target("demo@1", Keys("test", manifest.spaces), manifest, codings)


def change(model: Target, bodies: list[PutItem], old: dict[str, bytes] | None = None) -> Any:
    plan = Plan(model, put_of(model, bodies), moved_of(model, bodies))
    return plan.change({**dict.fromkeys(plan.names()), **(old or {})})


def test_a_model_takes_the_modalities_that_it_has() -> None:
    bodies = items({"item_id": "a", "vectors": {"text": [1, 2], "sound": [3]}}, {"item_id": "b"})
    other = target({"name": "sound", "dim": 1})
    check_names([target(), other], bodies)
    first = decode(list(change(target(), bodies).items.values()), 9)
    assert first.values.tolist() == [[0, 0, 0, 1, 2, 0, 0, 0, 0], [0] * 9]
    assert first.mask.tolist() == [0b010, 0]
    second = decode(list(change(other, bodies).items.values()), 5)
    assert second.values.tolist() == [[3, 0, 0, 0, 0], [0] * 5]
    with pytest.raises(InvalidRequestError, match=r"sound: no loaded model .* are text, visual"):
        check_names([target()], bodies)


def test_what_was_learned_of_an_item_stays() -> None:
    model = target()
    (name,) = model.keys.items(["a"])
    (old,) = encode(np.arange(9, dtype=np.float32)[None], np.array([0b111], np.uint64))
    record = change(model, items({"item_id": "a"}), {name: old}).items["a"]
    kept = decode([record], 9)
    assert kept.values.tolist() == [[0, 0, 0, 0, 0, 5, 6, 7, 8]]
    assert kept.mask.tolist() == [0b100]
    damaged = change(model, items({"item_id": "a"}), {name: old[:-1] + b"?"}).items["a"]
    assert decode([damaged], 9).mask.tolist() == [0]


def test_proxies_are_numbers_and_categories() -> None:
    model = target()
    bodies = items({"item_id": "a", "proxies": {"daypart": "night"}}, {"item_id": "b"})
    written = change(model, bodies)
    assert list(written.proxies) == ["a", "b"]
    assert np.isnan(decode([written.proxies["b"]], 2, allow_nan=True).values).all()
    names = model.keys.proxies(["a", "b"])
    known = dict(zip(names, written.proxies.values(), strict=True))
    assert list(change(model, bodies, known).proxies) == ["a"]
    values = decode([written.proxies["a"]], 2, allow_nan=True).values[0]
    assert np.isnan(values[0])
    assert values[1] == 1
    name, record = model.keys.proxies(["a"])[0], written.proxies["a"]
    again = items({"item_id": "a", "proxies": {"popularity": 2.5}})
    merged = change(model, again, {name: record}).proxies["a"]
    assert decode([merged], 2, allow_nan=True).values.tolist() == [[2.5, 1]]
    for value, problem in (
        ("noon", '"noon" is no category of demo@1: write one of day, night'),
        (1, "1.0 is no category"),
        ([], "got `array`"),
    ):
        with pytest.raises(InvalidRequestError, match=r"^items\.0\.proxies\.daypart: ") as refused:
            moved_of(model, items({"item_id": "a", "proxies": {"daypart": value}}))
        assert problem in refused.value.message


def test_attributes_become_the_numbers_of_the_training() -> None:
    table = pl.DataFrame(
        {"genre": ["rock", "jazz", None, "rock", None], "length": [1.0, 2.0, None, 900.0, 4.0]}
    )
    place = Path("items.parquet")
    codings = learn_codings(table, place, ("genre", "length"))
    codings = (codings[0].model_copy(update={"other": True}), codings[1])
    later = pl.concat([table, pl.DataFrame({"genre": ["folk"], "length": [1e6]})])
    modality, expected, known = item_modality(later, place, codings)
    model = target({"name": ATTRIBUTES, "dim": modality.dim}, codings=codings)
    bodies = items(
        *({"item_id": str(n), "attributes": row} for n, row in enumerate(later.to_dicts()))
    )
    check_names([model], bodies)
    put = put_of(model, bodies)
    np.testing.assert_array_equal(put.values[:, : modality.dim], expected)
    assert put.present[:, 0].tolist() == known.tolist()
    for attributes, problem in (
        ({"genre": 1}, "genre: demo@1 needs a text or null"),
        ({"length": "long"}, "length: demo@1 needs a number or null"),
    ):
        wrong = items({"item_id": "a", "attributes": attributes})
        with pytest.raises(InvalidRequestError, match=problem):
            put_of(model, wrong)
    wrong = items({"item_id": "a", "attributes": {"colour": "red"}})
    with pytest.raises(
        InvalidRequestError, match="colour: no loaded model has it; there are genre"
    ):
        check_names([model], wrong)
    both = {"item_id": "a", "attributes": {"length": 1}, "vectors": {"attributes": [1.0]}}
    with pytest.raises(InvalidRequestError, match="stand in vectors too"):
        items(both)
