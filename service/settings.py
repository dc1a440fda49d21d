"""All settings of the service, read from ``RANK_*`` environment variables."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import annotated_types
from pydantic import Field, SecretStr, field_validator
from pydantic_settings import BaseSettings, SettingsConfigDict

from service.contract import store_url
from service.contract.keys import NAMESPACE

PREFIX = "RANK_"


class Settings(BaseSettings):
    """The settings; ``python -m service --help`` prints them with defaults and bounds."""

    model_config = SettingsConfigDict(
        env_prefix=PREFIX,
        frozen=True,
        hide_input_in_errors=True,  # the URL of the store may contain a password
    )

    host: str = Field(default="127.0.0.1", description="Address to listen on.")
    port: int = Field(
        default=8000, ge=0, le=65535, description="Port to listen on; 0 picks a free one."
    )
    models_dir: Path = Field(default=Path("models"), description="Folder of the model repository.")
    model: str | None = Field(
        default=None,
        description="Model for requests that name none; required if several models are loaded.",
    )
    models_poll_s: float = Field(
        default=2.0, ge=0.05, le=3600, description="Seconds between checks for moved aliases."
    )
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
    catalog_max_bytes: int = Field(
        default=1 << 32,
        ge=1 << 20,
        le=1 << 44,
        description="Most memory for the items of one model, in bytes.",
    )
    scan_queue: int = Field(
        default=16,
        ge=1,
        le=4096,
        description="Most full scans of a large catalogue that may wait at once.",
    )
    catalog_chunk: int = Field(
        default=500,
        ge=1,
        le=100_000,
        description="Items read and encoded in one batch; requests wait while a large one is read.",
    )
    max_body_bytes: int = Field(
        default=1 << 20, ge=1024, le=1 << 28, description="Longest request body, in bytes."
    )
    max_header_bytes: int = Field(
        default=1 << 15,
        ge=1024,
        le=1 << 20,
        description="Longest request line and headers, in bytes.",
    )
    receive_timeout_s: float = Field(
        default=10.0,
        ge=0.1,
        le=600,
        description="Longest time for a request to arrive in full, in seconds; also for the first "
        "byte of a new connection.",
    )
    keep_alive_s: int = Field(
        default=5,
        ge=1,
        le=600,
        description="Longest wait for the next request on an open connection, in seconds.",
    )
    ort_threads: int = Field(
        default=1, ge=1, le=256, description="Threads that ONNX Runtime uses to score one ranking."
    )
    drain_s: int = Field(
        default=10,
        ge=0,
        le=600,
        description="Longest wait for open requests and connections at shutdown, in seconds.",
    )
    log_level: str = Field(
        default="info", pattern="^(debug|info|warning|error)$", description="Lowest level to log."
    )

    @field_validator("redis_url")
    @classmethod
    def _is_store_url(cls, url: SecretStr) -> SecretStr:
        store_url.parse(url.get_secret_value())
        return url


def describe() -> Iterator[tuple[str, str, str, str]]:
    """Yield (variable, default, bounds, description) of each setting."""
    for name, field in Settings.model_fields.items():
        default = field.default
        if isinstance(default, SecretStr):
            default = default.get_secret_value()
        bounds = [_bound(entry) for entry in field.metadata]
        yield (
            PREFIX + name.upper(),
            "" if default is None else str(default),
            ", ".join(filter(None, bounds)),
            field.description or "",
        )


def _bound(entry: object) -> str:
    match entry:
        case annotated_types.Ge(ge=low):
            return f">= {low}"
        case annotated_types.Le(le=high):
            return f"<= {high}"
        case _:
            return str(pattern) if (pattern := getattr(entry, "pattern", None)) else ""
