"""The service's exceptions and the HTTP status of each.

4xx: the request is at fault. 503: the service is at fault, and a retry may succeed. 500: the
service is at fault, for an unknown reason; the answer contains nothing but the request id.
"""

from __future__ import annotations

RETRY_AFTER = {"Retry-After": "1"}  # the headers of every 503
MAX_MESSAGE_CHARS = 300
MAX_FIELD_CHARS = 100
_CUT = "..."


class RankError(Exception):
    """Base of all errors that the service expects.

    Message and field may quote the request; they are one printable line, cut to
    ``MAX_MESSAGE_CHARS`` and ``MAX_FIELD_CHARS``.
    """

    status = 500
    code = "internal"

    def __init__(self, message: str, *, field: str | None = None) -> None:
        super().__init__(message)
        self.message = _cut(printable(message), MAX_MESSAGE_CHARS)
        self.field = None if field is None else _cut(printable(field), MAX_FIELD_CHARS)

    def body(self, request_id: str) -> dict[str, object]:
        """Return the JSON body that ``api.messages.ErrorResponse`` documents."""
        error = {
            "code": self.code,
            "message": self.message,
            "field": self.field,
            "request_id": request_id,
        }
        return {"error": error}

    def headers(self) -> dict[str, str]:
        """Return the headers of the answer."""
        return RETRY_AFTER if self.status == 503 else {}


class BadRequestError(RankError):
    """The bytes are no HTTP request."""

    status = 400
    code = "bad_request"


class UnauthorizedError(RankError):
    """The request has no valid key."""

    status = 401
    code = "unauthorized"

    def __init__(self, message: str, *, has_key: bool) -> None:
        super().__init__(message)
        self._has_key = has_key

    def headers(self) -> dict[str, str]:
        """Return the challenge of RFC 6750."""
        return {"WWW-Authenticate": 'Bearer error="invalid_token"' if self._has_key else "Bearer"}


class ForbiddenError(RankError):
    """The key lacks the scope that the route needs."""

    status = 403
    code = "forbidden"

    def __init__(self, name: str, scope: str) -> None:
        super().__init__(f"the key {name} lacks the scope {scope}")
        self._scope = scope

    def headers(self) -> dict[str, str]:
        """Return the challenge of RFC 6750."""
        challenge = f'Bearer error="insufficient_scope", scope="{self._scope}"'
        return {"WWW-Authenticate": challenge}


class RateLimitedError(RankError):
    """The key has used up its rate; ``headers`` say when there is more."""

    status = 429
    code = "rate_limited"

    def __init__(self, name: str, rate: str, retry_s: int, headers: dict[str, str]) -> None:
        super().__init__(f"the key {name} may send {rate} requests")
        self._headers = {"Retry-After": str(retry_s), **headers}

    def headers(self) -> dict[str, str]:
        """Return the state of the rate, and the time to wait in seconds."""
        return self._headers


class FrameworkError(RankError):
    """An error of the framework, such as a method that the route does not have."""

    code = "http_error"

    def __init__(self, status: int, message: str) -> None:
        super().__init__(message)
        self.status = status


class RouteNotFoundError(RankError):
    """No route has the request's path."""

    status = 404
    code = "not_found"


class RequestTimeoutError(RankError):
    """The request did not arrive within ``RANK_RECEIVE_TIMEOUT_S``."""

    status = 408
    code = "request_timeout"

    def __init__(self, limit_s: float) -> None:
        super().__init__(f"the request did not arrive within {limit_s:g} s")


class HeadersTooLargeError(RankError):
    """The request line and headers are longer than ``RANK_MAX_HEADER_BYTES``."""

    status = 431
    code = "headers_too_large"

    def __init__(self, limit_bytes: int) -> None:
        super().__init__(f"headers: longer than {limit_bytes} bytes")


class InvalidRequestError(RankError):
    """The body is invalid; ``field`` names the field at fault, if there is one."""

    status = 422
    code = "invalid_request"


class InferenceError(RankError):
    """The inputs of an inference do not fit the model, or are not of the protocol."""

    status = 400
    code = "invalid_inference"


class BodyTooLargeError(RankError):
    """The request body is longer than ``RANK_MAX_BODY_BYTES``."""

    status = 413
    code = "body_too_large"

    def __init__(self, limit_bytes: int) -> None:
        super().__init__(f"body: longer than {limit_bytes} bytes", field="body")


class ModelNotFoundError(RankError):
    """The request names a model that is not loaded."""

    status = 404
    code = "model_not_found"


class CardNotFoundError(RankError):
    """The model has no card."""

    status = 404
    code = "card_not_found"


class NotReadyError(RankError):
    """No model is loaded yet."""

    status = 503
    code = "not_ready"


class DrainingError(RankError):
    """The service stops, and the request had not arrived in full by then."""

    status = 503
    code = "draining"


class OverloadedError(RankError):
    """Too many requests wait; ``queue`` is the label of ``rank_shed_total``."""

    status = 503
    code = "overloaded"

    def __init__(self, message: str, *, queue: str) -> None:
        super().__init__(message)
        self.queue = queue


class ClientLeftError(Exception):
    """The client has closed the connection: nobody waits for an answer."""


class ConnectionsError(RankError):
    """``RANK_MAX_CONNECTIONS`` are open, and none of them is idle."""

    status = 503
    code = "overloaded"

    def __init__(self, most: int) -> None:
        super().__init__(f"{most} connections are open, the most")


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


class PublishingError(RankError):
    """Another program publishes or removes the records that the request changes."""

    status = 503
    code = "publishing"


class KeysError(Exception):
    """The API keys cannot be read or changed; the message names the place and the mend."""


def printable(text: str) -> str:
    """Return ``text`` with escapes for what is not printable: one line."""
    if text.isprintable():
        return text
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)


def _cut(text: str, chars: int) -> str:
    return text if len(text) <= chars else text[: chars - len(_CUT)] + _CUT
