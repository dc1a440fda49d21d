"""A queue for rankings of a large catalogue."""

from __future__ import annotations

from service.ranking.turns import TurnQueue


class FullScanQueue(TurnQueue):
    """Runs full-catalogue rankings one at a time.

    They would block the event loop, and they share memory bandwidth: two at once take twice as
    long.
    """

    def __init__(self, limit: int) -> None:
        message = "too many rankings of the whole catalogue wait: try again, or name candidates"
        super().__init__(limit, queue="scans", message=message)
