"""Errors quote a request, but not at length."""

from __future__ import annotations

from service.errors import MAX_FIELD_CHARS, MAX_MESSAGE_CHARS, InvalidRequestError, NotReadyError


def test_message_and_field_are_cut() -> None:
    error = InvalidRequestError("m" * (MAX_MESSAGE_CHARS + 1), field="f" * (MAX_FIELD_CHARS + 1))
    assert error.message == "m" * (MAX_MESSAGE_CHARS - 3) + "..."
    assert error.field == "f" * (MAX_FIELD_CHARS - 3) + "..."


def test_what_fits_is_whole() -> None:
    error = InvalidRequestError("m" * MAX_MESSAGE_CHARS, field="f" * MAX_FIELD_CHARS)
    assert error.message == "m" * MAX_MESSAGE_CHARS
    assert error.field == "f" * MAX_FIELD_CHARS


def test_only_503_names_a_time_to_retry() -> None:
    assert NotReadyError("m").headers() == {"Retry-After": "1"}
    assert InvalidRequestError("m").headers() == {}
