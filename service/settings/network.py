"""What the service listens to, and the limits on what arrives."""

from __future__ import annotations

import ipaddress
import re
from pathlib import Path

from pydantic import BaseModel, Field, field_validator

_ORIGIN = re.compile(r"\*|https?://[\w.-]+(:\d+)?")


class Network(BaseModel):
    """What the service listens to, and the limits on what arrives."""

    host: str = Field(default="127.0.0.1", description="Address to listen on.")
    port: int = Field(
        default=8000, ge=0, le=65535, description="Port to listen on; 0 picks a free one."
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
    drain_s: int = Field(
        default=10,
        ge=0,
        le=600,
        description="Longest wait for open requests and connections at shutdown, in seconds.",
    )
    max_connections: int = Field(
        default=1024,
        ge=1,
        le=1 << 20,
        description="Most open connections. For one more, the connection that is idle the longest "
        "is closed; if none is idle, the new one gets 503.",
    )
    trusted_proxies: str | None = Field(
        default=None,
        description="Addresses or networks of proxies, with commas between them, whose "
        "X-Forwarded-For and X-Forwarded-Proto are believed; * believes anybody.",
    )
    root_path: str = Field(
        default="",
        pattern=r"^(/[\w.~-]+)*$",
        description="Path under which a proxy shows the service, such as /ranking.",
    )
    cors_origins: str | None = Field(
        default=None,
        description="Origins whose pages may call from a browser, with commas between them, such "
        "as https://feed.example; * for all.",
    )
    tls_certificate: Path | None = Field(
        default=None, description="PEM file of the certificate chain; with RANK_TLS_KEY, HTTPS."
    )
    tls_key: Path | None = Field(
        default=None, description="PEM file of the certificate's private key, not encrypted."
    )

    @field_validator("trusted_proxies")
    @classmethod
    def _are_networks(cls, value: str | None) -> str | None:
        for entry in entries(value):
            if entry != "*":
                ipaddress.ip_network(entry)  # its errors name the entry
        return value

    @field_validator("cors_origins")
    @classmethod
    def _are_origins(cls, value: str | None) -> str | None:
        for entry in entries(value):
            if not _ORIGIN.fullmatch(entry):
                raise ValueError(f"{entry!r} is no origin, such as https://feed.example")
        return value


def entries(value: str | None) -> list[str]:
    """Return the entries of a setting that has commas between them."""
    return [entry.strip() for entry in (value or "").split(",") if entry.strip()]
