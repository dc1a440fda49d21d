"""The one place where redis-py's exceptions become the service's."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

from redis.exceptions import TimeoutError as RedisTimeoutError
from redis.exceptions import WatchError

from service.contract.store_errors import mend
from service.errors import RankError, StoreError, StoreTimeoutError


def store_error(error: Exception) -> StoreError:
    """Return the StoreError of any exception, for redis-py passes on more than its own.

    If a connection closes at the wrong moment, it even raises AttributeError.
    """
    if isinstance(error, TimeoutError | RedisTimeoutError):
        return StoreTimeoutError("the store did not answer in time")
    reason = mend(error) or type(error).__name__
    return StoreError(f"the store is not available: {reason}")


@contextlib.contextmanager
def mapped() -> Iterator[None]:
    """Map the exceptions of redis-py, except the one that asks for another try."""
    try:
        yield
    except (RankError, WatchError):
        raise
    except Exception as error:
        raise store_error(error) from error
