"""What is logged and traced."""

from __future__ import annotations

from pydantic import BaseModel, Field


class Logging(BaseModel):
    """What is logged and traced."""

    log_level: str = Field(
        default="info", pattern="^(debug|info|warning|error)$", description="Lowest level to log."
    )
    log_format: str = Field(
        default="text",
        pattern="^(text|json)$",
        description="Format of the log: lines for people, or one JSON object a line.",
    )
    log_requests: float = Field(
        default=0.0,
        ge=0,
        le=1,
        description="Share of the answered requests that get a line of the log. Refused and failed "
        "ones always get one, up to RANK_LOG_REPEATS.",
    )
    log_users: bool = Field(
        default=False, description="Whether lines and spans of requests contain the user's id."
    )
    log_repeats: int = Field(
        default=10,
        ge=1,
        le=1_000_000,
        description="Most lines with the same message in 10 seconds; the log says how many more "
        "there were.",
    )
    otel: bool | None = Field(
        default=None,
        description="Whether requests are exported as OpenTelemetry spans; default: if "
        "OTEL_EXPORTER_OTLP_ENDPOINT or OTEL_EXPORTER_OTLP_TRACES_ENDPOINT is set.",
    )
