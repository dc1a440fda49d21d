"""The page's files, which `make explorer` builds from `web/`: in memory, revalidated by ETag."""

from __future__ import annotations

import hashlib
from importlib import resources

from fastapi import APIRouter, Request, Response

from service.access.guard import PAGE_FILES

# The page runs its own scripts and talks to its own service alone. Pictures are the exception: the
# catalogue names their addresses.
_POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; "
    "img-src 'self' https: http:; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)
_TYPES = {
    ".html": "text/html; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
    ".css": "text/css; charset=utf-8",
    ".svg": "image/svg+xml",
}


def add_page(router: APIRouter) -> None:
    """Serve the page at ``/`` and its parts under ``/explorer``. Links are relative."""
    folder = resources.files("service.api.explorer") / "static"
    for path in sorted(PAGE_FILES):
        name = path.rpartition("/")[2] or "index.html"
        content = (folder / name).read_bytes()
        _serve(router, path, content, _TYPES[name[name.rindex(".") :]])


def _serve(router: APIRouter, path: str, content: bytes, media_type: str) -> None:
    etag = f'"{hashlib.sha256(content).hexdigest()[:32]}"'
    headers = {"ETag": etag, "Cache-Control": "no-cache", "Content-Security-Policy": _POLICY}

    @router.get(path, include_in_schema=False)
    async def file(request: Request) -> Response:
        if etag in request.headers.get("if-none-match", ""):
            return Response(status_code=304, headers=headers)
        return Response(content, headers=headers, media_type=media_type)
