"""A device ``far`` without hardware: it finds tensors that lie on the wrong device.

A tensor there holds one on the CPU that computes for it. An operation on tensors of both devices
raises ``MixedDevicesError``, also where CUDA would allow it. Import this before the process
computes a gradient, and only in a process of its own: PyTorch has room for one such device.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any, ClassVar

import torch
from torch import Tensor
from torch._ops import OpOverload
from torch.utils.backend_registration import (
    _DummyBackendModule,
    _setup_privateuseone_for_python_backend,
)


class _Backend(_DummyBackendModule):
    def get_amp_supported_dtype(self) -> list[torch.dtype]:
        """Return what autocast asks for, also where a net turns it off."""
        return [torch.bfloat16]


_setup_privateuseone_for_python_backend("far", _Backend())
torch.__future__.set_swap_module_params_on_conversion(True)  # modules keep shared parameters

FAR = torch.device("far", 0)

_COPIES = ("aten::copy_", "aten::_to_copy")  # may have tensors of two devices


class MixedDevicesError(Exception):
    """An operation on tensors of two devices."""


class FarTensor(Tensor):
    """A tensor on ``far``; ``near`` is the tensor on the CPU that it holds."""

    near: Tensor
    __torch_function__: ClassVar[Any] = torch._C._disabled_torch_function_impl

    @staticmethod
    def __new__(cls, near: Tensor) -> FarTensor:
        """Hold ``near``."""
        place: dict[str, Any] = {}
        if near.layout == torch.strided:
            place = {"strides": near.stride(), "storage_offset": near.storage_offset()}
        with torch.inference_mode(mode=False):  # a view shares the counter of changes
            tensor: FarTensor = Tensor._make_wrapper_subclass(
                cls, near.shape, dtype=near.dtype, device=FAR, layout=near.layout, **place
            )
        tensor.near = near
        return tensor

    def __reduce_ex__(self, protocol: Any) -> Any:
        """Save the values, as a tensor of a real device does."""
        return self.near.__reduce_ex__(protocol)

    @classmethod
    def __torch_dispatch__(  # type: ignore[override]  # typed as if it were no class method
        cls, op: OpOverload, _types: Any, args: Any = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        """Compute on the CPU what an operation on these tensors gives."""
        options = kwargs or {}
        leaves = list(_leaves((args, tuple(options.values()))))
        name = op._schema.name
        if name not in _COPIES:
            _refuse_cpu(op, leaves)
        near = {name: _mapped(_near, value) for name, value in options.items()}
        result = op(*_mapped(_near, args), **near)
        target = options.get("device")
        if (target is not None and torch.device(target).type != "far") or (
            name == "aten::copy_" and not isinstance(args[0], FarTensor)
        ):
            return result
        known = {id(leaf.near): leaf for leaf in leaves if isinstance(leaf, FarTensor)}
        return _mapped(lambda value: _far(value, known), result)


def _leaves(values: Sequence[Any]) -> Iterator[Any]:
    """Yield what tuples and lists hold: in a third of the time of PyTorch's trees."""
    for value in values:
        if isinstance(value, (tuple, list)):
            yield from _leaves(value)
        else:
            yield value


def _mapped(function: Callable[[Any], Any], value: Any) -> Any:
    """Return a value, or the tuples and lists of it, with ``function`` of each."""
    if isinstance(value, (tuple, list)):
        return type(value)([_mapped(function, each) for each in value])
    return function(value)


def _refuse_cpu(op: OpOverload, leaves: list[Any]) -> None:
    for leaf in leaves:
        if isinstance(leaf, torch.Generator) or (
            isinstance(leaf, Tensor) and not isinstance(leaf, FarTensor)
        ):
            raise MixedDevicesError(
                f"{op} has {type(leaf).__name__} of the CPU among those of {FAR}"
            )


def _near(value: Any) -> Any:
    if isinstance(value, FarTensor):
        return value.near
    return torch.device("cpu") if value == FAR else value


def _far(value: Any, known: dict[int, FarTensor]) -> Any:
    """Return a result on ``far``; an operation in place returns the tensor that it had."""
    if not isinstance(value, Tensor):
        return value
    return known[id(value)] if id(value) in known else FarTensor(value)


def _make(op: OpOverload, *args: Any, **kwargs: Any) -> FarTensor:
    near = {name: _near(value) for name, value in kwargs.items()}
    return FarTensor(op(*_mapped(_near, args), **near))


def _copy_from(source: Tensor, target: Tensor, _non_blocking: bool = False) -> Tensor:
    _near(target).copy_(_near(source))
    return target


_FACTORIES = torch.library.Library("_", "IMPL")  # registrations end with their library
_FACTORIES.fallback(_make, "PrivateUse1")
_COPY = torch.library.Library("aten", "IMPL")
_COPY.impl("_copy_from", _copy_from, "PrivateUse1")
