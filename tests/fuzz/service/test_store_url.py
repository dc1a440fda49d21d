"""No error about a store's URL repeats its secret, wherever the URL is malformed."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from service.contract.store_url import SCHEMES, parse
from service.settings import Settings

SECRET = "hunter2"  # in the tests' URLs

_noise = st.text(alphabet=":/@#?&=%[],.\\ \n\x00\udcff5x", max_size=6) | st.text(max_size=4)
_hosts = st.sampled_from(
    ["", "redis", "redis:6379", "a:1,b:2", "[::1]:6379", "a:x", "[", "a:99999"]
)
_rest = st.sampled_from(["", "/", "/0", "/primary/0", "/0?db=1", "?socket_timeout=x", "?ssl=1"])
_schemes = st.sampled_from([f"{scheme}://" for scheme in SCHEMES]) | st.sampled_from(
    ["", "http://", "redis:", "redis:/", "Redis://", "redis+cluster:"]
)


@st.composite
def urls(draw: st.DrawFn) -> str:
    """URLs of any form with the secret where a password belongs."""
    user, at = draw(st.sampled_from(["", "user"])), draw(st.sampled_from(["@", "@", "@", ""]))
    password = f"{draw(_noise)}{SECRET}{draw(_noise)}"
    return f"{draw(_schemes)}{user}:{password}{at}{draw(_hosts)}{draw(_rest)}"


@given(urls())
def test_a_secret_stays_out_of_errors_and_of_what_is_printed(url: str) -> None:
    try:
        printed = repr(parse(url))
    except ValueError as error:
        printed = f"{error!r} {error}"
    assert SECRET not in printed


@given(urls())
def test_a_secret_stays_out_of_what_the_service_says(url: str) -> None:
    try:
        Settings(redis_url=url)
    except ValidationError as error:
        assert SECRET not in " ".join(problem["msg"] for problem in error.errors())
        assert SECRET not in str(error)


@given(st.text())
def test_any_text_is_a_url_or_refused(text: str) -> None:
    try:
        store = parse(text)
    except ValueError as error:
        assert len(str(error)) < 500 + len(text)
    else:
        assert store.kind in ("server", "cluster", "sentinel")


@pytest.mark.parametrize("scheme", SCHEMES)
def test_every_scheme_is_reached(scheme: str) -> None:
    url = "unix:///run/redis.sock" if scheme == "unix" else f"{scheme}://:{SECRET}@redis:1/primary"
    if "cluster" in scheme or scheme in ("redis", "rediss"):
        url = url.removesuffix("/primary")
    assert parse(url).url
