"""The Open Inference Protocol (V2) for raw models: tensors in, tensors out."""

from __future__ import annotations

import asyncio
from typing import Annotated, Any

from fastapi import APIRouter, Path, Request, Response
from fastapi.responses import JSONResponse
from pydantic import BaseModel, Field

from service.access.admission import Caller
from service.access.guard import OPEN_INFERENCE
from service.api import operations, tensors
from service.contract.manifest import Tensor
from service.errors import RETRY_AFTER, InferenceError
from service.models.raw_model import RawModel, raw_model
from service.models.registry import Registry

JSON_BYTES = "Inference-Header-Content-Length"
PLATFORM = "onnxruntime_onnx"

_MODEL = f"{OPEN_INFERENCE}/models/{{model}}"
_VERSION = f"{_MODEL}/versions/{{version}}"
_SCHEMA_REF = "#/components/schemas/{name}"


class InferenceErrorResponse(BaseModel):
    """The body of an error in the form of the Open Inference Protocol."""

    error: str = Field(description="A sentence for people.", examples=["inputs: user is missing"])


class Live(BaseModel):
    """Whether the process is alive."""

    live: bool = Field(description="Always true.")


class Ready(BaseModel):
    """Whether the service is ready for traffic."""

    ready: bool = Field(description="As `GET /readyz`.")


class ModelReady(BaseModel):
    """Whether a model is ready."""

    name: str = Field(description="The model.", examples=["cp2rec"])
    ready: bool = Field(description="Always true: a model that is not loaded is a 404.")


class ServerMetadata(BaseModel):
    """The server and the extensions of the protocol that it knows."""

    name: str = Field(description="Its name.", examples=["paretorank"])
    version: str = Field(description="Its version.", examples=["0.1.0"])
    extensions: list[str] = Field(
        description="Extensions of the protocol.", examples=[["binary_tensor_data"]]
    )


class TensorMetadata(BaseModel):
    """A tensor of a model."""

    name: str = Field(description="Its name.", examples=["user"])
    datatype: str = Field(description="The type of its values.", examples=[tensors.DATATYPE])
    shape: list[int] = Field(description="Its sizes; -1 for any.", examples=[[1, 16]])


class ModelMetadata(BaseModel):
    """The inputs and outputs of a raw model."""

    name: str = Field(description="The model.", examples=["cp2rec"])
    versions: list[str] = Field(description="Its loaded versions.", examples=[["1"]])
    platform: str = Field(description="What runs it.", examples=[PLATFORM])
    inputs: list[TensorMetadata] = Field(
        description="Its inputs; `proxies` and `tradeoff` may be left out."
    )
    outputs: list[TensorMetadata] = Field(description="Its outputs.")


def _error(description: str) -> dict[str, Any]:
    return {"model": InferenceErrorResponse, "description": description}


_ANY: dict[int | str, dict[str, Any]] = {
    400: _error("The bytes are no HTTP request."),
    408: _error("The request did not arrive in time."),
    413: _error("The body is too long."),
}
_OF_A_MODEL: dict[int | str, dict[str, Any]] = {
    404: _error("The model is not loaded."),
    503: _error("No model serves yet."),
}
_OF_AN_INFERENCE: dict[int | str, dict[str, Any]] = {
    200: {
        "description": "The outputs. Where some are returned as bytes, the answer's header "
        f"`{JSON_BYTES}` is the length of the JSON before them.",
        "content": {
            "application/json": {"schema": {"$ref": _SCHEMA_REF.format(name="InferResponse")}},
            "application/octet-stream": {"schema": {"type": "string", "format": "binary"}},
        },
    },
    400: _error("The inputs do not fit the model, or the body is not of the protocol."),
    **_OF_A_MODEL,
    503: _error("No model serves yet, or too many inferences wait. `Retry-After` is in seconds."),
}
_BODY: dict[str, Any] = {
    "requestBody": {
        "required": True,
        "content": {
            "application/json": {"schema": {"$ref": _SCHEMA_REF.format(name="InferRequest")}}
        },
    },
    "parameters": [
        {
            "name": JSON_BYTES,
            "in": "header",
            "required": False,
            "description": "Bytes of the JSON, if tensors follow it as bytes.",
            "schema": {"type": "integer", "minimum": 0},
        }
    ],
}

Model = Annotated[
    str,
    Path(
        description="`name` or `name@alias` of a model; `name.item_encoder`, `name.user_encoder` "
        "or `name.ranker` for one of its graphs.",
        examples=["cp2rec"],
    ),
]
Version = Annotated[str, Path(description="A loaded version.", examples=["1"])]

router = APIRouter(tags=["open inference protocol"], responses=_ANY)


@router.get(OPEN_INFERENCE, summary="Server metadata", response_description="The server.")
async def server(request: Request) -> ServerMetadata:
    """Return the server's name, its version and the extensions that it knows."""
    return ServerMetadata(
        name="paretorank", version=request.app.version, extensions=["binary_tensor_data"]
    )


@router.get(
    f"{OPEN_INFERENCE}/health/live", summary="Is the server alive?", response_description="It is."
)
async def live() -> Live:
    """Answer 200 while the event loop runs."""
    return Live(live=True)


