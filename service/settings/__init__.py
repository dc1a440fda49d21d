"""All settings of the service, read from ``RANK_*`` environment variables, in groups."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Self

import annotated_types
from pydantic import SecretStr, model_validator
from pydantic_settings import BaseSettings, SettingsConfigDict

from service.settings.access import Access
from service.settings.admission import Admission
from service.settings.explorer import Explorer
from service.settings.feedback import Feedback
from service.settings.histories import Histories
from service.settings.live import Live
from service.settings.logging import Logging
from service.settings.network import Network
from service.settings.open_inference import OpenInference
from service.settings.rollout import Rollout
from service.settings.serving import Serving
from service.settings.store import Store
from service.settings.tradeoffs import Tradeoffs
from service.settings.users import Users

PREFIX = "RANK_"
GROUPS = (
    Network,
    Access,
    Admission,
    Serving,
    Tradeoffs,
    Rollout,
    Feedback,
    Store,
    Histories,
    Users,
    OpenInference,
    Explorer,
    Live,
    Logging,
)


class Settings(
    Network,
    Access,
    Admission,
    Serving,
    Tradeoffs,
    Rollout,
    Feedback,
    Store,
    Histories,
    Users,
    OpenInference,
    Explorer,
    Live,
    Logging,
    BaseSettings,
):
    """The settings; ``python -m service --help`` prints them with defaults and bounds."""

    model_config = SettingsConfigDict(
        env_prefix=PREFIX,
        frozen=True,
        hide_input_in_errors=True,  # the URL of the store may contain a password
    )

    @model_validator(mode="after")
    def _fit_together(self) -> Self:
        if (self.tls_certificate is None) != (self.tls_key is None):
            raise ValueError("RANK_TLS_CERTIFICATE and RANK_TLS_KEY: set both or neither")
        if self.admin_port and self.admin_port == self.port:
            raise ValueError("RANK_ADMIN_PORT: should differ from RANK_PORT")
        if self.admin_access == "open" and self.admin_port is None:
            raise ValueError("RANK_ADMIN_ACCESS: open needs RANK_ADMIN_PORT")
        self.check_exploration()
        return self


def describe() -> Iterator[tuple[str, str, str, str]]:
    """Yield (variable, default, bounds, description) of each setting."""
    for name, field in [entry for group in GROUPS for entry in group.model_fields.items()]:
        default = field.default
        if isinstance(default, SecretStr):
            default = default.get_secret_value()
        bounds = [_bound(entry) for entry in field.metadata]
        yield (
            PREFIX + name.upper(),
            "" if default is None else str(default),
            ", ".join(filter(None, bounds)),
            field.description or "",
        )


def _bound(entry: object) -> str:
    match entry:
        case annotated_types.Ge(ge=low):
            return f">= {low}"
        case annotated_types.Le(le=high):
            return f"<= {high}"
        case _:
            return str(pattern) if (pattern := getattr(entry, "pattern", None)) else ""
