from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import Any

import pytest
from pydantic import ValidationError

from service.contract.manifest import Manifest, Tensor, graph_signatures

Document = dict[str, Any]


def parse(document: Document) -> Manifest:
    """Read a manifest from JSON, as ``open_artifact`` does."""
    return Manifest.model_validate_json(json.dumps(document))


def put(document: Document, path: str, value: Any) -> None:
    """Set the field at a dotted path; numbers are positions."""
    *parents, last = (int(step) if step.isdigit() else step for step in path.split("."))
    target: Any = document
    for step in parents:
        target = target[step]
    target[last] = value


def test_a_valid_document_is_read_as_written(document: Document) -> None:
    manifest = parse(document)

    assert manifest.created == datetime(2024, 5, 1, 12, tzinfo=UTC)
    assert [modality.name for modality in manifest.modalities] == ["visual", "text", "id"]
    assert manifest.graphs["ranker"].inputs[2] == Tensor(name="tradeoff", shape=(1,))
    assert manifest.front.hypervolume.se is None
    assert manifest.front.reference == (0.5, 0.5)


def test_optional_fields_have_defaults(document: Document) -> None:
    manifest = parse(document)

    assert [modality.learned for modality in manifest.modalities] == [False, False, True]
    assert [proxy.kind for proxy in manifest.proxies] == ["numeric", "categorical"]
    assert [proxy.categories for proxy in manifest.proxies] == [(), ("day", "night")]
    assert manifest.graphs["ranker"].outputs[0].dtype == "float32"


def test_a_manifest_survives_its_own_json(document: Document) -> None:
    manifest = parse(document)

    assert Manifest.model_validate_json(manifest.model_dump_json()) == manifest


def test_dimensions_come_from_modalities_and_graph_outputs(document: Document) -> None:
    manifest = parse(document)

    assert (manifest.embedding_dim, manifest.state_dim, manifest.user_dim) == (3 + 2 + 4, 4, 6)


@pytest.mark.parametrize(
    ("learned", "bits"),
    [
        ([False, False, False], 0),
        ([False, False, True], 0b100),
        ([True, False, True], 0b101),
        ([False, True, False], 0b010),
    ],
)
def test_learned_mask_has_a_bit_for_each_learned_modality(
    document: Document, learned: list[bool], bits: int
) -> None:
    for modality, flag in zip(document["modalities"], learned, strict=True):
        modality["learned"] = flag

    assert parse(document).learned_mask == bits


def test_64_modalities_fit_the_mask_and_65_are_refused(document: Document) -> None:
    document["modalities"] = [{"name": f"m{i}", "dim": 1} for i in range(64)]
    document["modalities"][63]["learned"] = True
    item_encoder = document["graphs"]["item_encoder"]["inputs"]
    item_encoder[0]["shape"] = item_encoder[1]["shape"] = ["N", 64]
    assert parse(document).learned_mask == 2**63

    document["modalities"].append({"name": "m64", "dim": 1})
    with pytest.raises(ValidationError) as caught:
        parse(document)
    assert caught.value.errors()[0]["loc"] == ("modalities",)


@pytest.mark.parametrize(
    ("path", "value"),
    [
        ("schema_version", 1),
        ("schema_version", "x"),
        ("name", "Demo"),
        ("name", ""),
        ("name", "../demo"),
        ("name", "-demo"),
        ("name", "demo\n"),
        ("name", "d" * 65),
        ("kind", "a b"),
        ("created", "yesterday"),
        ("modalities", []),
        ("modalities.0.dim", 0),
        ("modalities.1.name", "te:xt"),
        ("proxies.0.kind", "ordinal"),
        ("graphs.ranker.inputs.0.dtype", "float64"),
        ("spaces.items", "a:b"),
        ("spaces.users", ""),
        ("spaces.proxies", "a b"),
        ("default_tradeoff", 1.01),
        ("default_tradeoff", -0.01),
        ("default_tradeoff", float("nan")),
        ("calibration.slope", 0.0),
        ("calibration.intercept", float("nan")),
        ("parity_tolerance", 0.0),
        ("dataset.fingerprint", "AB" * 32),
        ("front.points.1.tradeoff", 1.5),
        ("front.points.0.logged.auc.se", -0.1),
        ("front.points.0.unbiased.auc.mean", float("nan")),
        ("front.reference.1", "low"),
        ("front.verdict", "maybe"),
        ("front.se_kind", "guess"),
        ("files.golden.npz", None),
    ],
)
def test_a_wrong_field_is_refused_by_name(document: Document, path: str, value: Any) -> None:
    if path == "files.golden.npz":  # the one name with a dot of its own
        document["files"]["golden.npz"] = "0" * 63
    else:
        put(document, path, value)

    with pytest.raises(ValidationError) as caught:
        parse(document)

    first = caught.value.errors()[0]
    assert ".".join(map(str, first["loc"])) == path


