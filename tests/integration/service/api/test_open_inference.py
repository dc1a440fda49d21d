"""The Open Inference Protocol, spoken by Triton's client and in plain JSON."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest
import tritonclient.http as triton
from jsonschema import Draft202012Validator
from numpy.typing import NDArray
from tritonclient.utils import InferenceServerException

from service.api import tensors as codec
from service.contract.measures import calibrated_score
from service.errors import InferenceError
from service.models.raw_model import raw_model
from service.models.scorer import RUN_ROWS
from tests.conftest import World
from tests.integration.conftest import Running, deploy, until
from tests.integration.service.api.conftest import Edge

Array = NDArray[np.float32]
ITEMS = 5


@pytest.fixture(scope="module")
def client(service: Running) -> Iterator[triton.InferenceServerClient]:
    url = service.client.base_url
    with triton.InferenceServerClient(f"{url.host}:{url.port}") as client:
        yield client


@pytest.fixture(scope="module")
def tensors(world: World) -> dict[str, Array]:
    """Return the golden inputs of the first items at tradeoff 0.25."""
    golden = world.artifact.golden()
    return {
        "user": golden.user,
        "embedding": golden.embedding[:ITEMS],
        "modality_mask": golden.modality_mask[:ITEMS],
        "proxies": np.nan_to_num(golden.proxies[:ITEMS]),  # JSON has no NaN
        "tradeoff": np.array([0.25], np.float32),
    }


@pytest.fixture(scope="module")
def logit(service: Running, tensors: dict[str, Array]) -> Array:
    """Return what the model's graphs say of ``tensors``."""
    scorer = service.app.state.registry.resolve("toy").scorer
    states = scorer.encode_items(tensors["embedding"], tensors["modality_mask"], tensors["proxies"])
    logits: Array = scorer.score(tensors["user"], states, [0.25])[0]
    return logits


def _inputs(tensors: dict[str, Array], *, binary: bool = True) -> list[triton.InferInput]:
    inputs = []
    for name, array in tensors.items():
        entry = triton.InferInput(name, list(array.shape), "FP32")
        entry.set_data_from_numpy(array, binary_data=binary)
        inputs.append(entry)
    return inputs


def _body(tensors: dict[str, Array], **options: Any) -> dict[str, Any]:
    inputs = [
        {
            "name": name,
            "shape": list(array.shape),
            "datatype": "FP32",
            "data": [None if np.isnan(value) else float(value) for value in array.ravel()],
        }
        for name, array in tensors.items()
    ]
    return {"inputs": inputs, **options}


def _infer(service: Running, model: str = "toy", **body: Any) -> httpx.Response:
    return service.client.post(f"/v2/models/{model}/infer", json=body)


def test_the_client_sees_the_server_and_its_models(client: triton.InferenceServerClient) -> None:
    assert client.is_server_live()
    assert client.is_server_ready()
    assert client.get_server_metadata()["extensions"] == ["binary_tensor_data"]
    assert client.is_model_ready("toy")
    assert client.is_model_ready("toy.ranker", "1")
    assert client.is_model_ready("toy@champion")
    for model, version in (("toy", "2"), ("other", ""), ("toy.other", ""), (".ranker", "")):
        assert not client.is_model_ready(model, version), model


def test_the_metadata_names_what_the_graphs_take(
    client: triton.InferenceServerClient, world: World
) -> None:
    manifest = world.artifact.manifest
    metadata = client.get_model_metadata("toy", "1")
    assert (metadata["name"], metadata["versions"]) == ("toy", ["1"])
    assert [(entry["name"], entry["shape"]) for entry in metadata["inputs"]] == [
        ("user", [1, manifest.user_dim]),
        ("embedding", [-1, manifest.embedding_dim]),
        ("modality_mask", [-1, len(manifest.modalities)]),
        ("proxies", [-1, len(manifest.proxies)]),
        ("tradeoff", [1]),
    ]
    assert [(entry["name"], entry["shape"]) for entry in metadata["outputs"]] == [
        ("logit", [-1]),
        ("score", [-1]),
    ]
    for graph in ("item_encoder", "user_encoder", "ranker"):
        inputs = client.get_model_metadata(f"toy.{graph}")["inputs"]
        names = [tensor.name for tensor in manifest.graphs[graph].inputs]
        assert [entry["name"] for entry in inputs] == names


