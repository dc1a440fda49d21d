"""The store of user and item records."""

from __future__ import annotations

from pydantic import BaseModel, Field, SecretStr, field_validator

from service.contract import store_url
from service.contract.keys import NAMESPACE


class Store(BaseModel):
    """The store of user and item records."""

    redis_url: SecretStr = Field(
        default=SecretStr("redis://127.0.0.1:6379/0"),
        description="URL of the store: redis://, rediss:// (TLS), unix://, "
        "redis+cluster://HOST:PORT,... or redis+sentinel://HOST:PORT,.../PRIMARY.",
    )
    namespace: str = Field(
        default="rank",
        pattern=NAMESPACE,
        description="Prefix of all keys in the store.",
    )
    store_timeout_ms: int = Field(
        default=200,
        ge=1,
        le=60_000,
        description="Longest wait for an answer of the store, in milliseconds.",
    )
    store_connections: int = Field(
        default=32,
        ge=1,
        le=4096,
        description="Most connections to the store for user records, and as many for the rest.",
    )
    store_queue: int = Field(
        default=1024,
        ge=1,
        le=1 << 20,
        description="Most reads of user records that may wait for the store at once.",
    )

    @field_validator("redis_url")
    @classmethod
    def _is_store_url(cls, url: SecretStr) -> SecretStr:
        store_url.parse(url.get_secret_value())
        return url
