"""Any ONNX encoder that a description explains."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
from numpy.typing import NDArray

from service.contract.files import sha256
from training.data.columns import Floats
from training.errors import ConfigError
from training.media import Kind
from training.media.description import EncoderFile, Sound, read_encoder_file

Array = NDArray[Any]
_DTYPES = {
    "tensor(float)": np.float32,
    "tensor(float16)": np.float16,
    "tensor(double)": np.float64,
    "tensor(int64)": np.int64,
    "tensor(int32)": np.int32,
}


class OnnxEncoder:
    """Runs an ONNX file on all cores; raises ConfigError where it does not fit its description."""

    def __init__(self, path: Path, kind: Kind, label: str | None = None) -> None:
        """Open ``path``, an ONNX file or its description, for media of one ``kind``."""
        self._options, self._model = read_encoder_file(path)
        if self._options.kind != kind:
            raise ConfigError(
                f"{path}: takes [{self._options.kind}], not [{kind}]; name another --encoder"
            )
        if not self._model.is_file():
            raise ConfigError(f"{self._model}: is missing; put the encoder's ONNX file there")
        self.label = label or str(self._model)
        self.prepare, self._tokens = _input(self._options, path.parent)
        self._session = self._open()
        self._inputs = {node.name: node for node in self._session.get_inputs()}
        outputs = [node.name for node in self._session.get_outputs()]
        self._output = self._options.output or outputs[0]
        if self._output not in outputs:
            raise ConfigError(f"{path}: output: {self._output!r} is not one of {outputs}")
        self.key = self._digest(path.parent)

    prepare: Callable[[bytes], Any]

    def encode(self, inputs: Sequence[Any]) -> Floats:
        """Return the vectors (n, D) of n prepared inputs."""
        if self._options.kind != "audio":
            return self._scaled(self._run(inputs))
        windows = self._run([window for sound in inputs for window in sound])
        ends = np.cumsum([len(sound) for sound in inputs])
        means = [part.mean(axis=0) for part in np.split(windows, ends[:-1])]
        return self._scaled(np.stack(means))

    def _scaled(self, vectors: Floats) -> Floats:
        if not self._options.normalize:
            return vectors
        norm = np.linalg.norm(vectors, axis=1, keepdims=True)
        scaled: Floats = np.divide(vectors, norm, out=np.zeros_like(vectors), where=norm > 0)
        return scaled

    def _run(self, inputs: Sequence[Any]) -> Floats:
        """Return pooled outputs (n, D), in as many runs as a fixed batch size of the graph asks."""
        fixed = next(iter(self._inputs.values())).shape[0]
        step = fixed if isinstance(fixed, int) else len(inputs)
        runs = []
        for start in range(0, len(inputs), step):
            part = list(inputs[start : start + step])
            filled = part + part[-1:] * (step - len(part))
            runs.append(self._pooled(self._feed(filled))[: len(part)])
        return np.concatenate(runs)

    def _feed(self, inputs: Sequence[Any]) -> dict[str, Array]:
        if self._tokens is None:
            (name,) = self._inputs
            feed = {name: np.stack(inputs)}
        else:
            length = next(iter(self._inputs.values())).shape[1]
            tensors = self._tokens.pad(inputs, length if isinstance(length, int) else None)
            feed = {name: tensors[name] for name in self._inputs}
        return {name: x.astype(_DTYPES[self._inputs[name].type]) for name, x in feed.items()}

    def _pooled(self, feed: dict[str, Array]) -> Floats:
        try:
            (output,) = self._session.run([self._output], feed)
        except Exception as error:  # the library has a class for each status, and no base of them
            shapes = ", ".join(f"{name} {x.shape}" for name, x in feed.items())
            problem = f"does not take {shapes}; mend its description: {_first_line(error)}"
            raise ConfigError(f"{self._model}: {problem}") from error
        values: Floats = np.asarray(output, np.float32)
        if self._options.pooling == "cls" and values.ndim == 3:
            values = values[:, 0]
        elif self._options.pooling == "mean" and values.ndim == 3:
            weight = feed.get("attention_mask", np.ones(values.shape[:2])).astype(np.float32)
            total = np.einsum("bld,bl->bd", values, weight)
            values = total / np.maximum(weight.sum(axis=1, keepdims=True), 1)
        if values.ndim != 2 or len(values) != len(next(iter(feed.values()))):
            raise ConfigError(
                f"{self._model}: output {self._output!r} is {values.shape} after pooling "
                f"{self._options.pooling!r}, not (B, D); set pooling or output in its description"
            )
        return values

    def _open(self) -> Any:
        options = onnxruntime.SessionOptions()
        options.log_severity_level = 4  # errors are raised
        try:
            session = onnxruntime.InferenceSession(
                self._model, options, providers=["CPUExecutionProvider"]
            )
        except Exception as error:
            problem = f"is no model that ONNX Runtime opens: {_first_line(error)}"
            raise ConfigError(f"{self._model}: {problem}") from error
        inputs = {node.name: node.type for node in session.get_inputs()}
        known = _TOKENS if self._tokens is not None else set(list(inputs)[:1])
        if not set(inputs) <= known or not set(inputs.values()) <= set(_DTYPES):
            taken = f"some of {', '.join(sorted(_TOKENS))}" if self._tokens else "one of numbers"
            stated = ", ".join(f"{name} {type_}" for name, type_ in inputs.items())
            raise ConfigError(
                f"{self._model}: has the inputs {stated}, not {taken}; export it with these"
            )
        return session

    def _digest(self, folder: Path) -> str:
        """Return a digest of the description, the tokenizer and the graph with its weights."""
        files = sorted(self._model.parent.glob(f"{_literal(self._model.name)}*"))  # x.onnx.data too
        if self._options.text is not None:
            files.append(folder / self._options.text.tokenizer)
        parts = [self._options.model_dump_json(exclude={"model"}), *map(sha256, files)]
        return hashlib.sha256("\n".join(parts).encode()).hexdigest()


_TOKENS = {"input_ids", "attention_mask", "token_type_ids"}


def _input(options: EncoderFile, folder: Path) -> tuple[Callable[[bytes], Any], Any]:
    """Return what prepares a content and, for texts, what pads them."""
    # Each kind needs libraries of its own.
    if options.image is not None:
        from training.media.pictures import PictureInput

        return PictureInput(options.image), None
    if options.text is None:
        from training.media.sounds import SoundInput

        return SoundInput(options.audio or Sound()), None
    from training.media.tokens import TextInput

    tokens = TextInput(options.text, folder / options.text.tokenizer)
    return tokens, tokens


def _literal(name: str) -> str:
    return "".join(f"[{c}]" if c in "*?[" else c for c in name)


def _first_line(error: Exception) -> str:
    return str(error).strip().partition("\n")[0]
