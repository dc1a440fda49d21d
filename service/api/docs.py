"""The API's documentation: ``/docs``, whose parts come from the service, and the keys in it."""

from __future__ import annotations

import base64
import hashlib
import re
from typing import Any

from fastapi import FastAPI
from fastapi.openapi.docs import get_swagger_ui_html
from fastapi.responses import HTMLResponse
from fastapi.staticfiles import StaticFiles

from service.access.guard import DOCS_ASSETS, OPEN_INFERENCE, scope_of
from service.api.messages import ErrorResponse
from service.api.open_inference import InferenceErrorResponse

PATH = "/docs"

_INLINE = re.compile(r"<script>(.*?)</script>", re.DOTALL)
_POLICY = (
    "default-src 'none'; script-src 'self' 'sha256-{script}'; style-src 'self' 'unsafe-inline'; "
    "img-src 'self' data:; connect-src 'self'; base-uri 'none'; form-action 'none'; "
    "frame-ancestors 'none'"
)
_SCHEMES = {
    "bearer": {"type": "http", "scheme": "bearer"},
    "api_key": {"type": "apiKey", "in": "header", "name": "X-API-Key"},
}
_ANSWERS = {
    "401": "The key is missing, unknown or expired.",
    "403": "The key lacks the scope.",
    "429": "The key has used up its rate. `Retry-After` is the time to wait, in seconds.",
}


def add_docs(app: FastAPI) -> None:
    """Serve Swagger UI and its assets. Its links are relative: they hold under a root path."""
    assets = StaticFiles(packages=[("fastapi_offline", "static")])
    app.mount(DOCS_ASSETS, assets)
    page = get_swagger_ui_html(
        openapi_url="openapi.json",
        title=app.title,
        swagger_js_url=f"{DOCS_ASSETS[1:]}/swagger-ui-bundle.js",
        swagger_css_url=f"{DOCS_ASSETS[1:]}/swagger-ui.css",
        swagger_favicon_url=f"{DOCS_ASSETS[1:]}/favicon.png",
    )
    # Runs the scripts of the service and the one in the page, and lets no other page frame it.
    (script,) = _INLINE.findall(bytes(page.body).decode())
    script_hash = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    page.headers["Content-Security-Policy"] = _POLICY.format(script=script_hash)

    @app.get(PATH, include_in_schema=False)
    async def docs() -> HTMLResponse:
        return page


def add_keys(document: dict[str, Any]) -> None:
    """Add to the OpenAPI ``document`` which routes need a key, of which scope, and the errors."""
    components = document["components"]
    components["securitySchemes"] = _SCHEMES
    for path, methods in document["paths"].items():
        route, needed = scope_of(path)
        of_inference = route == OPEN_INFERENCE
        body = InferenceErrorResponse if of_inference else ErrorResponse
        schema = {"$ref": f"#/components/schemas/{body.__name__}"}
        for operation in methods.values() if needed else ():
            operation["security"] = [{name: []} for name in _SCHEMES]
            operation["description"] += f" Needs a key with the scope `{needed}`."
            for status, description in _ANSWERS.items():
                content = {"application/json": {"schema": schema}}
                operation["responses"][status] = {"description": description, "content": content}