@pytest.mark.parametrize("binary_input", [True, False])
@pytest.mark.parametrize("binary_output", [True, False])
def test_the_client_gets_the_logits_of_the_graphs(
    client: triton.InferenceServerClient,
    world: World,
    tensors: dict[str, Array],
    logit: Array,
    binary_input: bool,
    binary_output: bool,
) -> None:
    outputs = [
        triton.InferRequestedOutput(name, binary_data=binary_output) for name in ("score", "logit")
    ]
    result = client.infer("toy", _inputs(tensors, binary=binary_input), "1", outputs, "mine")
    answer = result.get_response()
    assert (answer["id"], answer["model_name"], answer["model_version"]) == ("mine", "toy", "1")
    assert [output["name"] for output in answer["outputs"]] == ["score", "logit"]
    logits = result.as_numpy("logit")
    np.testing.assert_array_equal(logits, logit)
    score = calibrated_score(world.artifact.manifest.calibration, logits)
    np.testing.assert_allclose(result.as_numpy("score"), score, rtol=1e-6)


def test_the_graphs_in_a_row_are_the_whole_model(
    client: triton.InferenceServerClient, tensors: dict[str, Array], logit: Array
) -> None:
    names = ("embedding", "modality_mask", "proxies")
    items = _inputs({name: tensors[name] for name in names})
    states = client.infer("toy.item_encoder", items).as_numpy("state")
    ranked = {"user": tensors["user"], "state": states, "tradeoff": tensors["tradeoff"]}
    np.testing.assert_array_equal(
        client.infer("toy.ranker", _inputs(ranked)).as_numpy("logit"), logit
    )
    user = client.infer("toy.user_encoder", _inputs({"history": states})).as_numpy("user")
    assert user.shape == tensors["user"].shape


def test_no_history_is_the_average_user(
    client: triton.InferenceServerClient, service: Running, world: World
) -> None:
    empty = np.zeros((0, world.artifact.manifest.state_dim), np.float32)
    user = client.infer("toy.user_encoder", _inputs({"history": empty})).as_numpy("user")
    average = service.app.state.registry.resolve("toy").average_user
    np.testing.assert_array_equal(user, average)


def test_left_out_inputs_have_their_defaults(
    service: Running, world: World, tensors: dict[str, Array]
) -> None:
    default = np.array([world.artifact.manifest.default_tradeoff], np.float32)
    unknown = np.full_like(tensors["proxies"], np.nan)
    full = {**tensors, "proxies": unknown, "tradeoff": default}
    few = {name: tensors[name] for name in ("user", "embedding", "modality_mask")}
    outputs = [_infer(service, **_body(entries)).json()["outputs"] for entries in (full, few)]
    assert outputs[0] == outputs[1]


def test_the_scores_are_those_of_a_ranking(
    service: Running, world: World, client: triton.InferenceServerClient
) -> None:
    """A raw client that has the records gets what ``/rank`` answers."""
    model = service.app.state.registry.resolve("toy")
    item_ids = world.dataset.item_ids[:ITEMS]
    rows = model.catalog.held_rows(item_ids)
    ranked = {
        "user": model.average_user,
        "state": model.catalog.states(rows),
        "tradeoff": np.array([1.0], np.float32),
    }
    scores = client.infer("toy.ranker", _inputs(ranked)).as_numpy("score")
    answer = service.rank(user_id="nobody", candidates=item_ids, tradeoff=1.0)
    expected = {item["item_id"]: item["score"] for item in answer["items"]}
    np.testing.assert_allclose(scores, [expected[item] for item in item_ids], rtol=1e-6)


def _changed(tensors: dict[str, Array], name: str, value: Any) -> dict[str, Array]:
    return {**tensors, name: np.asarray(value, np.float32)}


REFUSED: dict[str, tuple[str, Any]] = {
    "a name": ("inputs: 'colour' is not one of user, embedding", ("colour", [1.0])),
    "another length": (r"user: shape is \[1, 1\], not \[1, \d+\]", ("user", [[1.0]])),
    "another number of rows": (r"modality_mask: shape is \[1, 1\], not", ("modality_mask", [[1]])),
    "no rank": (r"user: shape is \[1\], not", ("user", [1.0])),
    "a tradeoff": (r"tradeoff: should be in \[0, 1\]", ("tradeoff", [1.5])),
    "two tradeoffs": (r"tradeoff: shape is \[2\], not \[1\]", ("tradeoff", [0.5, 0.5])),
}


@pytest.mark.parametrize("kind", REFUSED)
def test_inputs_that_do_not_fit_are_refused(
    client: triton.InferenceServerClient, tensors: dict[str, Array], kind: str
) -> None:
    message, change = REFUSED[kind]
    with pytest.raises(InferenceServerException, match=message) as error:
        client.infer("toy", _inputs(_changed(tensors, *change)))
    assert error.value.status() == "400"


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_values_that_are_not_finite_are_refused(
    client: triton.InferenceServerClient, tensors: dict[str, Array], value: float
) -> None:
    embedding = np.full_like(tensors["embedding"], value)
    with pytest.raises(InferenceServerException, match="embedding: holds a value that is not"):
        client.infer("toy", _inputs(_changed(tensors, "embedding", embedding)))


