"""Take the pictures of the explorer in ``docs/`` anew, from the demo: ``make screenshots``."""

from __future__ import annotations

import socket
from pathlib import Path
from typing import Literal

from PIL import Image
from playwright.sync_api import Browser

from tests.browser.chromium import find, launched
from training.demo.demo import served

DOCS = Path(__file__).parents[1]
BUILD = DOCS.parent / "build" / "demo"
_COLORS = 256  # of the palette: a third of the bytes
_VIEW = "user=u0001&w=0.25&top=10"
PICTURES: dict[str, tuple[Literal["light", "dark"], int, int, float, str]] = {
    "explorer-light.png": ("light", 1280, 880, 1.0, _VIEW),
    "explorer-dark.png": ("dark", 1280, 880, 1.0, f"{_VIEW}&b=1"),
    "explorer-phone.png": ("light", 390, 760, 2.0, _VIEW),
}


def main() -> None:
    """Serve the demo's model and take all pictures."""
    chromium = find()
    if chromium is None:
        raise SystemExit(
            "chromium is not on the PATH: install it, as root on Debian `make chromium`"
        )
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    with served(BUILD, port), launched(chromium) as browser:
        for name in PICTURES:
            _take(browser, f"http://127.0.0.1:{port}/", name)


def _take(browser: Browser, address: str, name: str) -> None:
    scheme, width, height, scale, view = PICTURES[name]
    page = browser.new_page(
        viewport={"width": width, "height": height},
        device_scale_factor=scale,
        color_scheme=scheme,
        reduced_motion="reduce",
    )
    page.goto(f"{address}#{view}")
    page.locator("li.row").first.wait_for()
    page.wait_for_load_state("networkidle")
    path = DOCS / name
    page.screenshot(path=path)
    page.close()
    with Image.open(path) as picture:
        palette = picture.convert("RGB").quantize(_COLORS, dither=Image.Dither.NONE)
    palette.save(path, optimize=True)


if __name__ == "__main__":
    main()
