"""The nodes of an ONNX file. The package onnx, of 26 MB, would read them in one line."""

from __future__ import annotations

import functools
from pathlib import Path
from typing import Any

from google.protobuf import descriptor_pb2, descriptor_pool, message_factory

# The part of onnx.proto that is read: fields of each message with their number and, if it is not
# text, their message. A parser skips the other fields.
_MESSAGES: dict[str, tuple[tuple[str, int, str | None], ...]] = {
    "Model": (("graph", 7, "Graph"),),
    "Graph": (("node", 1, "Node"),),
    "Node": (("input", 1, None), ("output", 2, None), ("op_type", 4, None), ("domain", 7, None)),
}
_REPEATED = {"node", "input", "output"}


def graph_nodes(path: Path) -> list[Any]:
    """Return the nodes of the graph in an ONNX file, each with input, output, op_type and domain.

    Raises google.protobuf.message.DecodeError for a file that is no protobuf message.
    """
    return list(_model().FromString(path.read_bytes()).graph.node)


@functools.cache
def _model() -> Any:
    """Return the class of the message ``Model``."""
    kinds = descriptor_pb2.FieldDescriptorProto
    file = descriptor_pb2.FileDescriptorProto(name="nodes.proto", package="nodes")
    for name, fields in _MESSAGES.items():
        message = file.message_type.add(name=name)
        for field, number, of in fields:
            message.field.add(
                name=field,
                number=number,
                label=kinds.LABEL_REPEATED if field in _REPEATED else kinds.LABEL_OPTIONAL,
                type=kinds.TYPE_STRING if of is None else kinds.TYPE_MESSAGE,
                type_name=of and f".nodes.{of}",
            )
    pool = descriptor_pool.DescriptorPool()
    pool.Add(file)
    return message_factory.GetMessageClass(pool.FindMessageTypeByName("nodes.Model"))
