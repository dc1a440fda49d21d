"""The OpenAPI document from the code: run it to write clients/openapi.json."""

from __future__ import annotations

import json
import sys
from pathlib import Path

from service.app import create_app
from service.settings import Settings

OUT = Path(__file__).parents[2] / "clients" / "openapi.json"


def document() -> str:
    """Return the document of a service whose callers need keys, as JSON text."""
    return json.dumps(create_app(Settings(access="keys")).openapi(), indent=2) + "\n"


def main() -> int:
    """Write the document; returns the exit code."""
    OUT.write_text(document())
    return 0


if __name__ == "__main__":
    sys.exit(main())
