"""URLs of the store: one server, a cluster, or a primary watched by sentinels."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal
from urllib.parse import urlsplit

SCHEMES = (
    "redis",
    "rediss",
    "unix",
    *(f"redis{s}+{k}" for s in ("", "s") for k in ("cluster", "sentinel")),
)
_PORTS = {"cluster": 6379, "sentinel": 26379}


@dataclass(frozen=True)
class StoreUrl:
    """A parsed URL; ``nodes`` are nodes of the cluster, or sentinels of ``primary``.

    ``url`` is for redis-py: scheme, credentials, database and options. Its host is meant for a
    single server only.
    """

    kind: Literal["server", "cluster", "sentinel"]
    url: str
    nodes: tuple[tuple[str, int], ...] = ()
    primary: str = ""

    @property
    def tls(self) -> bool:
        """Whether connections are encrypted."""
        return self.url.startswith("rediss://")


def parse(url: str) -> StoreUrl:
    """Parse a URL of the store; raises ValueError if it names none.

    - ``redis://``, ``rediss://`` (TLS) and ``unix://``: one server, as in redis-py.
    - ``redis+cluster://HOST:PORT,HOST:PORT``: some nodes of a cluster.
    - ``redis+sentinel://HOST:PORT,HOST:PORT/PRIMARY/DB``: sentinels and the primary they watch.

    ``rediss+...`` adds TLS. Credentials before the hosts are for the servers, not for the
    sentinels. Options after ``?`` are those of redis-py.
    """
    scheme, separator, rest = url.partition("://")
    if not separator or scheme not in SCHEMES:
        raise ValueError(f"should begin with one of {', '.join(f'{s}://' for s in SCHEMES)}")
    plain, _, kind = scheme.partition("+")
    if not kind:
        return StoreUrl("server", url)
    rest, question, options = rest.partition("?")
    authority, _, path = rest.partition("/")
    credentials, at, hosts = authority.rpartition("@")
    nodes = tuple(_node(host, _PORTS[kind]) for host in hosts.split(","))
    primary, _, database = path.partition("/")
    if kind == "cluster":
        if path.strip("/") not in ("", "0"):
            raise ValueError("a cluster has no databases: leave the path out")
        return StoreUrl(
            "cluster", f"{plain}://{credentials}{at}{_text(nodes[0])}{question}{options}", nodes
        )
    if not primary:
        raise ValueError(
            "should name the primary after the sentinels: redis+sentinel://HOST:PORT/PRIMARY"
        )
    path = f"/{database}" if database else ""
    return StoreUrl(
        "sentinel",
        f"{plain}://{credentials}{at}{_text(nodes[0])}{path}{question}{options}",
        nodes,
        primary,
    )


def without_password(url: str) -> str:
    """Return ``url`` without credentials and options, fit for messages."""
    scheme, separator, rest = url.partition("://")
    return f"{scheme}{separator}{rest.partition('?')[0].rpartition('@')[2]}"


def _node(text: str, port: int) -> tuple[str, int]:
    node = urlsplit(f"//{text}")
    if not node.hostname:
        raise ValueError(f"{text!r} is no HOST or HOST:PORT")
    return node.hostname, node.port or port


def _text(node: tuple[str, int]) -> str:
    host, port = node
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
