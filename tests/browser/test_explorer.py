"""The explorer on a real service: what a reader does, and what they then see."""

from __future__ import annotations

import re

from playwright.sync_api import Page, expect

from tests.browser.explorer import Explorer
from tests.conftest import World
from tests.integration.conftest import Running


def test_dragging_the_slider_shows_the_order_that_rank_gives(
    explorer: Explorer, service: Running, world: World
) -> None:
    user_id = explorer.user.input_value()
    assert user_id in world.dataset.user_ids
    for w in (0.0, 1.0, 0.37):
        explorer.drag(w)
        tradeoff = explorer.tradeoff()
        assert abs(tradeoff - w) < 0.02
        expect(explorer.side().locator("output")).to_have_text(f"{tradeoff:.2f}")
        body = {"user_id": user_id, "tradeoff": tradeoff, "top_k": 20}
        items = service.rank(**body, explain=True, titles=True)["items"]
        explorer.shows([item["item_id"] for item in items])
        first = items[0]
        row = explorer.row(first["item_id"])
        expect(row.locator(".title")).to_have_text(first["title"])
        expect(row.locator(".score")).to_have_text(f"{first['score']:.3f}")
        for end, (w_end, place) in enumerate((("0", "debiased"), ("1", "logged"))):
            move = first["explain"][place]["rank"] - 1
            said = f"{move} place" if move else "same place"
            expect(row.locator(".move .said").nth(end)).to_have_text(
                re.compile(rf"^{said}.* as at w = {w_end}$|^{said}s? higher than at w = {w_end}$")
            )


def test_the_front_follows_the_slider(explorer: Explorer, world: World) -> None:
    front = world.artifact.manifest.front
    end = front.points[-1]
    explorer.drag(1.0)
    values = explorer.page.locator("#front .values")
    expect(values).to_contain_text(f"{end.logged['auc'].mean:.3f} ±")
    expect(values).to_contain_text(f"{end.unbiased['auc'].mean:.3f} ±")
    expect(explorer.page.locator("#front .verdict")).to_contain_text(f"front: {front.verdict}")
    before = explorer.page.locator("#front .here").get_attribute("cy")
    explorer.drag(0.0)
    assert explorer.page.locator("#front .here").get_attribute("cy") != before
    expect(explorer.page.locator("#shown")).to_contain_text("long tail")


def test_nothing_is_asked_of_another_host(explorer: Explorer, page: Page) -> None:
    script = "performance.getEntriesByType('resource').map(entry => entry.name)"
    loaded = page.evaluate(script)
    assert len(loaded) > 4
    assert all(name.startswith(explorer.address) for name in loaded)
