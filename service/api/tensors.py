"""Requests and answers of ``POST /v2/models/{model}/infer``: JSON, with tensors as bytes or JSON.

The format is that of the Open Inference Protocol with its extension for binary tensor data.
"""

from __future__ import annotations

import math
from typing import Annotated, Any, Literal

import msgspec
import numpy as np
from msgspec import Meta, Struct
from numpy.typing import NDArray

from service.errors import InferenceError, printable
from service.models.raw_model import RawModel

Array = NDArray[np.float32]

DATATYPE = "FP32"
_BYTES = 4  # of one value
_MAX_TENSORS = 16

Name = Annotated[str, Meta(max_length=64)]
Value = float | None


class InputParameters(Struct, frozen=True, forbid_unknown_fields=True):
    """How the values of an input are sent."""

    binary_data_size: Annotated[
        Annotated[int, Meta(ge=0)] | None,
        Meta(description="Bytes of the input after the JSON: little-endian float32, row by row."),
    ] = None


class OutputParameters(Struct, frozen=True, forbid_unknown_fields=True):
    """How the values of an output are returned."""

    binary_data: Annotated[
        bool | None, Meta(description="Whether they are returned as bytes after the JSON.")
    ] = None


class RequestParameters(Struct, frozen=True):
    """Options of a whole request; others are ignored."""

    binary_data_output: Annotated[
        bool, Meta(description="Whether outputs are returned as bytes, if they do not say so.")
    ] = False


class InferInput(Struct, frozen=True):
    """One input tensor."""

    name: Annotated[Name, Meta(description="A name of the model's inputs.", examples=["user"])]
    shape: Annotated[
        list[Annotated[int, Meta(ge=0)]],
        Meta(max_length=2, description="Its sizes.", examples=[[1, 2]]),
    ]
    datatype: Annotated[Literal["FP32"], Meta(description="The type of its values.")]
    parameters: Annotated[InputParameters, Meta(description="How its values are sent.")] = (
        InputParameters()
    )
    data: Annotated[
        list[Value | list[Value]] | None,
        Meta(
            description="Its values as numbers, row by row: flat, or one list for each row. null "
            "is an unknown proxy. Omitted: they follow the JSON as bytes.",
            examples=[[0.25, -0.5]],
        ),
    ] = None


class InferWanted(Struct, frozen=True):
    """One output tensor that the answer should have."""

    name: Annotated[Name, Meta(description="A name of the model's outputs.", examples=["score"])]
    parameters: Annotated[OutputParameters, Meta(description="How its values are returned.")] = (
        OutputParameters()
    )


class InferRequest(Struct, frozen=True):
    """The inputs of a raw model and the outputs that the answer should have."""

    inputs: Annotated[
        list[InferInput], Meta(max_length=_MAX_TENSORS, description="The model's inputs.")
    ]
    id: Annotated[
        Annotated[str, Meta(max_length=128)] | None, Meta(description="Returned with the answer.")
    ] = None
    parameters: Annotated[RequestParameters, Meta(description="Options of the request.")] = (
        RequestParameters()
    )
    outputs: Annotated[
        list[InferWanted],
        Meta(max_length=_MAX_TENSORS, description="Empty or omitted: all outputs."),
    ] = []


class BinarySize(Struct):
    """The size of an output that is returned as bytes."""

    binary_data_size: Annotated[int, Meta(description="Its bytes after the JSON.", examples=[8])]


class InferOutput(Struct, omit_defaults=True):
    """One output tensor."""

    name: Annotated[str, Meta(description="Its name.", examples=["score"])]
    shape: Annotated[list[int], Meta(description="Its sizes.", examples=[[2]])]
    datatype: Annotated[str, Meta(description="The type of its values.", examples=[DATATYPE])]
    parameters: Annotated[
        BinarySize | None, Meta(description="Given if its values follow the JSON as bytes.")
    ] = None
    data: Annotated[
        list[float] | None,
        Meta(description="Its values, row by row, unless they follow.", examples=[[0.31, 0.07]]),
    ] = None


