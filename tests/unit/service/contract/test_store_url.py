from __future__ import annotations

import pytest

from service.contract.store_url import StoreUrl, parse, without_password


@pytest.mark.parametrize("url", ["redis://h:1/2?x=y", "rediss://:p@h", "unix:///run/redis.sock"])
def test_what_redis_py_reads_goes_through(url: str) -> None:
    assert parse(url) == StoreUrl("server", url)


def test_a_cluster_is_named_by_some_of_its_nodes() -> None:
    found = parse("rediss+cluster://me:p%40ss@a,b:7001,[::1]:7002?ssl_ca_certs=/ca.pem")
    assert found.kind == "cluster"
    assert found.nodes == (("a", 6379), ("b", 7001), ("::1", 7002))
    assert found.url == "rediss://me:p%40ss@a:6379?ssl_ca_certs=/ca.pem"
    assert found.tls


def test_sentinels_are_named_with_what_they_watch() -> None:
    found = parse("redis+sentinel://:secret@s1,s2:5000/feed/3")
    assert found.kind == "sentinel"
    assert found.nodes == (("s1", 26379), ("s2", 5000))
    assert found.primary == "feed"
    assert found.url == "redis://:secret@s1:26379/3"
    assert not found.tls
    assert parse("redis+sentinel://s1/feed").url == "redis://s1:26379"


@pytest.mark.parametrize(
    ("url", "said"),
    [
        ("http://h", "should begin with one of redis://"),
        ("redis", "should begin with one of redis://"),
        ("redis+cluster://a,,b", "'' is no HOST"),
        ("redis+cluster://a/1", "a cluster has no databases"),
        ("redis+sentinel://a:26379", "should name the primary"),
        ("redis+cluster://a:port", "[Pp]ort"),
    ],
)
def test_what_names_no_store_is_refused(url: str, said: str) -> None:
    with pytest.raises(ValueError, match=said):
        parse(url)


def test_credentials_and_options_are_not_shown() -> None:
    url = "redis+sentinel://me:secret@s1,s2/feed?password=secret"
    assert without_password(url) == "redis+sentinel://s1,s2/feed"
