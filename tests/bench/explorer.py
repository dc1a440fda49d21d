"""Frames of the explorer while its tradeoff is dragged, its first paint and its bytes.

``make bench-explorer`` runs it on the demo's model, which it trains at first.
"""

from __future__ import annotations

import argparse
import socket
import time
from pathlib import Path
from statistics import median

import numpy as np
from playwright.sync_api import Page

from tests.bench.common import ROOT
from tests.browser.chromium import find, launched
from tests.browser.explorer import Explorer
from training.demo.demo import served

PLACES = 200
_RECORD = """() => { const times = window.frameTimes = []; const record = time => {
  times.push(time); requestAnimationFrame(record); }; requestAnimationFrame(record); }"""
_BYTES = """() => performance.getEntriesByType('navigation').concat(
  performance.getEntriesByType('resource').filter(entry => /explorer\\.|icon/.test(entry.name)))
  .reduce((sum, entry) => sum + entry.decodedBodySize, 0)"""
_PAINT = "performance.getEntriesByName('first-contentful-paint')[0].startTime"


def main() -> None:
    """Open the page ``--repeats`` times; drag there and back for ``--seconds`` each time."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--build", type=Path, default=ROOT / "build" / "demo")
    parser.add_argument("--seconds", type=float, default=5.0)
    parser.add_argument("--repeats", type=int, default=3)
    arguments = parser.parse_args()
    if (chromium := find()) is None:
        raise SystemExit("chromium is not on the PATH: `make chromium` installs one")
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    with served(arguments.build, port), launched(chromium) as browser:
        paints, rates, slow = [], [], []
        for _ in range(arguments.repeats):
            page = browser.new_page(viewport={"width": 1280, "height": 900})
            explorer = Explorer(page, f"http://127.0.0.1:{port}")
            explorer.open(f"user=u0001&w=0&top={PLACES}")
            paints.append(page.evaluate(_PAINT))
            intervals_ms, rankings = _drag(page, explorer, arguments.seconds)
            rates.append(1000 / float(np.mean(intervals_ms)))
            slow.append(float(np.mean(intervals_ms > 25)))
            size = page.evaluate(_BYTES)
            page.close()
    print(f"{PLACES} places, median of {arguments.repeats}, lowest to highest:")  # noqa: T201
    print(f"frames a second while dragging: {_spread(rates, '.1f')}")  # noqa: T201
    print(f"share of frames above 25 ms: {_spread(slow, '.1%')}")  # noqa: T201
    print(f"rankings a second, last run: {rankings / arguments.seconds:.1f}")  # noqa: T201
    print(f"first contentful paint: {_spread(paints, '.0f')} ms; {size} bytes")  # noqa: T201


def _drag(page: Page, explorer: Explorer, seconds: float) -> tuple[np.ndarray, int]:
    """Drag from end to end without a stop; return milliseconds between frames and rankings."""
    rankings = 0

    def count() -> None:
        nonlocal rankings
        rankings += 1

    page.on("response", lambda response: count() if response.url.endswith("/rank") else None)
    box = explorer.slider().bounding_box()
    assert box is not None
    left, width, y = box["x"] + 12, box["width"] - 24, box["y"] + box["height"] / 2
    page.mouse.move(left, y)
    page.mouse.down()
    page.evaluate(_RECORD)
    began = time.monotonic()
    while (elapsed := time.monotonic() - began) < seconds:
        phase = elapsed % 4 / 2  # two seconds there, two seconds back
        page.mouse.move(left + width * min(phase, 2 - phase), y)
    page.mouse.up()
    return np.diff(page.evaluate("() => window.frameTimes"))[5:], rankings


def _spread(values: list[float], form: str) -> str:
    return f"{median(values):{form}} ({min(values):{form}} to {max(values):{form}})"


if __name__ == "__main__":
    main()
