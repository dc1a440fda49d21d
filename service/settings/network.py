"""What the service listens to, and the limits on what arrives."""

from __future__ import annotations

from pydantic import BaseModel, Field


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
