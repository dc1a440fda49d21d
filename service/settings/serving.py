"""The models that serve, their catalogues, and how rankings are made."""

from __future__ import annotations

from pathlib import Path

from pydantic import BaseModel, Field


class Serving(BaseModel):
    """The models that serve, their catalogues, and how rankings are made."""

    models_dir: Path = Field(default=Path("models"), description="Folder of the model repository.")
    model: str | None = Field(
        default=None,
        description="Model for requests that name none; default: that of models/default.json.",
    )
    models_poll_s: float = Field(
        default=2.0, ge=0.05, le=3600, description="Seconds between checks for moved aliases."
    )
    catalog_max_bytes: int = Field(
        default=1 << 32,
        ge=1 << 20,
        le=1 << 44,
        description="Most memory for the items of one model, in bytes.",
    )
    catalog_chunk: int = Field(
        default=500,
        ge=1,
        le=100_000,
        description="Items read and encoded in one batch; requests wait while a large one is read.",
    )
    scan_queue: int = Field(
        default=16,
        ge=1,
        le=4096,
        description="Most full scans of a large catalogue that may wait at once.",
    )
    ort_threads: int = Field(
        default=1, ge=1, le=256, description="Threads that ONNX Runtime uses to score one ranking."
    )