@router.get(
    f"{OPEN_INFERENCE}/health/ready",
    summary="Is the server ready?",
    response_description="It is.",
    responses={503: {"model": Ready, "description": "Not ready."}},
    response_model=Ready,
)
async def ready(request: Request) -> Ready | JSONResponse:
    """Answer 200 while `GET /readyz` does."""
    if operations.why_not_ready(request) is None:
        return Ready(ready=True)
    return JSONResponse({"ready": False}, status_code=503, headers=RETRY_AFTER)


@router.get(
    _MODEL, summary="Model metadata", response_description="The model.", responses=_OF_A_MODEL
)
async def metadata(request: Request, model: Model) -> ModelMetadata:
    """Return the inputs and outputs of a model's champion."""
    return _metadata(request, model, _find(request, model))


@router.get(
    _VERSION,
    summary="Metadata of a model's version",
    response_description="The version.",
    responses=_OF_A_MODEL,
)
async def metadata_of_version(request: Request, model: Model, version: Version) -> ModelMetadata:
    """Return the inputs and outputs of a model's version."""
    return _metadata(request, model, _find(request, model, version))


@router.get(
    f"{_MODEL}/ready",
    summary="Is the model ready?",
    response_description="It is.",
    responses=_OF_A_MODEL,
)
async def model_ready(request: Request, model: Model) -> ModelReady:
    """Answer 200 if the model's champion is loaded."""
    _find(request, model)
    return ModelReady(name=model, ready=True)


@router.get(
    f"{_VERSION}/ready",
    summary="Is the model's version ready?",
    response_description="It is.",
    responses=_OF_A_MODEL,
)
async def version_ready(request: Request, model: Model, version: Version) -> ModelReady:
    """Answer 200 if the version is loaded."""
    _find(request, model, version)
    return ModelReady(name=model, ready=True)


@router.post(
    f"{_MODEL}/infer",
    summary="Run a model",
    response_class=Response,
    responses=_OF_AN_INFERENCE,
    openapi_extra=_BODY,
)
async def infer(request: Request, model: Model) -> Response:
    """Return the outputs of a model's champion, in a queue of its own, apart from rankings."""
    return await _infer(request, model, _find(request, model))


@router.post(
    f"{_VERSION}/infer",
    summary="Run a model's version",
    response_class=Response,
    responses=_OF_AN_INFERENCE,
    openapi_extra=_BODY,
)
async def infer_version(request: Request, model: Model, version: Version) -> Response:
    """Return the outputs of a model's version."""
    return await _infer(request, model, _find(request, model, version))


def add_schemas(document: dict[str, Any]) -> None:
    """Add to the OpenAPI ``document`` the schemas that the routes refer to.

    FastAPI's own error goes: any text may stand in the path, and an unknown one is a 404.
    """
    schemas = document["components"]["schemas"]
    schemas.update(tensors.schemas(_SCHEMA_REF))
    for name in ("HTTPValidationError", "ValidationError"):
        del schemas[name]
    for path, methods in document["paths"].items():
        for operation in methods.values() if path.startswith(_MODEL) else ():
            del operation["responses"]["422"]


def _find(request: Request, model: str, version: str | None = None) -> RawModel:
    """Return the raw model of a route; raises ModelNotFoundError and NotReadyError."""
    request.scope["state"]["route"] = request.scope["route"].path  # for metrics: the template
    registry: Registry = request.app.state.registry
    name, _, graph = model.partition(".")
    reference = name or model
    loaded = registry.resolve(reference if version is None else f"{reference}@{version}")
    return raw_model(loaded, graph)


def _metadata(request: Request, name: str, model: RawModel) -> ModelMetadata:
    registry: Registry = request.app.state.registry
    return ModelMetadata(
        name=name,
        versions=[
            str(loaded.version)
            for loaded, _ in registry.models()
            if loaded.manifest.name == model.name
        ],
        platform=PLATFORM,
        inputs=[_tensor(tensor) for tensor in model.inputs if 0 not in tensor.shape],
        outputs=[_tensor(tensor) for tensor in model.outputs],
    )


def _tensor(tensor: Tensor) -> TensorMetadata:
    shape = [size if isinstance(size, int) else -1 for size in tensor.shape]
    return TensorMetadata(name=tensor.name, datatype=tensors.DATATYPE, shape=shape)


async def _infer(request: Request, name: str, model: RawModel) -> Response:
    """Run ``model`` off the event loop, once it has a turn."""
    if encoding := request.headers.get("content-encoding"):
        raise InferenceError(f"Content-Encoding: {encoding} is not supported; send plain bytes")
    body = await request.body()
    caller = Caller(request.app.state.admission, request.scope["state"], len(body))
    async with request.app.state.inferences.turn():
        caller.ensure_connected()
        json_bytes = request.headers.get(JSON_BYTES)
        content, head = await asyncio.to_thread(tensors.infer, model, name, body, json_bytes)
    if head is None:
        return Response(content, media_type="application/json")
    return Response(content, media_type="application/octet-stream", headers={JSON_BYTES: str(head)})
