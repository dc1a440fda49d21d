"""URLs of the store: one server, a cluster, or a primary watched by sentinels.

A URL may contain a password. No error of this module quotes any part of a URL: where a URL is
malformed, any part may be a piece of the password.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import Literal
from urllib.parse import urlsplit

SCHEMES = (
    "redis",
    "rediss",
    "unix",
    *(f"redis{s}+{k}" for s in ("", "s") for k in ("cluster", "sentinel")),
)
# Options that all clients of redis-py know and that change no reply, with patterns of their values.
_SECONDS, _NUMBER, _FLAG, _TEXT = r"\d+(\.\d+)?", r"\d+", "true|false|yes|no|1|0", ".+"
OPTIONS = {
    "db": _NUMBER,
    "username": _TEXT,
    "password": _TEXT,
    "client_name": _TEXT,
    "socket_timeout": _SECONDS,
    "socket_connect_timeout": _SECONDS,
    "socket_keepalive": _FLAG,
    "health_check_interval": _NUMBER,
    "max_connections": "[1-9][0-9]*",
}
TLS_OPTIONS = {
    "ssl_ca_certs": _TEXT,
    "ssl_certfile": _TEXT,
    "ssl_keyfile": _TEXT,
    "ssl_cert_reqs": "none|optional|required",
    "ssl_check_hostname": _FLAG,
}
_PORTS = {"server": 6379, "cluster": 6379, "sentinel": 26379}
_MEND = "percent-encode reserved characters of user names and passwords, such as / as %2F"

Kind = Literal["server", "cluster", "sentinel"]


@dataclass(frozen=True)
class StoreUrl:
    """A parsed URL; ``nodes`` are nodes of the cluster, or sentinels of ``primary``.

    ``url`` is for redis-py: scheme, credentials, database and options. Its host is meant for a
    single server only. ``place`` is for messages: the URL without credentials and options.
    """

    kind: Kind
    url: str = field(repr=False)
    place: str
    nodes: tuple[tuple[str, int], ...] = ()
    primary: str = ""

    @property
    def tls(self) -> bool:
        """Whether connections are encrypted."""
        return self.url.startswith("rediss://")


def parse(url: str) -> StoreUrl:
    """Parse a URL of the store; raises ValueError, without any of its text, if it names none.

    - ``redis://HOST:PORT/DB``, ``rediss://`` (TLS) and ``unix:///PATH``: one server.
    - ``redis+cluster://HOST:PORT,HOST:PORT``: some nodes of a cluster.
    - ``redis+sentinel://HOST:PORT,HOST:PORT/PRIMARY/DB``: sentinels and the primary they watch.

    ``rediss+...`` adds TLS. Credentials before the hosts are for the servers, not for the
    sentinels. Options after ``?`` are those of redis-py that ``OPTIONS`` and ``TLS_OPTIONS`` list.
    """
    scheme, separator, rest = url.partition("://")
    if not separator or scheme not in SCHEMES:
        raise ValueError(f"should begin with one of {', '.join(f'{s}://' for s in SCHEMES)}")
    if re.search(r"[\s#\x00-\x1f\x7f]", url):
        raise ValueError(f"contains white space, a control character or '#': {_MEND}")
    plain, _, suffix = scheme.partition("+")
    kind: Kind = "cluster" if suffix == "cluster" else "sentinel" if suffix else "server"
    rest, question, options = rest.partition("?")
    authority, slash, path = rest.partition("/")
    credentials, at, hosts = authority.rpartition("@")
    known = {
        "redis": OPTIONS,
        "rediss": OPTIONS | TLS_OPTIONS,
        "unix": {name: OPTIONS[name] for name in OPTIONS if name != "socket_keepalive"},
    }
    if question:
        _check_options(options, known[plain])
    if plain == "unix":
        if hosts or not path or "@" in path:
            raise ValueError("should name an absolute path after credentials: unix:///PATH")
        return StoreUrl(kind, url, f"unix:///{path}")
    names = hosts.split(",") if suffix else [hosts]
    nodes = tuple(_node(name, _PORTS[kind]) for name in names)
    place = f"{scheme}://{','.join(map(_text, nodes))}{slash}{path}"
    primary, _, database = path.partition("/") if kind == "sentinel" else ("", "", path)
    if not re.fullmatch(r"(\d+/?)?", database):
        raise ValueError(f"the database after the hosts is no number; {_MEND}")
    if kind == "cluster" and (database.strip("/") not in ("", "0") or _names(options, "db")):
        raise ValueError("a cluster has no databases: leave the path and the option db out")
    if kind == "sentinel" and not re.fullmatch(r"[\w.-]+", primary):
        raise ValueError(
            "should name the primary after the sentinels: redis+sentinel://HOST:PORT/PRIMARY"
        )
    if kind == "server":
        return StoreUrl(kind, _readable(url), place)
    path = f"/{database}" if kind == "sentinel" and database else ""
    base = f"{plain}://{credentials}{at}{_text(nodes[0])}{path}{question}{options}"
    return StoreUrl(kind, _readable(base), place, nodes, primary)


def _readable(url: str) -> str:
    """Return ``url`` if urllib, and so redis-py, reads it; its own errors quote credentials."""
    try:
        urlsplit(url)
    except ValueError:
        raise ValueError(f"has credentials that cannot be read; {_MEND}") from None
    return url


def _check_options(options: str, known: dict[str, str]) -> None:
    for number, option in enumerate(options.split("&"), start=1):
        name, _, value = option.partition("=")
        if name not in known:
            mend = "rediss:// takes it" if name in TLS_OPTIONS else f"known: {', '.join(known)}"
            raise ValueError(f"option {number} after '?' is unknown; {mend}; {_MEND}")
        if not re.fullmatch(known[name], value, re.IGNORECASE):
            raise ValueError(f"option {name} after '?' has no value that it allows")


def _names(options: str, name: str) -> bool:
    return any(option.startswith(f"{name}=") for option in options.split("&"))


def _node(text: str, port: int) -> tuple[str, int]:
    """Return host and port of ``text``; raises ValueError without any of it."""
    try:
        node = urlsplit(f"//{text}")
        host, port = node.hostname or "", port if node.port is None else node.port
    except ValueError:  # its message quotes the text
        raise ValueError(f"names a port that is no number from 0 to 65535; {_MEND}") from None
    if not re.fullmatch(r"[\w.:-]+", host):
        raise ValueError(f"should name HOST or HOST:PORT after credentials; {_MEND}")
    return host, port


def _text(node: tuple[str, int]) -> str:
    host, port = node
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
