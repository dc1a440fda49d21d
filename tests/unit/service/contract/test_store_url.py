from __future__ import annotations

import traceback

import pytest

from service.contract.store_url import parse

SECRET = "s3cretmarker"


@pytest.mark.parametrize(
    ("url", "place"),
    [
        ("redis://h:1/2?db=3", "redis://h:1/2"),
        ("rediss://:p@h", "rediss://h:6379"),
        ("redis://me:p%40ss%2F@[::1]:7000/", "redis://[::1]:7000/"),
        ("unix:///run/redis.sock", "unix:///run/redis.sock"),
        ("unix://me:p@/run/redis.sock?db=2", "unix:///run/redis.sock"),
    ],
)
def test_urls_of_redis_py_are_passed_on(url: str, place: str) -> None:
    store = parse(url)
    assert (store.kind, store.url, store.place) == ("server", url, place)


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
        ("redis+cluster://a,,b", "should name HOST or HOST:PORT"),
        ("redis+cluster://a/1", "a cluster has no databases"),
        ("redis+cluster://a?db=1", "a cluster has no databases"),
        ("redis+sentinel://a:26379", "should name the primary"),
        ("redis+cluster://a:port", "a port that is no number"),
        ("redis://h:70000", "a port that is no number"),
        ("redis://", "should name HOST or HOST:PORT"),
        ("redis://h/feed", "the database after the hosts is no number"),
        ("unix://run/redis.sock", "an absolute path"),
        ("redis://h ", "white space"),
        ("redis://h?protocol=3", "option 1 after '\\?' is unknown"),
        ("redis://h?db=1&ssl_ca_certs=/ca.pem", "option 2 .* rediss:// takes it"),
        ("redis://h?socket_timeout=soon", "option socket_timeout .* no value"),
        ("unix:///run/redis.sock?socket_keepalive=1", "option 1 .* unknown"),
    ],
)
def test_a_url_that_names_no_store_is_refused(url: str, reason: str) -> None:
    with pytest.raises(ValueError, match=reason):
        parse(url)


def test_the_place_has_neither_credentials_nor_options() -> None:
    store = parse("redis+sentinel://me:s3cret@s1,s2/feed?password=s3cret")
    assert store.place == "redis+sentinel://s1:26379,s2:26379/feed"
    assert "s3cret" not in repr(store)


# Reserved characters in a password, credentials in the wrong place, URLs cut short.
RESERVED = "/?#:%[],& \n\t\u2100"
PASSWORDS = (SECRET, f"{SECRET}@", *(f"{SECRET}{c}{SECRET}" for c in RESERVED))
FORMS = (
    "{0}",
    "{0}@h:1/0",
    "redis:{0}@h",
    "redis:/:{0}@h",
    "redis://:{0}",
    "redis://me:{0}",
    "redis://{0}@",
    "redis://:{0}@:/#",
    "redis://:{0}@h:port",
    "redis://:{0}@h:1:2",
    "redis://h:{0}/0",
    "redis://h/{0}",
    "redis://h/0?{0}",
    "redis://h/0?{0}=1",
    "redis://h/0?db={0}",
    "redis://h/0#{0}",
    "unix://{0}",
    "unix://:{0}@h/run/redis.sock",
    "http://:{0}@h",
    "redis+cluster://a,:{0}",
    "redis+cluster://:{0}@a,,b",
    "redis+cluster://a/{0}",
    "redis+sentinel://:{0}@a",
    "redis+sentinel://a/feed/{0}",
    "redis+sentinel://a:{0}/feed",
)


@pytest.mark.parametrize("form", FORMS)
def test_no_part_of_a_malformed_url_is_quoted(form: str) -> None:
    for password in PASSWORDS:
        try:
            shown = [repr(parse(form.format(password)))]
        except ValueError as error:
            shown = traceback.format_exception(error)
        assert not [line for line in shown if SECRET in line], password


@pytest.mark.parametrize("character", "/?#[ ")
def test_a_reserved_character_in_a_password_names_its_mend(character: str) -> None:
    with pytest.raises(ValueError, match="percent-encode"):
        parse(f"redis://:pass{character}word@h:6379/0")
