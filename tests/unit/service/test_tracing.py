"""Whether spans are wanted: by the setting, else by OpenTelemetry's own variables."""

from __future__ import annotations

import pytest

from service.tracing import wanted

ENDPOINT = {"OTEL_EXPORTER_OTLP_ENDPOINT": "http://collector:4318"}
TRACES = {"OTEL_EXPORTER_OTLP_TRACES_ENDPOINT": "http://collector:4318/v1/traces"}


@pytest.mark.parametrize(
    ("setting", "variables", "answer"),
    [
        (None, {}, False),
        (True, {}, True),
        (None, ENDPOINT, True),
        (None, TRACES, True),
        (False, ENDPOINT, False),
        (None, {**ENDPOINT, "OTEL_TRACES_EXPORTER": "none"}, False),
        (True, {"OTEL_SDK_DISABLED": "true"}, False),
    ],
)
def test_wanted(
    monkeypatch: pytest.MonkeyPatch,
    setting: bool | None,
    variables: dict[str, str],
    answer: bool,
) -> None:
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    assert wanted(setting) is answer
