"""Who may call the service."""

from __future__ import annotations

from pathlib import Path

from pydantic import BaseModel, Field


class Access(BaseModel):
    """Who may call the service."""

    access: str = Field(
        default="keys",
        pattern="^(keys|open)$",
        description="keys: callers need an API key. open: anybody who reaches the port may call.",
    )
    keys_file: Path | None = Field(
        default=None, description="File of the API keys that `python -m service keys` makes."
    )
    keys_poll_s: float = Field(
        default=2.0, ge=0.05, le=3600, description="Seconds between checks for a changed keys file."
    )
    rate_limits: str = Field(
        default="local",
        pattern="^(local|shared)$",
        description="Rates of keys. local: each replica counts alone. shared: all replicas count "
        "together in the store.",
    )
    admin_host: str = Field(default="127.0.0.1", description="Address of the admin port.")
    admin_port: int | None = Field(
        default=None,
        ge=0,
        le=65535,
        description="Port that alone answers /metrics, /models, /docs, /openapi.json and the "
        "explorer; 0 picks a free one. Default: they are on RANK_PORT.",
    )
    admin_access: str = Field(
        default="keys",
        pattern="^(keys|open)$",
        description="keys: the admin port needs a key with the scope admin. open: anybody who "
        "reaches the admin port may call all of it but live changes.",
    )
