"""The explorer page as its reader sees it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from playwright.sync_api import Locator, Page, expect

# The items of a ranking from top to bottom as they are painted.
_ORDER = """list => [...list.querySelectorAll('li.row')]
  .map(row => [new DOMMatrix(getComputedStyle(row).transform).m42, row.dataset.item])
  .sort((a, b) => a[0] - b[0]).map(pair => pair[1])"""
_SETTLED = "list => list.getAnimations({subtree: true}).length === 0"


@dataclass(frozen=True)
class Explorer:
    """The page in a browser."""

    page: Page
    address: str

    def open(self, view: str = "") -> None:
        self.page.goto("about:blank")
        self.page.goto(f"{self.address}/{view and f'#{view}'}")
        self.page.locator("li.row").first.wait_for()

    def side(self, name: str = "") -> Locator:
        return self.page.get_by_role("region", name=f"Ranking {name}".strip(), exact=True)

    def slider(self, name: str = "") -> Locator:
        return self.side(name).get_by_role("slider")

    def drag(self, to: float, steps: int = 12, name: str = "") -> None:
        """Drag the thumb with the mouse, and let it go."""
        slider = self.slider(name)
        box = slider.bounding_box()
        assert box is not None
        thumb = 24
        inner = box["width"] - thumb
        y = box["y"] + box["height"] / 2

        def x(w: float) -> float:
            return box["x"] + thumb / 2 + w * inner

        self.page.mouse.move(x(float(slider.input_value())), y)
        self.page.mouse.down()
        self.page.mouse.move(x(to), y, steps=steps)
        self.page.mouse.up()

    def shows(self, items: Sequence[str], name: str = "") -> None:
        """Wait until a ranking shows ``items``; its document order follows."""
        rows = self.side(name).locator("li.row")
        expect(rows).to_have_count(len(items))
        handle = self.side(name).locator("ol.ranking").element_handle()
        self.page.wait_for_function(
            f"([list, items]) => JSON.stringify(({_ORDER})(list)) === JSON.stringify(items)",
            arg=[handle, list(items)],
        )
        self.page.wait_for_function(
            "([list, items]) => JSON.stringify([...list.querySelectorAll('li.row')]"
            ".map(row => row.dataset.item)) === JSON.stringify(items)",
            arg=[handle, list(items)],
        )

    def tradeoff(self, name: str = "") -> float:
        return float(self.slider(name).input_value())

    def row(self, item_id: str, name: str = "") -> Locator:
        return self.side(name).locator(f'li.row[data-item="{item_id}"]')

    @property
    def user(self) -> Locator:
        return self.page.get_by_role("combobox", name="User", exact=True)

    def choose(self, name: str, label: str) -> None:
        """Choose one of a group's radio buttons."""
        self.page.get_by_role("group", name=name).get_by_role("radio", name=label).check()

    @property
    def notice(self) -> Locator:
        return self.page.locator("#notice")

    def evaluate(self, script: str, argument: Any = None) -> Any:
        return self.page.evaluate(script, argument)
