"""The explorer on a real service: what a reader does, and what they then see."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Literal

import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Page, Request, expect

from service.access.keys import add
from service.contract.card import CARD_PAGE
from service.contract.titles import ItemTitle, encode
from service.settings import Settings
from tests.browser.explorer import Explorer
from tests.conftest import World
from tests.integration.conftest import Deployment, Running, running, until


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


def test_a_link_opens_the_card_of_the_model(explorer: Explorer, world: World) -> None:
    link = explorer.page.get_by_role("link", name="The card of this model")
    with explorer.page.expect_popup() as opened:
        link.click()
    page = (world.artifact.path / CARD_PAGE).read_text().splitlines()[0]
    expect(opened.value.locator("body")).to_contain_text(page)


def test_the_front_follows_the_slider(explorer: Explorer, world: World) -> None:
    front = world.artifact.manifest.front
    end = front.points[-1]
    explorer.drag(1.0)
    values = explorer.page.locator("#front .values")
    expect(values).to_contain_text(f"{end.logged['auc'].mean:.3f} ±")
    expect(values).to_contain_text(f"{end.unbiased['auc'].mean:.3f} ±")
    expect(explorer.page.locator("#front .verdict")).to_contain_text(f"front: {front.verdict}")
    mark = explorer.page.locator("#front .here")
    before = mark.bounding_box()
    explorer.drag(0.0)
    assert mark.bounding_box() != before
    expect(explorer.page.locator("#shown")).to_contain_text("long tail")


def test_nothing_is_asked_of_another_host(explorer: Explorer, page: Page) -> None:
    script = "performance.getEntriesByType('resource').map(entry => entry.name)"
    loaded = page.evaluate(script)
    assert len(loaded) > 4
    assert all(name.startswith(explorer.address) for name in loaded)


def test_one_request_is_in_flight_while_dragging(explorer: Explorer) -> None:
    in_flight, most, sent = 0, 0, 0

    def begin(request: Request) -> None:
        nonlocal in_flight, most, sent
        if request.url.endswith("/explorer/rank"):
            in_flight, sent = in_flight + 1, sent + 1
            most = max(most, in_flight)

    def end(request: Request) -> None:
        nonlocal in_flight
        in_flight -= request.url.endswith("/explorer/rank")

    explorer.page.on("request", begin)
    explorer.page.on("requestfinished", end)
    explorer.drag(0.9, steps=60)
    expect(explorer.page.locator("#curl")).to_contain_text(f'"tradeoff":{explorer.tradeoff()}')
    assert (most, in_flight) == (1, 0)
    assert sent > 2


def test_another_user_model_and_pool(explorer: Explorer, service: Running, world: World) -> None:
    page, ids = explorer.page, world.dataset.item_ids
    first = explorer.user.input_value()
    page.get_by_role("button", name="Next user").click()
    expect(explorer.user).not_to_have_value(first)
    user_id = world.dataset.user_ids[5]
    explorer.user.fill(user_id)
    explorer.drag(0.2)
    w = explorer.tradeoff()
    explorer.shows(service.ids(user_id=user_id, tradeoff=w, top_k=20))
    page.get_by_label("Model").select_option("toy@2")
    expect(page.locator("#curl")).to_contain_text('"model":"toy@2"')
    explorer.choose("Which items", "candidates")
    expect(page.get_by_label("Item ids of the candidates")).not_to_have_value("")
    pool = [*ids[:6], "unheld"]
    page.get_by_label("Item ids of the candidates").fill(", ".join(pool))
    explorer.shows(service.ids(user_id=user_id, tradeoff=w, candidates=pool))
    expect(explorer.row("unheld")).to_contain_text("no record")
    page.get_by_label("Places").select_option("200")
    explorer.choose("Which items", "all")
    explorer.shows(service.ids(user_id=user_id, tradeoff=w, top_k=200))


def test_a_typed_history_stands_for_a_user(
    explorer: Explorer, service: Running, world: World
) -> None:
    ids = world.dataset.item_ids
    explorer.choose("For whom", "a history")
    expect(explorer.notice).to_contain_text("No item of the history is known")
    field = explorer.page.get_by_label("Item ids of the history")
    field.fill(f"{ids[0]}, {ids[1]}")
    w = explorer.tradeoff()
    ranking = service.ids(user_id="?", history=ids[:2], tradeoff=w, top_k=20)
    explorer.shows(ranking)
    expect(explorer.notice).to_be_hidden()
    explorer.row(ranking[0]).get_by_role("button").click()
    expect(field).to_have_value(f"{ids[0]}, {ids[1]}, {ranking[0]}")
    longer = [*ids[:2], ranking[0]]
    explorer.shows(service.ids(user_id="?", history=longer, tradeoff=w, top_k=20))


def test_two_rankings_side_by_side(explorer: Explorer, service: Running) -> None:
    explorer.drag(0.0)
    explorer.page.get_by_role("button", name="Compare two").click()
    user_id = explorer.user.input_value()
    assert (explorer.tradeoff("A"), explorer.tradeoff("B")) == (0, 1)
    lists = {w: service.ids(user_id=user_id, tradeoff=w, top_k=20) for w in (0.0, 1.0)}
    explorer.shows(lists[0.0], "A")
    explorer.shows(lists[1.0], "B")
    both = len({*lists[0.0]} & {*lists[1.0]})
    expect(explorer.side("A")).to_contain_text(f"{20 - both} only here")
    expect(explorer.side("B").locator(".only-here")).to_have_count(20 - both)
    expect(explorer.page.locator("#front .here")).to_have_count(2)
    explorer.side("B").get_by_label("Model B").select_option("toy@2")
    expect(explorer.page.locator("#front .front")).to_have_count(2)
    explorer.drag(0.0, name="B")
    expect(explorer.side("B").locator(".only-here")).to_have_count(0)
    explorer.page.get_by_role("button", name="Compare two").click()
    explorer.shows(lists[0.0])


def test_the_address_keeps_the_view(explorer: Explorer, world: World) -> None:
    user_id = world.dataset.user_ids[7]
    explorer.open(f"user={user_id}&w=0.8&top=10&model=toy@2&b=0.1")
    explorer.page.reload()
    expect(explorer.user).to_have_value(user_id)
    expect(explorer.side("A").locator("li.row")).to_have_count(10)
    assert (explorer.tradeoff("A"), explorer.tradeoff("B")) == (0.8, 0.1)
    explorer.drag(0.5, name="A")
    explorer.page.wait_for_function(
        "w => location.hash.includes(`w=${w}`)", arg=explorer.tradeoff("A")
    )


def test_keyboard_alone(explorer: Explorer, service: Running) -> None:
    keys, page = explorer.page.keyboard, explorer.page
    user_id = explorer.user.input_value()
    _tab_to(page, "#tradeoff-1")
    keys.press("End")
    assert explorer.tradeoff() == 1
    explorer.shows(service.ids(user_id=user_id, tradeoff=1, top_k=20))
    said = page.locator("#said")
    expect(said).to_contain_text("Ranking at 1.00: 20 items")
    for _ in range(3):
        keys.press("ArrowLeft")
    expect(explorer.slider()).to_have_attribute(
        "aria-valuetext", "0.97, between debiased and logged"
    )
    explorer.shows(service.ids(user_id=user_id, tradeoff=0.97, top_k=20))
    page.locator("body").evaluate("body => document.activeElement.blur()")
    _tab_to(page, "#compare")
    keys.press("Enter")
    expect(explorer.side("B")).to_be_visible()
    _tab_to(page, "[aria-label='Go to the recommended tradeoff'], .recommend, #tradeoff-3")


def _tab_to(page: Page, selector: str) -> None:
    """Press Tab until an element that ``selector`` names has the focus."""
    for _ in range(30):
        page.keyboard.press("Tab")
        if page.evaluate("selector => document.activeElement.matches(selector)", selector):
            return
    raise AssertionError(f"Tab does not reach {selector}")


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [390, 1280])
def test_axe_finds_nothing(
    explorer: Explorer, scheme: Literal["light", "dark"], width: int
) -> None:
    page = explorer.page
    page.emulate_media(color_scheme=scheme, reduced_motion="reduce")
    page.set_viewport_size({"width": width, "height": 800})
    explorer.open("user=nobody&w=0.4")
    expect(explorer.notice).to_contain_text("no record")
    _assert_accessible(page)
    page.get_by_role("button", name="Compare two").click()
    explorer.side("B").locator("li.row").first.wait_for()
    _assert_accessible(page)
    assert page.evaluate("document.documentElement.scrollWidth") <= width


def _assert_accessible(page: Page) -> None:
    results = Axe().run(page)
    assert results.violations_count == 0, results.generate_report()


def test_degraded_rankings_say_why(explorer: Explorer, deployed: Deployment, world: World) -> None:
    explorer.user.fill("nobody")
    expect(explorer.notice).to_have_text(
        "This user has no record and no known history: ranked for an average user."
    )
    user_id = world.dataset.user_ids[9]
    key = deployed.keys.user(user_id)
    record = deployed.redis.get(key)
    deployed.redis.set(key, b"damaged")
    try:
        explorer.user.fill(user_id)
        expect(explorer.notice).to_have_text("The user's record is damaged: ranked without it.")
    finally:
        deployed.redis.set(key, record)
    explorer.drag(0.6)
    expect(explorer.notice).to_be_hidden()


def test_a_service_that_does_not_answer_is_tried_again(explorer: Explorer) -> None:
    context = explorer.page.context
    context.set_offline(True)
    explorer.drag(0.9)
    expect(explorer.notice).to_contain_text("The service does not answer.")
    expect(explorer.side()).to_have_class("side stale")
    context.set_offline(False)
    expect(explorer.notice).to_be_hidden()
    expect(explorer.side()).to_have_class("side")


def test_an_error_is_shown_in_words(explorer: Explorer) -> None:
    explorer.choose("For whom", "a history")
    field = explorer.page.get_by_label("Item ids of the history")
    field.fill(",".join(f"x{number}" for number in range(501)))
    expect(explorer.notice).to_contain_text("history: Expected `array` of length <= 500")
    field.fill("x1")
    expect(explorer.notice).to_contain_text("No item of the history is known")


def test_a_dropped_model_is_left(
    explorer: Explorer, deployed: Deployment, service: Running
) -> None:
    model = explorer.page.get_by_label("Model")
    model.select_option("toy@2")
    deployed.repository.promote("toy", 1, alias="candidate")
    try:
        until(lambda: len(service.client.get("/models").json()["models"]) == 1)
        explorer.drag(0.8)
        expect(model.locator("option")).to_have_count(1)
        expect(explorer.page.locator("#curl")).to_contain_text('"model":"toy@1"')
        expect(explorer.notice).to_be_hidden()
    finally:
        deployed.repository.promote("toy", 2, alias="candidate")
        until(lambda: len(service.client.get("/models").json()["models"]) == 2)


def test_pictures_stand_on_the_tiles(
    explorer: Explorer, deployed: Deployment, service: Running
) -> None:
    user_id = explorer.user.input_value()
    first, second = service.ids(user_id=user_id, tradeoff=1, top_k=2)
    keys = deployed.keys.titles([first, second])
    before = deployed.redis.mget(keys)
    shown = [ItemTitle("<b>Bold</b>", "/explorer/icon.svg", "/a"), ItemTitle("None", "/absent.png")]
    deployed.redis.mset(dict(zip(keys, encode(shown), strict=True)))
    try:
        explorer.open(f"user={user_id}&w=1")
        row = explorer.row(first)
        expect(row.locator("img")).to_have_js_property("complete", True)
        expect(row.get_by_role("link", name="<b>Bold</b>")).to_have_attribute("href", "/a")
        expect(explorer.row(second).locator("img")).to_have_count(0)
        expect(explorer.row(second).locator(".tile")).to_have_text("N")
    finally:
        deployed.redis.mset(dict(zip(keys, before, strict=True)))


def test_the_first_paint_comes_within_a_second(explorer: Explorer) -> None:
    script = "performance.getEntriesByName('first-contentful-paint')[0].startTime"
    assert explorer.page.evaluate(script) < 1000


def test_a_key_opens_the_page(page: Page, tmp_path: Path) -> None:
    path = tmp_path / "keys.json"
    key = add(path, "people", frozenset({"admin", "rank"}))
    settings = Settings(access="keys", keys_file=path, keep_alive_s=1, models_dir=tmp_path / "none")
    with running(settings) as service:
        page.goto(str(service.client.base_url))
        form = page.locator("#key-form")
        expect(form).to_contain_text("This service asks for a key")
        field = page.get_by_label("API key")
        expect(field).to_be_focused()
        field.fill("pr_wrong")
        field.press("Enter")
        expect(form).to_contain_text("the key is not known")
        field.fill(key)
        field.press("Enter")
        expect(form).to_be_hidden()
        expect(page.locator("#notice")).to_contain_text("No model serves yet: no model in")
        assert key not in page.content()
        page.close()
