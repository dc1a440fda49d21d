from __future__ import annotations

import pytest

from service.contract.store_url import StoreUrl, parse, without_password


@pytest.mark.parametrize("url", ["redis://h:1/2?x=y", "rediss://:p@h", "unix:///run/redis.sock"])
def test_urls_of_redis_py_are_passed_on(url: str) -> None:
    assert parse(url) == StoreUrl("server", url)


def test_a_cluster_url_lists_some_of_its_nodes() -> None:
    store = parse("rediss+cluster://me:p%40ss@a,b:7001,[::1]:7002?ssl_ca_certs=/ca.pem")
    assert store.kind == "cluster"
    assert store.nodes == (("a", 6379), ("b", 7001), ("::1", 7002))
    assert store.url == "rediss://me:p%40ss@a:6379?ssl_ca_certs=/ca.pem"
    assert store.tls


def test_a_sentinel_url_lists_sentinels_and_names_the_primary() -> None:
    store = parse("redis+sentinel://:secret@s1,s2:5000/feed/3")
    assert store.kind == "sentinel"
    assert store.nodes == (("s1", 26379), ("s2", 5000))
    assert store.primary == "feed"
    assert store.url == "redis://:secret@s1:26379/3"
    assert not store.tls
    assert parse("redis+sentinel://s1/feed").url == "redis://s1:26379"


@pytest.mark.parametrize(
    ("url", "reason"),
    [
        ("http://h", "should begin with one of redis://"),
        ("redis", "should begin with one of redis://"),
        ("redis+cluster://a,,b", "'' is no HOST"),
        ("redis+cluster://a/1", "a cluster has no databases"),
        ("redis+sentinel://a:26379", "should name the primary"),
        ("redis+cluster://a:port", "[Pp]ort"),
    ],
)
def test_a_url_that_names_no_store_is_refused(url: str, reason: str) -> None:
    with pytest.raises(ValueError, match=reason):
        parse(url)


def test_credentials_and_options_are_removed() -> None:
    url = "redis+sentinel://me:secret@s1,s2/feed?password=secret"
    assert without_password(url) == "redis+sentinel://s1,s2/feed"
