"""docker-compose.yml: every container is hardened and bounded, every setting exists."""

from __future__ import annotations

from typing import Any

import pytest
from typer.main import get_command

from service.settings import PREFIX, Settings
from tests.integration.docker.conftest import ROOT, load_yaml
from training.cli.app import app

COMPOSE = load_yaml(ROOT / "docker-compose.yml")
SERVICES: dict[str, dict[str, Any]] = COMPOSE["services"]


@pytest.mark.parametrize("name", SERVICES)
def test_containers_are_hardened_and_bounded(name: str) -> None:
    service = SERVICES[name]
    assert service["read_only"] is True
    assert service["cap_drop"] == ["ALL"]
    assert service["security_opt"] == ["no-new-privileges:true"]
    assert {"cpus", "memory", "pids"} <= service["deploy"]["resources"]["limits"].keys()
    assert service["image"].startswith("${")


def test_only_loopback_is_published() -> None:
    published = [port for service in SERVICES.values() for port in service.get("ports", [])]
    assert len(published) == 3
    assert all(port.startswith("${BIND:-127.0.0.1}:") for port in published)


def test_the_store_is_internal_and_never_evicts() -> None:
    redis = SERVICES["redis"]
    assert redis["networks"] == ["store"]
    assert COMPOSE["networks"]["store"] == {"internal": True}
    assert "--maxmemory-policy noeviction" in redis["command"]
    assert "--appendonly yes" in redis["command"]


def test_two_replicas_wait_for_a_published_model() -> None:
    service = SERVICES["service"]
    assert service["deploy"]["replicas"] == 2
    assert "ports" not in service
    assert service["depends_on"]["bootstrap"] == {"condition": "service_completed_successfully"}
    assert "models:/models:ro" in service["volumes"]


def test_profiles_keep_training_and_load_out_of_up() -> None:
    profiles = {
        name: service["profiles"] for name, service in SERVICES.items() if "profiles" in service
    }
    assert profiles == {"train": ["train"], "load": ["load"], "collect": ["collect"]}


def test_the_worker_is_watched_and_starts_again() -> None:
    worker = SERVICES["collect"]
    assert worker["restart"] == "unless-stopped"
    (command,) = worker["command"]
    jobs = load_yaml(ROOT / "docker" / "prometheus" / "prometheus.yml")["scrape_configs"]
    (job,) = [job for job in jobs if job["job_name"] == "paretorank-collect"]
    assert job["dns_sd_configs"][0]["names"] == ["collect"]
    assert f"--metrics-port {job['dns_sd_configs'][0]['port']}" in command
    words = command.removeprefix("exec python -m training ").replace("$$COLLECT", "").split()
    commands: Any = get_command(app)
    assert commands.commands[words[0]].make_context(words[0], words[1:])


def test_settings_exist() -> None:
    settings = {PREFIX + name.upper() for name in Settings.model_fields}
    for service in SERVICES.values():
        variables = {name for name in service.get("environment", {}) if name.startswith(PREFIX)}
        assert variables <= settings
