"""A file whose reads fail, for root too."""

from __future__ import annotations

from pathlib import Path

UNREADABLE = Path("/proc/self/mem")  # the first page of a process is never mapped
REASON = "cannot be read: Input/output error"
