"""The service's exceptions, and which HTTP answer each becomes.

Whose fault: 4xx the request's, 503 ours and worth a retry, 500 ours and unknown. An unknown
error shows its request id and nothing else.
"""

from __future__ import annotations


class RankError(Exception):
    """Base of every error the service answers on purpose."""

    status = 500
    code = "internal"

    def __init__(self, message: str, *, field: str | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.field = field

    def body(self, request_id: str) -> dict[str, object]:
        """Return the JSON body that ``schemas.ErrorResponse`` documents."""
        return error_body(self.code, self.message, self.field, request_id)


class InvalidRequestError(RankError):
    """The body or a field of it does not hold; ``field`` names it."""

    status = 422
    code = "invalid_request"


class BodyTooLargeError(RankError):
    """The body is longer than ``RANK_MAX_BODY_BYTES``."""

    status = 413
    code = "body_too_large"


class ModelNotFoundError(RankError):
    """The request names a model that is not loaded."""

    status = 404
    code = "model_not_found"


class NotReadyError(RankError):
    """No model can serve yet."""

    status = 503
    code = "not_ready"


class OverloadedError(RankError):
    """Too many such requests wait already."""

    status = 503
    code = "overloaded"


class StoreError(RankError):
    """Redis did not answer; rankings go on without it, degraded."""

    status = 503
    code = "store_unavailable"


class StoreTimeoutError(StoreError):
    """Redis did not answer in time."""


class StoreOpenError(StoreError):
    """Redis did not answer several times in a row: this request does not ask it."""


class StoreOverloadedError(StoreError):
    """Too many requests wait for Redis already; this one does not join them."""


def error_body(code: str, message: str, field: str | None, request_id: str) -> dict[str, object]:
    """Return the one JSON body of all errors."""
    error = {"code": code, "message": message, "field": field, "request_id": request_id}
    return {"error": error}
