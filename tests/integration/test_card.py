"""The card of a model over HTTP, and a model of an earlier release, which has none."""

from __future__ import annotations

import json

from service.contract.artifact import open_artifact
from service.contract.card import CARD, CARD_PAGE, Card
from tests.conftest import World
from tests.integration.conftest import Deployment, Running


def test_a_card_is_served_as_json_and_as_a_page(service: Running, world: World) -> None:
    for reference in ("toy", "toy@1", "toy@champion"):
        answer = service.client.get(f"/models/{reference}/card")
        assert (answer.status_code, answer.headers["content-type"]) == (200, "application/json")
        assert answer.content == (world.artifact.path / CARD).read_bytes()
    assert Card.model_validate_json(answer.content).front == world.artifact.manifest.front

    page = service.client.get("/models/toy/card.md")

    assert page.headers["content-type"] == "text/markdown; charset=utf-8"
    assert page.content == (world.artifact.path / CARD_PAGE).read_bytes()


def test_models_link_to_their_cards(service: Running) -> None:
    (model,) = service.client.get("/models").json()["models"]
    assert model["card"] == "/models/toy@1/card"
    assert service.client.get(model["card"]).status_code == 200


def test_a_card_of_no_model_is_not_found(service: Running) -> None:
    for suffix in ("card", "card.md"):
        answer = service.client.get(f"/models/other/{suffix}")
        assert answer.status_code == 404
        assert answer.json()["error"]["code"] == "model_not_found"
    counted = 'rank_http_request_seconds_count{route="/models/{model}/card",status="404"}'
    assert service.metric(counted) > 0


def test_a_model_of_an_earlier_release_serves_without_a_card(
    deployment: Deployment, world: World
) -> None:
    folder = deployment.repository.path("toy", 1)
    manifest = json.loads((folder / "manifest.json").read_text())
    for name in (CARD, CARD_PAGE):
        (folder / name).unlink()
        del manifest["files"][name]
    (folder / "manifest.json").write_text(json.dumps(manifest))
    assert open_artifact(folder).card() is None
    with deployment.serve() as service:
        assert service.rank(user_id=world.dataset.user_ids[0])["items"]
        (model,) = service.client.get("/models").json()["models"]
        assert model["card"] is None
        for suffix in ("card", "card.md"):
            answer = service.client.get(f"/models/toy/{suffix}")
            assert answer.status_code == 404
            assert answer.json()["error"]["code"] == "card_not_found"
            assert answer.json()["error"]["message"] == (
                "model: toy@1 has no card, because an earlier release made it: train it again"
            )