def test_no_output_is_infinite(
    client: triton.InferenceServerClient, tensors: dict[str, Array]
) -> None:
    huge = np.full_like(tensors["user"], 3e38)
    state = np.full((1, client.get_model_metadata("toy.ranker")["inputs"][1]["shape"][1]), 3e38)
    with pytest.raises(InferenceServerException, match="not finite, because an input is too large"):
        client.infer("toy.ranker", _inputs({"user": huge, "state": state.astype(np.float32)}))


def test_too_many_rows_are_refused(service: Running) -> None:
    raw = raw_model(service.app.state.registry.resolve("toy"), "user_encoder")
    rows = np.zeros((RUN_ROWS + 1, int(raw.inputs[0].shape[1])), np.float32)
    with pytest.raises(InferenceError, match=f"more than {RUN_ROWS} rows"):
        raw.run({"history": rows})


def test_other_errors_have_the_form_of_the_protocol(service: Running) -> None:
    for method, path, status in (
        ("POST", "/v2/models/other/infer", 404),
        ("GET", "/v2/models/toy/versions/one", 404),
        ("GET", "/v2/repository", 404),
        ("GET", "/v2/models/toy/infer", 405),
    ):
        answer = service.client.request(method, path)
        assert answer.status_code == status, path
        assert isinstance(answer.json()["error"], str)
        assert answer.headers["x-request-id"]
    compressed = service.client.post(
        "/v2/models/toy/infer", content=b"", headers={"Content-Encoding": "gzip"}
    )
    assert compressed.status_code == 400
    assert "Content-Encoding: gzip is not supported" in compressed.json()["error"]
    too_long = service.client.post("/v2/models/toy/infer", content=b" " * (1 << 21))
    assert (too_long.status_code, list(too_long.json())) == (413, ["error"])


def test_answers_are_as_documented(service: Running, tensors: dict[str, Array]) -> None:
    document = service.client.get("/openapi.json").json()
    schemas = document["components"]["schemas"]
    body = _body(tensors, id="mine")
    for name, instance in (
        ("InferRequest", body),
        ("InferResponse", _infer(service, **body).json()),
        ("ModelMetadata", service.client.get("/v2/models/toy").json()),
    ):
        schema = {**schemas[name], "components": document["components"]}
        Draft202012Validator(schema).validate(instance)


def test_before_a_model_serves_it_is_live_and_not_ready(edge: Edge) -> None:
    with edge() as (service, _):
        assert service.client.get("/v2/health/live").json() == {"live": True}
        answer = service.client.get("/v2/health/ready")
        assert (answer.status_code, answer.json()) == (503, {"ready": False})
        answer = service.client.get("/v2/models/toy/ready")
        assert answer.status_code == 503
        assert "train and publish one" in answer.json()["error"]


def test_it_can_be_turned_off(edge: Edge) -> None:
    with edge(open_inference=False) as (service, _):
        assert service.client.get("/v2/health/live").status_code == 404
        paths = service.client.get("/openapi.json").json()["paths"]
        assert not [path for path in paths if path.startswith("/v2")]


def test_few_wait_and_rankings_are_not_held_up(
    world: World, redis_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """While one inference runs and one waits, a third is refused and a ranking is answered."""
    entered, leave = threading.Event(), threading.Event()

    def slow(*_: object) -> tuple[bytes, None]:
        entered.set()
        assert leave.wait(20)
        return b"{}", None

    monkeypatch.setattr(codec, "infer", slow)
    deployment = deploy(world, redis_url, tmp_path / "models", inference_queue=1)
    with deployment.serve() as service, ThreadPoolExecutor(2) as pool:
        try:
            waiting = [pool.submit(_infer, service) for _ in range(2)]
            assert entered.wait(20)
            until(lambda: service.app.state.inferences._admitted == 2)
            refused = _infer(service)
            assert refused.status_code == 503
            assert refused.json() == {"error": "too many inferences wait: try again"}
            assert refused.headers["retry-after"] == "1"
            assert service.rank(user_id="u0000", candidates=["i0001"])["items"]
            assert service.metric('rank_shed_total{queue="inferences"}') == 1
        finally:
            leave.set()
        assert [answer.result().status_code for answer in waiting] == [200, 200]
