"""The service's exceptions and the HTTP status of each.

4xx: the request is at fault. 503: the service is at fault, and a retry may succeed. 500: the
service is at fault, for an unknown reason; the answer contains nothing but the request id.
"""

from __future__ import annotations


class RankError(Exception):
    """Base of all errors that the service expects."""

    status = 500
    code = "internal"

    def __init__(self, message: str, *, field: str | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.field = field

    def body(self, request_id: str) -> dict[str, object]:
        """Return the JSON body that ``api.messages.ErrorResponse`` documents."""
        return error_body(self.code, self.message, self.field, request_id)


class InvalidRequestError(RankError):
    """The body is invalid; ``field`` names the field at fault, if there is one."""

    status = 422
    code = "invalid_request"


class BodyTooLargeError(RankError):
    """The request body is longer than ``RANK_MAX_BODY_BYTES``."""

    status = 413
    code = "body_too_large"


class ModelNotFoundError(RankError):
    """The request names a model that is not loaded."""

    status = 404
    code = "model_not_found"


class NotReadyError(RankError):
    """No model is loaded yet."""

    status = 503
    code = "not_ready"


class OverloadedError(RankError):
    """The queue for full scans is full."""

    status = 503
    code = "overloaded"


class StoreError(RankError):
    """Redis did not answer. Rankings continue without it, degraded."""

    status = 503
    code = "store_unavailable"


class StoreTimeoutError(StoreError):
    """Redis did not answer in time."""


class DeadlineError(StoreTimeoutError):
    """The request's own deadline passed before Redis answered; Redis is not at fault."""


class StoreOpenError(StoreError):
    """The breaker is open: the read fails without a round trip to Redis."""


class StoreOverloadedError(StoreError):
    """Too much waits for Redis, or one request asks for too much at once."""


def error_body(code: str, message: str, field: str | None, request_id: str) -> dict[str, object]:
    """Return the JSON body that all errors share."""
    error = {"code": code, "message": message, "field": field, "request_id": request_id}
    return {"error": error}