@pytest.mark.parametrize(
    ("path", "value", "graph"),
    [
        ("modalities.0.dim", 4, "graphs.item_encoder"),
        ("modalities.0.dim", 10**30, "graphs.item_encoder"),
        ("proxies", [], "graphs.item_encoder"),
        ("graphs.user_encoder.inputs.0.shape", ["L", 5], "graphs.user_encoder"),
        ("graphs.user_encoder.outputs.0.shape", [1, 7], "graphs.ranker"),
        ("graphs.ranker.inputs.2.name", "weight", "graphs.ranker"),
        ("graphs.item_encoder.outputs", [], "graphs: an encoder"),
        ("graphs.item_encoder.outputs.0.shape", ["N", "S"], "graphs: an encoder"),
    ],
)
def test_sizes_that_the_graphs_do_not_have_are_refused(
    document: Document, path: str, value: Any, graph: str
) -> None:
    put(document, path, value)

    with pytest.raises(ValidationError, match=graph):
        parse(document)


@pytest.mark.parametrize("name", ["x" * 256, "a\0b", "a\nb", "é"])
def test_a_file_name_that_some_system_refuses_is_refused(document: Document, name: str) -> None:
    document["files"][name] = "0" * 64

    with pytest.raises(ValidationError, match="files"):
        parse(document)


def test_a_front_needs_both_ends(document: Document) -> None:
    document["front"]["points"].pop()

    with pytest.raises(ValidationError, match=r"front\.points"):
        parse(document)


@pytest.mark.parametrize("graph", ["item_encoder", "user_encoder", "ranker"])
def test_every_graph_must_be_described(document: Document, graph: str) -> None:
    del document["graphs"][graph]

    with pytest.raises(ValidationError) as caught:
        parse(document)
    assert [error["loc"] for error in caught.value.errors()] == [("graphs",)]


def test_an_unknown_graph_is_refused(document: Document) -> None:
    document["graphs"]["reranker"] = document["graphs"]["ranker"]

    with pytest.raises(ValidationError, match=r"graphs\.reranker"):
        parse(document)


@pytest.mark.parametrize("parent", ["", "dataset.", "spaces.", "modalities.0.", "front."])
def test_an_unknown_field_is_refused(document: Document, parent: str) -> None:
    put(document, f"{parent}surprise", 1)

    with pytest.raises(ValidationError) as caught:
        parse(document)
    (error,) = caught.value.errors()
    assert error["type"] == "extra_forbidden"
    assert error["loc"][-1] == "surprise"


def test_a_manifest_cannot_be_changed(document: Document) -> None:
    manifest = parse(document)

    with pytest.raises(ValidationError, match="frozen"):
        manifest.default_tradeoff = 0.9  # type: ignore[misc]  # the test: it is frozen
    with pytest.raises(ValidationError, match="frozen"):
        manifest.modalities[0].dim = 9  # type: ignore[misc]  # the test: it is frozen


def test_signatures_place_every_size_where_the_design_says(document: Document) -> None:
    signatures = graph_signatures(embedding=9, modalities=3, proxies=2, state=4, user=6)

    assert signatures == parse(document).graphs


@pytest.fixture
def moving(document: Document) -> Document:
    """A manifest whose known users move; H = 8, V = 10."""
    sizes = {"embedding": 9, "modalities": 3, "proxies": 2, "state": 4, "user": 6}
    signatures = graph_signatures(**sizes, trace=8, record=10)
    graphs = {name: graph.model_dump(mode="json") for name, graph in signatures.items()}
    return {**document, "graphs": graphs}


def test_known_users_move_by_two_more_graphs(document: Document, moving: Document) -> None:
    stays, moves = parse(document), parse(moving)

    assert (stays.moves_users, stays.trace_dim, stays.record_dim) == (False, 0, 6)
    assert (moves.moves_users, moves.trace_dim, moves.record_dim) == (True, 8, 10)
    assert moves.graphs["user_update"].inputs[1] == Tensor(name="trace", shape=("L", 8))


@pytest.mark.parametrize("graph", ["history_encoder", "user_update"])
def test_one_of_the_two_is_refused(moving: Document, graph: str) -> None:
    del moving["graphs"][graph]

    with pytest.raises(ValidationError, match=f"{graph} is missing"):
        parse(moving)


@pytest.mark.parametrize(
    ("path", "value", "graph"),
    [
        ("graphs.history_encoder.inputs.0.shape", ["N", 8], "graphs.history_encoder"),
        ("graphs.history_encoder.outputs", [], "graphs: an encoder"),
        ("graphs.user_update.inputs.0.shape", [1, 5], "graphs.user_update"),
        ("graphs.user_update.inputs.1.shape", ["L", 9], "graphs.user_update"),
        ("graphs.user_update.outputs.0.shape", [1, 7], "graphs.user_update"),
    ],
)
def test_sizes_of_records_and_traces_are_checked(
    moving: Document, path: str, value: Any, graph: str
) -> None:
    put(moving, path, value)

    with pytest.raises(ValidationError, match=graph):
        parse(moving)
