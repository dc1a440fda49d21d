from __future__ import annotations

from typing import Any

import pytest
from pydantic import SecretStr, ValidationError

from service.settings import Settings, describe
from service.settings.feedback import grid

UNITS = {"_MS": "milliseconds", "_S": "seconds", "_BYTES": "bytes"}


@pytest.mark.parametrize(
    "url", ["redis://h", "redis+cluster://a,b:7000", "rediss+sentinel://s/feed"]
)
def test_every_kind_of_store_url_is_accepted(url: str) -> None:
    assert Settings(redis_url=SecretStr(url)).redis_url.get_secret_value() == url


def test_an_invalid_store_url_is_refused_without_its_password() -> None:
    with pytest.raises(ValidationError) as caught:
        Settings(redis_url=SecretStr("http://me:secret@h"))
    assert "should begin with one of redis://" in str(caught.value)
    assert "secret" not in str(caught.value)


def test_a_store_url_of_the_environment_is_not_shown_either(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("RANK_REDIS_URL", "redis://:secret@:/#")
    with pytest.raises(ValidationError) as caught:
        Settings()
    assert "percent-encode" in str(caught.value)
    assert "secret" not in f"{caught.value!s}{caught.value!r}"


def test_a_replica_is_one_process() -> None:
    assert not {name for name in Settings.model_fields if "worker" in name}


def test_every_setting_is_described_with_its_default_and_bounds() -> None:
    table = {variable: rest for variable, *rest in describe()}

    assert set(table) == {f"RANK_{name.upper()}" for name in Settings.model_fields}
    assert table["RANK_PORT"][:2] == ["8000", ">= 0, <= 65535"]
    assert table["RANK_MODEL"][0] == ""
    assert table["RANK_REDIS_URL"][0] == "redis://127.0.0.1:6379/0"
    assert table["RANK_LOG_LEVEL"][1] == "^(debug|info|warning|error)$"
    assert all(description.endswith(".") for *_, description in table.values())


def test_a_setting_with_a_unit_names_it_in_its_description() -> None:
    for variable, *_, description in describe():
        for suffix, unit in UNITS.items():
            if variable.endswith(suffix):
                assert unit in description.lower(), variable


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"explore_slot_share": 0.1}, "need RANK_DECISIONS above 0"),
        ({"explore_tradeoff_share": 0.1}, "need RANK_DECISIONS above 0"),
        (
            {"decisions": 1, "explore_slot_share": 0.1, "decision_places": 9},
            "RANK_EXPLORE_PLACES: should be at most RANK_DECISION_PLACES",
        ),
        ({"explore_tradeoffs": "0:0.5,1"}, "'1' is not TRADEOFF:PROBABILITY"),
        ({"explore_tradeoffs": "0:0.5,2:0.5"}, "tradeoffs should differ and be in"),
        ({"explore_tradeoffs": "0:0.5,0:0.5"}, "tradeoffs should differ and be in"),
        ({"explore_tradeoffs": "0:0.5,1:0.4"}, "their sum 1"),
        ({"explore_tradeoffs": "0:1.5,1:-0.5"}, "probabilities should be above 0"),
        ({"explore_tradeoffs": "nan:1"}, "tradeoffs should differ and be in"),
        (
            {"explore_tradeoffs": ",".join(f"{n / 100}:{1 / 63}" for n in range(63))},
            "fewer than 63 tradeoffs",
        ),
        ({"explore_tradeoffs": " "}, "at least one TRADEOFF:PROBABILITY"),
    ],
)
def test_exploration_that_teaches_nothing_is_refused(
    settings: dict[str, Any], message: str
) -> None:
    with pytest.raises(ValidationError, match=message):
        Settings(**settings)


def test_the_grid_of_tradeoffs_is_read() -> None:
    assert grid(Settings(explore_tradeoffs="0:0.25, 1:0.75").explore_tradeoffs) == (
        (0.0, 0.25),
        (1.0, 0.75),
    )
