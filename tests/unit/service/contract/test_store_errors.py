"""The names of the table are those of redis-py's classes; integration tests meet real errors."""

from __future__ import annotations

import pytest
from redis import exceptions, sentinel

from service.contract import store_errors
from service.contract.store_errors import mend


def test_every_name_is_a_class_of_redis_py() -> None:
    for name in store_errors._MENDS:
        assert hasattr(exceptions, name) or hasattr(sentinel, name), name


def test_a_wrapped_error_is_looked_up_by_its_cause() -> None:
    with pytest.raises(exceptions.RedisClusterException) as caught:
        raise exceptions.RedisClusterException("no node") from exceptions.AuthenticationError("x")
    assert mend(caught.value) == store_errors._CREDENTIALS
    assert mend(exceptions.ConnectionError("refused")) is None
