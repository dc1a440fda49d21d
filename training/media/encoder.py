"""What an encoder is: a function from the contents of items to their vectors."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence
from typing import Any, Protocol

from training.data.columns import Floats
from training.errors import ConfigError, TrainingError

INSTALL = "pip install 'paretorank[training,media]'"


class MediumError(TrainingError):
    """A picture, text or sound that an encoder cannot read; the message says why and the mend."""


class Encoder(Protocol):
    """Encodes media of one kind.

    label: For people. key: A digest that changes with everything that vectors depend on, besides
    the content.
    """

    label: str
    key: str

    def prepare(self, content: bytes) -> Any:
        """Return one item's input, from a file's bytes or a text in UTF-8; raises MediumError.

        It may run in several threads at once.
        """

    def encode(self, inputs: Sequence[Any]) -> Floats:
        """Return the vectors (n, D) of n prepared inputs."""


@contextlib.contextmanager
def media_packages() -> Iterator[None]:
    """Raise ConfigError for a package of the extra ``media`` that the block finds missing."""
    try:
        yield
    except ModuleNotFoundError as error:
        raise ConfigError(f"the package {error.name} is missing: {INSTALL}") from error
