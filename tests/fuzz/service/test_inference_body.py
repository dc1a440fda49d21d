"""Any body of an inference is answered, or refused in one sentence."""

from __future__ import annotations

import struct
from typing import Any

import msgspec
import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from service.api.tensors import infer
from service.contract.manifest import Tensor
from service.errors import MAX_MESSAGE_CHARS, InferenceError
from service.models.raw_model import RawModel

MODEL = RawModel(
    "sum",
    1,
    inputs=(
        Tensor(name="user", shape=(1, 2)),
        Tensor(name="proxies", shape=("N", 2)),
        Tensor(name="tradeoff", shape=(1,)),
    ),
    outputs=(Tensor(name="logit", shape=("N",)),),
    defaults={"tradeoff": 0.5},
    function=lambda tensors: {
        "logit": (np.nan_to_num(tensors["proxies"]) @ tensors["user"][0]).astype(np.float32)
    },
)
VALUES = st.none() | st.booleans() | st.floats() | st.text(max_size=2) | st.integers()
SIZES = st.lists(st.integers(-1, 3) | st.sampled_from([2**31, 2**62]), max_size=3)
TENSORS = st.fixed_dictionaries(
    {
        "name": st.sampled_from(["user", "proxies", "tradeoff", "colour"]),
        "shape": SIZES | st.sampled_from([[1, 2], [2, 2], [1]]),
        "datatype": st.sampled_from(["FP32", "FP32", "INT8"]),
    },
    optional={
        "data": st.lists(VALUES | st.lists(VALUES, max_size=3), max_size=4),
        "parameters": st.fixed_dictionaries(
            {}, optional={"binary_data_size": st.integers(-1, 16) | st.just(8)}
        ),
    },
)
REQUESTS = st.fixed_dictionaries(
    {"inputs": st.lists(TENSORS, max_size=4)},
    optional={
        "id": st.text(max_size=4),
        "outputs": st.lists(st.fixed_dictionaries({"name": st.sampled_from(["logit", "score"])})),
        "parameters": st.fixed_dictionaries({}, optional={"binary_data_output": st.booleans()}),
    },
)


def _check(body: bytes, json_bytes: str | None) -> None:
    try:
        answer, head = infer(MODEL, "sum", body, json_bytes)
    except InferenceError as error:
        assert error.message.isprintable()
        assert len(error.message) <= MAX_MESSAGE_CHARS
        return
    (output,) = msgspec.json.decode(answer[:head])["outputs"]
    values = output.get("data")
    if values is None:
        values = np.frombuffer(answer[head:], "<f4")
    assert len(values) == output["shape"][0]
    assert np.isfinite(values).all()


@given(REQUESTS, st.binary(max_size=24))
def test_requests(request: dict[str, Any], tail: bytes) -> None:
    head = msgspec.json.encode(request)
    _check(head + tail, str(len(head)))
    _check(head, None)


@given(st.lists(st.floats(width=32), min_size=4, max_size=4), st.booleans())
def test_values(values: list[float], binary: bool) -> None:
    head = msgspec.json.encode(
        {
            "inputs": [
                {"name": "user", "shape": [1, 2], "datatype": "FP32", "data": [3e38, -2.0]},
                {
                    "name": "proxies",
                    "shape": [2, 2],
                    "datatype": "FP32",
                    "parameters": {"binary_data_size": 16},
                },
            ],
            "parameters": {"binary_data_output": binary},
        }
    )
    _check(head + struct.pack("<4f", *values), str(len(head)))


@given(st.binary(max_size=64), st.none() | st.text(max_size=3))
def test_any_bytes(body: bytes, json_bytes: str | None) -> None:
    _check(body, json_bytes)
