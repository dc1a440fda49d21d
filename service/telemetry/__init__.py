"""Every metric of the service; the values of every label are bounded.

``docs/reference/metrics.md`` is generated from here by ``docs/tools/reference.py``.
"""

from __future__ import annotations

from service.telemetry.catalogues import Catalogues
from service.telemetry.feedback import Feedback
from service.telemetry.http import Http
from service.telemetry.models import Models
from service.telemetry.rankings import Rankings
from service.telemetry.users import Users


class Telemetry(Http, Rankings, Users, Catalogues, Models, Feedback):
    """The service's Prometheus metrics.

    Metrics whose labels are known in advance start at zero, because a rate needs a sample from
    before the first event.
    """

    def __init__(self) -> None:
        super().__init__()
        self._requests()
        self._connections()
        self._access()
        self._rankings()
        self._store()
        self._user_memory()
        self._catalog()
        self._models()
        self._rollouts()
        self._exposure()
        self._targets()
        self._feedback()
        self._live()
