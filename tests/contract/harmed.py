"""Artifacts whose files were changed, with a manifest that agrees with them."""

from __future__ import annotations

import json
from pathlib import Path

import onnx

from service.contract.artifact import Artifact, open_artifact
from service.contract.files import sha256


def rehashed(folder: Path, name: str) -> Artifact:
    """Make the manifest agree with a harmed file again, so that only its content is wrong."""
    path = folder / "manifest.json"
    document = json.loads(path.read_text())
    document["files"][name] = sha256(folder / name)
    path.write_text(json.dumps(document))
    return open_artifact(folder)


def append_node(path: Path, operator: str, *constants: onnx.TensorProto) -> None:
    """Let a graph's output be that of one more node, of the former output and ``constants``."""
    model = onnx.load(path)
    output = model.graph.output[0].name
    for node in model.graph.node:
        node.output[:] = ["before" if name == output else name for name in node.output]
    model.graph.initializer.extend(constants)
    inputs = ["before", *(constant.name for constant in constants)]
    model.graph.node.append(onnx.helper.make_node(operator, inputs, [output]))
    onnx.save(model, path)
