from __future__ import annotations

import errno
import os

import pytest

from training.errors import place_problem


@pytest.mark.parametrize(
    ("number", "mend"),
    [
        (errno.ENOENT, "make it or name another place"),
        (errno.ENOSPC, "make room there or name another place"),
        (errno.EACCES, "change its permissions or name another place"),
        (errno.EROFS, "name a place that can be written"),
    ],
)
def test_a_problem_names_place_and_mend(number: int, mend: str) -> None:
    text = os.strerror(number)

    assert place_problem(OSError(number, text, "models/toy")) == f"models/toy: {text}; {mend}"
    assert place_problem(OSError(number, text)) == f"a file: {text}; {mend}"


@pytest.mark.parametrize(
    "error", [OSError("?"), OSError(errno.ECONNREFUSED, "refused"), BrokenPipeError(32, "pipe")]
)
def test_other_errors_are_no_problem_of_a_place(error: OSError) -> None:
    assert place_problem(error) is None
