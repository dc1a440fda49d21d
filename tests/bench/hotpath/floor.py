"""Variant ``floor``: the service with a route that reads the body and does nothing.

The process is the same as ``ours``, with middleware and loaded models. ``POST /noop`` answers with
the bytes of an answer of ``ours``.
"""

from __future__ import annotations

import sys
from pathlib import Path
from unittest.mock import patch

from fastapi import FastAPI, Request, Response

from service.__main__ import serve
from service.access.guard import SCOPES
from service.app import create_app
from service.settings import Settings
from tests.bench.hotpath.protocol import Task


def with_noop(settings: Settings) -> FastAPI:
    """Return the service's application with one more route."""
    answer = Path(Task.read().answer).read_bytes()
    app = create_app(settings)

    @app.post("/noop")
    async def noop(request: Request) -> Response:
        await request.body()
        return Response(answer, media_type="application/json")

    return app


if __name__ == "__main__":
    SCOPES["/noop"] = "rank"
    with patch("service.__main__.create_app", with_noop):
        sys.exit(serve(Settings()))
