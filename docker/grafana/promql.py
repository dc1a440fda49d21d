"""PromQL that several panels share; a rate's window is Grafana's ``$__rate_interval``."""

from __future__ import annotations

RANK = 'route="/rank"'


def rate(metric: str, by: str = "", where: str = "") -> str:
    """Return a counter's increase per second, summed over all labels but those in ``by``."""
    total = f"sum by ({by}) " if by else "sum"
    labels = f"{{{where}}}" if where else ""
    return f"{total}(rate({metric}{labels}[$__rate_interval]))"


def quantile(q: float, metric: str, where: str = "", by: str = "") -> str:
    """Return quantile ``q`` of a histogram, for each value of the labels ``by``."""
    labels = ", ".join(filter(None, ("le", by)))
    return (
        f"histogram_quantile({q}, "
        f"sum by ({labels}) (rate({metric}_bucket{{{where}}}[$__rate_interval])))"
    )


def or_zero(expr: str) -> str:
    """Return ``expr``, or 0 where it has no series: an empty panel would look broken."""
    return f"{expr} or vector(0)"


RANKINGS = rate("rank_http_request_seconds_count", where=f'{RANK}, status="200"')
