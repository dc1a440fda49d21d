"""A browser, and a service with two models for it to show."""

from __future__ import annotations

import shutil
from collections.abc import Iterator

import pytest
from playwright.sync_api import Browser, Page

from tests.browser.chromium import find, hosts_of, launched
from tests.browser.explorer import Explorer
from tests.conftest import World
from tests.integration.conftest import Deployment, Running, deploy, until


@pytest.fixture(scope="session")
def browser() -> Iterator[Browser]:
    if (path := find()) is None:
        pytest.skip("no chromium on the PATH; `make chromium` installs one")
    with launched(path) as browser:
        yield browser


@pytest.fixture(scope="session")
def deployed(world: World, redis_url: str, tmp_path_factory: pytest.TempPathFactory) -> Deployment:
    """Deploy two versions of the world's model."""
    models = tmp_path_factory.mktemp("served") / "models"
    deployment = deploy(world, redis_url, models, user_memory=False)  # tests damage records
    repository = deployment.repository
    shutil.copytree(repository.path("toy", 1), repository.path("toy", 2))
    repository.promote("toy", 2, alias="candidate")
    return deployment


@pytest.fixture(scope="session")
def service(deployed: Deployment) -> Iterator[Running]:
    """Serve both versions."""
    with deployed.serve() as running:
        until(lambda: len(running.client.get("/models").json()["models"]) == 2)
        yield running


@pytest.fixture
def page(browser: Browser) -> Iterator[Page]:
    """Yield a page that may talk to one host, and raises no error of its own."""
    context = browser.new_context(viewport={"width": 1280, "height": 900})
    hosts, errors = hosts_of(context), list[str]()
    page = context.new_page()
    page.set_default_timeout(8000)
    page.on("pageerror", lambda error: errors.append(str(error)))
    yield page
    context.close()
    assert errors == []
    assert len(hosts) <= 1


@pytest.fixture
def explorer(page: Page, service: Running) -> Explorer:
    """Open the page of the service."""
    explorer = Explorer(page, str(service.client.base_url))
    explorer.open()
    return explorer
