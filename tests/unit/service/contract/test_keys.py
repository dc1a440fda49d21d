from __future__ import annotations

import dataclasses

import pytest

from service.contract.keys import KeyParts, Keys, split_key
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


def test_a_key_is_split_into_what_it_was_made_of() -> None:
    for record_id in ("x", "catalog", "i:x", ":", "", "é", "a\nb"):
        records = (KEYS.user(record_id), *KEYS.items([record_id]), *KEYS.proxies([record_id]))
        for key, space, kind in zip(records, ("demo-u1", "demo-i1", "shared"), "uip", strict=True):
            assert split_key("prod", key.encode()) == KeyParts(space, kind, record_id.encode())
    for key, space, kind in (
        (KEYS.catalog, "demo-i1", "catalog"),
        (KEYS.item_changes, "demo-i1", "changes"),
        (KEYS.proxy_changes, "shared", "proxy-changes"),
        (KEYS.published("shared"), "shared", "published"),
        (KEYS.publishing("demo-u1"), "demo-u1", "publishing"),
    ):
        assert split_key("prod", key.encode()) == KeyParts(space, kind)


@pytest.mark.parametrize(
    "key",
    [
        "prod2:demo:i:x",
        "prod:demo:z:x",
        "prod:De mo:i:x",
        "{prod}:decisions",
        "{prod}:demo:other",
        "{prod2}:demo:catalog",
        "prod:demo:catalog",
        "p.od:demo:i:x",
    ],
)
def test_any_other_key_has_no_parts(key: str) -> None:
    assert split_key("prod", key.encode()) is None
    assert split_key("p.od", b"prod:demo:i:x") is None
