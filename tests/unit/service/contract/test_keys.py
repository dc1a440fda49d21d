from __future__ import annotations

import dataclasses

import pytest

from service.contract.keys import Keys
from service.contract.manifest import Spaces

KEYS = Keys("prod", Spaces(items="demo-i1", users="demo-u1", proxies="shared"))


def test_a_user_key_lies_in_the_users_space() -> None:
    assert KEYS.user("alice") == "prod:demo-u1:u:alice"


def test_item_keys_lie_in_the_items_space_in_the_order_asked() -> None:
    assert KEYS.items(["b", "a"]) == ["prod:demo-i1:i:b", "prod:demo-i1:i:a"]


def test_proxy_keys_lie_in_the_proxies_space_in_the_order_asked() -> None:
    assert KEYS.proxies(["b", "a"]) == ["prod:shared:p:b", "prod:shared:p:a"]


def test_no_ids_give_no_keys() -> None:
    assert KEYS.items([]) == []
    assert KEYS.proxies([]) == []


def test_the_catalog_and_item_changes_follow_the_items_space() -> None:
    assert KEYS.catalog == "{prod}:demo-i1:catalog"
    assert KEYS.item_changes == "{prod}:demo-i1:changes"


def test_proxy_changes_follow_the_proxies_space() -> None:
    assert KEYS.proxy_changes.startswith("{prod}:shared:")


def test_one_name_for_all_spaces_and_awkward_ids_never_share_a_key() -> None:
    keys = Keys("prod", Spaces(items="demo", users="demo", proxies="demo"))
    awkward = ["x", "catalog", "changes", "i:x", "p:x", ":", "", "é"]
    every = [
        *map(keys.user, awkward),
        *keys.items(awkward),
        *keys.proxies(awkward),
        keys.catalog,
        keys.item_changes,
        keys.proxy_changes,
    ]
    assert len(set(every)) == 3 * len(awkward) + 3


@pytest.mark.parametrize(
    "other",
    [
        dataclasses.replace(KEYS, namespace="test"),
        Keys("prod", Spaces(items="demo-i2", users="demo-u2", proxies="shared2")),
    ],
)
def test_another_namespace_or_space_shares_no_key(other: Keys) -> None:
    def every(keys: Keys) -> set[str]:
        return {
            keys.user("x"),
            *keys.items(["x"]),
            *keys.proxies(["x"]),
            keys.catalog,
            keys.item_changes,
            keys.proxy_changes,
        }

    assert len(every(KEYS)) == 6
    assert every(KEYS).isdisjoint(every(other))
