"""The format of inferences: what is refused, and both forms of a tensor."""

from __future__ import annotations

import struct

import msgspec
import numpy as np
import pytest

from service.api.tensors import infer
from service.contract.manifest import Tensor
from service.errors import InferenceError
from service.models.raw_model import RawModel

DOUBLE = RawModel(
    "double",
    3,
    inputs=(Tensor(name="user", shape=("N", 2)),),
    outputs=(Tensor(name="logit", shape=("N", 2)), Tensor(name="score", shape=("N",))),
    defaults={},
    function=lambda tensors: {"logit": 2 * tensors["user"], "score": tensors["user"][:, 0]},
)
ROWS = '{"name": "user", "shape": [2, 2], "datatype": "FP32", '

BAD_BODIES: dict[str, tuple[str, bytes, str | None]] = {
    "no JSON": ("body: Input data was truncated", b"{", None),
    "no inputs": ("body: Object missing required field `inputs`", b"{}", None),
    "no object": ("body: Expected `object`", b"[]", None),
    "no text": ("body: ", b'{"inputs": "\xff"}', None),
    "a type": (
        "Invalid enum value 'FP64' - at `$.inputs[0].datatype`",
        b'{"inputs": [{"name": "user", "shape": [1], "datatype": "FP64", "data": [1]}]}',
        None,
    ),
    "no values": (
        "user: should have either data or the parameter binary_data_size",
        b'{"inputs": [{"name": "user", "shape": [1], "datatype": "FP32"}]}',
        None,
    ),
    "words": (
        "- at `$.inputs[0].data[0]`",
        b'{"inputs": [{"name": "user", "shape": [1], "datatype": "FP32", "data": ["1"]}]}',
        None,
    ),
    "ragged rows": (
        "user: data does not have the shape [2, 2]",
        b'{"inputs": [{"name": "user", "shape": [2, 2], "datatype": "FP32",'
        b'"data": [[1, 2], [3]]}]}',
        None,
    ),
    "twice": (
        "inputs: user is given twice",
        b'{"inputs": [{"name": "user", "shape": [1], "datatype": "FP32", "data": [1]},'
        b'{"name": "user", "shape": [1], "datatype": "FP32", "data": [1]}]}',
        None,
    ),
    "shared memory": (
        "unknown field `shared_memory_region`",
        b'{"inputs": [{"name": "user", "shape": [1], "datatype": "FP32",'
        b'"parameters": {"shared_memory_region": "x"}}]}',
        None,
    ),
    "a size": (
        "user: 3 bytes are not [1] values of FP32",
        b'{"inputs": [{"name": "user", "shape": [1], "datatype": "FP32",'
        b'"parameters": {"binary_data_size": 3}}]}',
        None,
    ),
    "a short body": (
        "user: the body ends before its 4 bytes",
        b'{"inputs": [{"name": "user", "shape": [1], "datatype": "FP32",'
        b'"parameters": {"binary_data_size": 4}}]}',
        None,
    ),
    "bytes at the end": (
        "body: has 15 bytes, its JSON and tensors have 14",
        b'{"inputs": []}x',
        "14",
    ),
    "a long header": ("Inference-Header-Content-Length: should be", b"{}", "3"),
    "a negative header": ("Inference-Header-Content-Length: should be", b"{}", "-1"),
}


@pytest.mark.parametrize("kind", BAD_BODIES)
def test_bad_bodies_are_refused(kind: str) -> None:
    message, body, json_bytes = BAD_BODIES[kind]
    with pytest.raises(InferenceError) as error:
        infer(DOUBLE, "double", body, json_bytes)
    assert message in error.value.message


@pytest.mark.parametrize(
    ("wanted", "message"),
    [
        ('{"name": "colour"}', "outputs: 'colour' is not one of logit, score"),
        ('{"name": "score"}, {"name": "score"}', "outputs: score is named twice"),
        ('{"name": "score", "parameters": {"classification": 2}}', "unknown field"),
    ],
)
def test_outputs_that_do_not_exist_are_refused(wanted: str, message: str) -> None:
    body = f'{{"inputs": [{ROWS} "data": [1, 2, 3, 4]}}], "outputs": [{wanted}]}}'
    with pytest.raises(InferenceError, match=message):
        infer(DOUBLE, "double", body.encode(), None)


@pytest.mark.parametrize("data", ["[1, 2.5, 3, 4]", "[[1, 2.5], [3, 4]]"])
def test_json_may_be_flat_or_nested(data: str) -> None:
    answer, json_bytes = infer(
        DOUBLE, "d", f'{{"inputs": [{ROWS} "data": {data}}}]}}'.encode(), None
    )
    assert json_bytes is None
    assert msgspec.json.decode(answer) == {
        "model_name": "d",
        "model_version": "3",
        "outputs": [
            {"name": "logit", "shape": [2, 2], "datatype": "FP32", "data": [2, 5, 6, 8]},
            {"name": "score", "shape": [2], "datatype": "FP32", "data": [1, 3]},
        ],
    }


def test_bytes_are_little_endian_and_follow_the_json() -> None:
    head = (
        f'{{"inputs": [{ROWS} "parameters": {{"binary_data_size": 16}}}}], "outputs": ['
        '{"name": "score"}, {"name": "logit", "parameters": {"binary_data": false}}],'
        '"parameters": {"binary_data_output": true, "priority": 3}}'
    ).encode()
    answer, json_bytes = infer(DOUBLE, "d", head + struct.pack("<4f", 1, 2.5, 3, 4), str(len(head)))
    assert json_bytes is not None
    score, logit = msgspec.json.decode(answer[:json_bytes])["outputs"]
    assert score["parameters"] == {"binary_data_size": 8}
    assert "data" not in score
    assert answer[json_bytes:] == struct.pack("<2f", 1, 3)
    assert logit["data"] == [2, 5, 6, 8]


def test_numbers_beyond_float32_are_refused() -> None:
    body = f'{{"inputs": [{ROWS} "data": [1, 2, 3, 1e300]}}]}}'
    with pytest.raises(InferenceError, match="user: holds a value that is not a finite float32"):
        infer(DOUBLE, "double", body.encode(), None)


def test_a_null_is_refused_where_nothing_may_be_unknown() -> None:
    body = f'{{"inputs": [{ROWS} "data": [1, 2, 3, null]}}]}}'
    with pytest.raises(InferenceError, match="user: holds a value"):
        infer(DOUBLE, "double", body.encode(), None)


def test_proxies_may_be_unknown() -> None:
    model = RawModel(
        "known",
        1,
        inputs=(Tensor(name="proxies", shape=("N", 1)),),
        outputs=(Tensor(name="score", shape=("N",)),),
        defaults={},
        function=lambda tensors: {"score": np.isfinite(tensors["proxies"][:, 0]).astype("f4")},
    )
    body = (
        b'{"inputs": [{"name": "proxies", "shape": [2, 1], "datatype": "FP32", "data": [1, null]}]}'
    )
    answer, _ = infer(model, "known", body, None)
    assert msgspec.json.decode(answer)["outputs"][0]["data"] == [1, 0]
