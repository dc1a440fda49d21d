"""A model, or one of its graphs, as a function of named tensors."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np

from service.contract.manifest import Tensor
from service.contract.measures import calibrated_score
from service.errors import InferenceError, ModelNotFoundError
from service.models.loaded_model import LoadedModel
from service.models.scorer import RUN_ROWS, Array

Tensors = Mapping[str, Array]

_SCORES = (Tensor(name="logit", shape=("N",)), Tensor(name="score", shape=("N",)))


@dataclass(frozen=True)
class RawModel:
    """A function from named float32 tensors to others.

    A letter in a shape is a number of rows, the same in all tensors. Inputs that ``defaults`` names
    may be left out.
    """

    name: str
    version: int
    inputs: tuple[Tensor, ...]
    outputs: tuple[Tensor, ...]
    defaults: Mapping[str, float]
    function: Callable[[Tensors], dict[str, Array]]

    def run(self, tensors: Tensors) -> dict[str, Array]:
        """Return the outputs by name; raises InferenceError for inputs that do not fit."""
        rows = self._rows(tensors)
        feed = {
            tensor.name: tensors[tensor.name]
            if tensor.name in tensors
            else np.full(_shape(tensor, rows), self.defaults[tensor.name], np.float32)
            for tensor in self.inputs
        }
        for name, array in feed.items():
            _check_values(name, array)
        with np.errstate(over="ignore", invalid="ignore"):  # of huge inputs, refused below
            outputs = self.function(feed)
        for name, output in outputs.items():
            if not np.isfinite(output).all():
                raise InferenceError(f"{name}: not finite, because an input is too large")
        return outputs

    def _rows(self, tensors: Tensors) -> dict[str, int]:
        """Return the number of rows by letter; raises InferenceError for names and shapes."""
        names = [tensor.name for tensor in self.inputs]
        if unknown := sorted(set(tensors) - set(names)):
            raise InferenceError(f"inputs: {unknown[0]!r} is not one of {', '.join(names)}")
        rows: dict[str, int] = {}
        for tensor in self.inputs:
            if tensor.name not in tensors:
                if tensor.name not in self.defaults:
                    raise InferenceError(f"inputs: {tensor.name} is missing")
                continue
            shape = tensors[tensor.name].shape
            if len(shape) == len(tensor.shape):
                for letter, size in zip(tensor.shape, shape, strict=True):
                    if isinstance(letter, str):
                        rows.setdefault(letter, size)
            if shape != _shape(tensor, rows):
                expected = ", ".join(str(rows.get(str(size), size)) for size in tensor.shape)
                message = f"{tensor.name}: shape is {list(shape)}, not [{expected}]"
                raise InferenceError(message)
        if max(rows.values(), default=0) > RUN_ROWS:
            raise InferenceError(f"inputs: more than {RUN_ROWS} rows; send them in parts")
        return rows


def raw_model(model: LoadedModel, graph: str = "") -> RawModel:
    """Return the whole ``model``, or its ``graph``; raises ModelNotFoundError without that graph.

    The whole model scores items (N,) for a user vector (1, U) from their embedding (N, D),
    modality_mask (N, M) and proxies (N, P), at a tradeoff (1,).
    """
    manifest, scorer = model.manifest, model.scorer
    encoder, user_encoder, ranker = (
        manifest.graphs[name] for name in ("item_encoder", "user_encoder", "ranker")
    )
    user, state, tradeoff = ranker.inputs
    tradeoff_default = {"tradeoff": manifest.default_tradeoff}
    unknown_proxies = {"proxies": np.nan}

    def scores(tensors: Tensors, states: Array) -> dict[str, Array]:
        (logit,) = scorer.score(tensors["user"], states, tensors["tradeoff"].tolist())
        score = calibrated_score(manifest.calibration, logit)
        return {"logit": logit, "score": score.astype(np.float32)}

    def states(tensors: Tensors) -> Array:
        return scorer.encode_items(*(tensors[tensor.name] for tensor in encoder.inputs))

    label = (manifest.name, model.version)
    match graph:
        case "":
            return RawModel(
                *label,
                inputs=(user, *encoder.inputs, tradeoff),
                outputs=_SCORES,
                defaults=tradeoff_default | unknown_proxies,
                function=lambda tensors: scores(tensors, states(tensors)),
            )
        case "item_encoder":
            return RawModel(
                *label,
                inputs=encoder.inputs,
                outputs=encoder.outputs,
                defaults=unknown_proxies,
                function=lambda tensors: {"state": states(tensors)},
            )
        case "user_encoder":
            return RawModel(
                *label,
                inputs=user_encoder.inputs,
                outputs=user_encoder.outputs,
                defaults={},
                function=lambda tensors: {"user": scorer.encode_user(tensors["history"])},
            )
        case "ranker":
            return RawModel(
                *label,
                inputs=(user, state, tradeoff),
                outputs=_SCORES,
                defaults=tradeoff_default,
                function=lambda tensors: scores(tensors, tensors["state"]),
            )
    raise ModelNotFoundError(
        f"model: {model.label} has no graph {graph!r}, but item_encoder, user_encoder and ranker"
    )


def _shape(tensor: Tensor, rows: Mapping[str, int]) -> tuple[int, ...]:
    """Return the shape of ``tensor`` for the number of rows by letter."""
    return tuple(size if isinstance(size, int) else rows[size] for size in tensor.shape)


def _check_values(name: str, array: Array) -> None:
    finite = np.isfinite(array)
    if name == "proxies":  # NaN: unknown
        finite |= np.isnan(array)
    if not finite.all():
        raise InferenceError(f"{name}: holds a value that is not a finite float32")
    if name == "tradeoff" and not 0 <= array[0] <= 1:
        raise InferenceError("tradeoff: should be in [0, 1]")
