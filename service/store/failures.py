"""What redis-py raises, as errors of the service."""

from __future__ import annotations

from redis.exceptions import TimeoutError as RedisTimeoutError

from service.contract.store_errors import mend
from service.errors import StoreError, StoreTimeoutError


def store_error(error: Exception) -> StoreError:
    """Return the error for any exception of a command, for redis-py passes on more than its own.

    If a connection closes at the wrong moment, it even raises AttributeError.
    """
    if isinstance(error, TimeoutError | RedisTimeoutError):
        return StoreTimeoutError("the store did not answer in time")
    reason = mend(error) or type(error).__name__
    return StoreError(f"the store is not available: {reason}")
