"""The event log: what users did with shown items, written to the store's streams."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from service.contract.feedback import Event, encode, events_key
from service.errors import OverloadedError
from service.settings import Settings
from service.settings.network import entries
from service.store.feedback import FeedbackStreams
from service.store.histories import Histories
from service.telemetry import Telemetry


class EventLog:
    """Writes events to their streams, and engagements among them to their users' histories.

    At most ``event_queue`` calls may wait for the store. ``count`` gets user and kind of each event
    that names its user.
    """

    def __init__(
        self,
        settings: Settings,
        streams: FeedbackStreams,
        histories: Histories,
        telemetry: Telemetry,
        count: Callable[[str, str], None],
    ) -> None:
        self._namespace = settings.namespace
        self._engagements = frozenset(entries(settings.engagement_kinds))
        self._histories = histories if settings.user_histories else None
        self._streams = streams
        self._telemetry = telemetry
        self._count = count
        self._limit = settings.event_queue
        self._open = 0

    async def add(self, events: Sequence[Event]) -> None:
        """Write events. Raises StoreError; some may then be written, and all may be sent again.

        Raises OverloadedError at once if too many calls wait.
        """
        if self._open >= self._limit:
            raise OverloadedError("too many events wait for the store: try again", queue="events")
        self._open += 1
        try:
            records = self._streams.by_shard((event.request_id, encode(event)) for event in events)
            for shard, of_shard in records.items():
                await self._streams.append(events_key(self._namespace, shard), of_shard)
            if self._histories is not None:
                await self._histories.add(
                    [
                        (event.user_id, event.item_id, event.time_ms)
                        for event in events
                        if event.user_id is not None and event.kind in self._engagements
                    ]
                )
        finally:
            self._open -= 1
        self._telemetry.events["accepted"].inc(len(events))
        for event in events:
            if event.user_id is not None:
                self._count(event.user_id, event.kind)