class InferResponse(Struct, omit_defaults=True):
    """The outputs of a raw model."""

    model_name: Annotated[str, Meta(description="The model that ran.", examples=["cp2rec"])]
    model_version: Annotated[str, Meta(description="Its version.", examples=["1"])]
    outputs: Annotated[list[InferOutput], Meta(description="In the order of the request.")]
    id: Annotated[str | None, Meta(description="The request's id, if it has one.")] = None


_decoder = msgspec.json.Decoder(InferRequest)
_encoder = msgspec.json.Encoder()


def infer(
    model: RawModel, name: str, body: bytes, json_bytes: str | None
) -> tuple[bytes, int | None]:
    """Return the answer of ``model`` to ``body``, and the bytes of its JSON if more follow.

    ``json_bytes`` is the header ``Inference-Header-Content-Length`` of the request, None if all of
    it is JSON. Raises InferenceError.
    """
    request, tensors = _read(body, json_bytes)
    wanted = request.outputs or [InferWanted(output.name) for output in model.outputs]
    names = [output.name for output in wanted]
    known = [output.name for output in model.outputs]
    for output_name in names:
        if output_name not in known:
            raise InferenceError(f"outputs: {output_name!r} is not one of {', '.join(known)}")
        if names.count(output_name) > 1:
            raise InferenceError(f"outputs: {output_name} is named twice")
    results = model.run(tensors)
    outputs, tail = [], []
    for output in wanted:
        array = np.ascontiguousarray(results[output.name], "<f4")
        head = InferOutput(output.name, list(array.shape), DATATYPE)
        binary = output.parameters.binary_data
        if request.parameters.binary_data_output if binary is None else binary:
            head.parameters = BinarySize(array.nbytes)
            tail.append(array.tobytes())
        else:
            head.data = array.ravel().tolist()
        outputs.append(head)
    answer = _encoder.encode(InferResponse(name, str(model.version), outputs, request.id))
    return b"".join([answer, *tail]), len(answer) if tail else None


def schemas(ref_template: str) -> dict[str, Any]:
    """Return the JSON schemas of requests and answers and their parts, by name."""
    types = [InferRequest, InferResponse]
    _, components = msgspec.json.schema_components(types, ref_template=ref_template)
    return components


def _read(body: bytes, json_bytes: str | None) -> tuple[InferRequest, dict[str, Array]]:
    """Return the request and its input tensors by name."""
    end = len(body)
    if json_bytes is not None:
        if not (json_bytes.isascii() and json_bytes.isdigit()) or int(json_bytes) > len(body):
            raise InferenceError(
                "Inference-Header-Content-Length: should be the number of bytes of the JSON at the "
                f"start of the body, which has {len(body)}"
            )
        end = int(json_bytes)
    try:
        request = _decoder.decode(body[:end])
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise InferenceError(f"body: {printable(str(error))}") from error
    tensors: dict[str, Array] = {}
    for tensor in request.inputs:
        if tensor.name in tensors:
            raise InferenceError(f"inputs: {tensor.name} is given twice")
        size = tensor.parameters.binary_data_size
        if (size is None) == (tensor.data is None):
            message = f"{tensor.name}: should have either data or the parameter binary_data_size"
            raise InferenceError(message)
        if size is None:
            tensors[tensor.name] = _from_json(tensor)
        else:
            tensors[tensor.name] = _from_bytes(tensor, body[end : end + size], size)
            end += size
    if end != len(body):
        raise InferenceError(f"body: has {len(body)} bytes, its JSON and tensors have {end}")
    return request, tensors


def _from_json(tensor: InferInput) -> Array:
    try:
        with np.errstate(over="ignore"):  # beyond float32 is infinite, which is refused later
            return np.array(tensor.data, np.float32).reshape(tensor.shape)
    except ValueError as error:
        message = f"{tensor.name}: data does not have the shape {tensor.shape}"
        raise InferenceError(message) from error


def _from_bytes(tensor: InferInput, data: bytes, size: int) -> Array:
    if math.prod(tensor.shape) * _BYTES != size:
        message = f"{tensor.name}: {size} bytes are not {tensor.shape} values of {DATATYPE}"
        raise InferenceError(message)
    if len(data) != size:
        raise InferenceError(f"{tensor.name}: the body ends before its {size} bytes")
    return np.frombuffer(data, "<f4").astype(np.float32).reshape(tensor.shape)
