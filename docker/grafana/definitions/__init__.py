"""One module for each dashboard; a further dashboard is a module here and an entry below."""

from __future__ import annotations

from docker.grafana.definitions import exposure, service_health, store_and_catalogue

DASHBOARDS = (
    service_health.DASHBOARD,
    store_and_catalogue.DASHBOARD,
    exposure.DASHBOARD,
)
