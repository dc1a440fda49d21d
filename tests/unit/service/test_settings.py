from __future__ import annotations

import pytest
from pydantic import SecretStr, ValidationError

from service.settings import Settings


@pytest.mark.parametrize(
    "url", ["redis://h", "redis+cluster://a,b:7000", "rediss+sentinel://s/feed"]
)
def test_every_kind_of_store_may_be_named(url: str) -> None:
    assert Settings(redis_url=SecretStr(url)).redis_url.get_secret_value() == url


def test_a_url_that_names_no_store_is_refused_without_being_shown() -> None:
    with pytest.raises(ValidationError) as caught:
        Settings(redis_url=SecretStr("http://me:secret@h"))
    assert "should begin with one of redis://" in str(caught.value)
    assert "secret" not in str(caught.value)


def test_a_replica_is_one_process() -> None:
    assert not {name for name in Settings.model_fields if "worker" in name}
