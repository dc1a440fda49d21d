"""Kubernetes: the base and the overlay, as kustomize builds them, fit the API's schemas."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path
from typing import Any

import kubernetes_validate
import pytest
import yaml
from fastapi.routing import APIRoute
from typer.main import get_command

from docker.kubernetes import prometheusrule
from service import app, tracing
from service.api import operations
from service.logs import writer
from service.models import loader
from service.settings import PREFIX, Settings
from service.store import records
from tests.integration.docker.conftest import DOCKER, ROOT, load_yaml
from training.cli.app import app as commands
from training.feed.specification import read_feed

KUBERNETES = DOCKER / "kubernetes"
VERSION = "1.34"
OPERATOR = {"ServiceMonitor", "PrometheusRule"}  # kinds of the Prometheus operator, not the API

Objects = dict[str, dict[str, Any]]


def _build(folder: str) -> Objects:
    """Return the objects of a kustomization by kind."""
    return {each["kind"]: each for each in _documents(KUBERNETES / folder)}


def _documents(folder: Path) -> list[dict[str, Any]]:
    """Return the objects of a kustomization."""
    if shutil.which("kustomize"):
        command = ["kustomize", "build"]
    elif shutil.which("kubectl"):
        command = ["kubectl", "kustomize"]
    else:
        pytest.skip("neither kustomize nor kubectl is on the PATH")
    done = subprocess.run([*command, str(folder)], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return list(yaml.safe_load_all(done.stdout))


@pytest.fixture(scope="module", params=["base", "overlays/production"])
def objects(request: pytest.FixtureRequest) -> Objects:
    return _build(request.param)


@pytest.fixture(scope="module")
def base() -> Objects:
    """Objects of the base by kind, read from its files: this needs no kustomize."""
    names = load_yaml(KUBERNETES / "base" / "kustomization.yaml")["resources"]
    documents = [load_yaml(KUBERNETES / "base" / name) for name in names]
    return {each["kind"]: each for each in documents}


def _check(objects: Objects) -> None:
    for kind, each in objects.items():
        if kind not in OPERATOR:
            kubernetes_validate.validate(each, VERSION, strict=True)


def test_files_fit_the_api(base: Objects) -> None:
    _check(base)


def test_built_objects_fit_the_api(objects: Objects) -> None:
    assert len(objects) == 9
    _check(objects)


def test_a_misspelt_field_is_refused(base: Objects) -> None:
    budget = base["PodDisruptionBudget"]
    with pytest.raises(kubernetes_validate.ValidationError):
        kubernetes_validate.validate(
            {**budget, "spec": {**budget["spec"], "minAvailabel": 1}}, VERSION, strict=True
        )


def test_selectors_find_the_pods(base: Objects) -> None:
    template = base["Deployment"]["spec"]["template"]
    labels = template["metadata"]["labels"].items()
    selectors = [
        base["Deployment"]["spec"]["selector"]["matchLabels"],
        base["Service"]["spec"]["selector"],
        base["PodDisruptionBudget"]["spec"]["selector"]["matchLabels"],
        base["NetworkPolicy"]["spec"]["podSelector"]["matchLabels"],
    ]
    for selector in selectors:
        assert selector.items() <= labels
    target = base["HorizontalPodAutoscaler"]["spec"]["scaleTargetRef"]
    assert (target["kind"], target["name"]) == (
        "Deployment",
        base["Deployment"]["metadata"]["name"],
    )
    account = template["spec"]["serviceAccountName"]
    assert account == base["ServiceAccount"]["metadata"]["name"]


def test_the_monitor_selects_the_service(objects: Objects) -> None:
    service, monitor = objects["Service"], objects["ServiceMonitor"]
    labels = monitor["spec"]["selector"]["matchLabels"]
    assert labels.items() <= service["metadata"]["labels"].items()
    (endpoint,) = monitor["spec"]["endpoints"]
    assert set(endpoint) == {"port", "path", "interval"}
    assert endpoint["port"] in {port["name"] for port in service["spec"]["ports"]}
    # The operator sets `job` to the name of the service; rules and dashboards use paretorank.
    assert service["metadata"]["name"] == "paretorank"


def test_probed_routes_exist(base: Objects) -> None:
    paths = {route.path for route in operations.router.routes if isinstance(route, APIRoute)}
    (container,) = base["Deployment"]["spec"]["template"]["spec"]["containers"]
    probes = [container[f"{kind}Probe"]["httpGet"] for kind in ("startup", "readiness", "liveness")]
    assert [probe["path"] for probe in probes] == ["/livez", "/readyz", "/livez"]
    assert {probe["path"] for probe in probes} <= paths


def test_a_stop_fits_into_the_grace_periods(base: Objects) -> None:
    spec = base["Deployment"]["spec"]["template"]["spec"]
    (container,) = spec["containers"]
    wait_s = int(container["lifecycle"]["preStop"]["exec"]["command"][1])
    closing_s = (
        app._STOP_S + loader._FOLLOWER_S + records._CLOSE_S + tracing._CLOSE_S + writer._FLUSH_S
    )
    longest_s = Settings.model_fields["drain_s"].default + closing_s
    assert wait_s + longest_s < spec["terminationGracePeriodSeconds"]
    compose = load_yaml(ROOT / "docker-compose.yml")["services"]["service"]
    assert longest_s < int(compose["stop_grace_period"].removesuffix("s"))


def test_only_named_clients_and_prometheus_may_call(objects: Objects) -> None:
    clients, *others = [
        peer for rule in objects["NetworkPolicy"]["spec"]["ingress"] for peer in rule["from"]
    ]
    assert clients["podSelector"]["matchLabels"] == {"paretorank.io/client": "true"}
    assert [peer["namespaceSelector"]["matchLabels"] for peer in others] == [
        {"kubernetes.io/metadata.name": "monitoring"}
    ]


def test_the_production_frontend_has_a_namespace() -> None:
    policy = _build("overlays/production")["NetworkPolicy"]["spec"]
    (clients, *_) = policy["ingress"][0]["from"]
    assert clients["namespaceSelector"]["matchLabels"] == {
        "kubernetes.io/metadata.name": "frontend"
    }
    assert policy["egress"][1]["to"] == [{"ipBlock": {"cidr": "10.20.0.0/16"}}]


def test_a_node_drains_past_replicas_that_are_not_ready(base: Objects) -> None:
    assert base["PodDisruptionBudget"]["spec"]["unhealthyPodEvictionPolicy"] == "AlwaysAllow"


def test_containers_are_hardened(base: Objects) -> None:
    spec = base["Deployment"]["spec"]["template"]["spec"]
    assert spec["securityContext"]["runAsNonRoot"] is True
    for container in [*spec["initContainers"], *spec["containers"]]:
        context = container["securityContext"]
        assert context["readOnlyRootFilesystem"] is True
        assert context["allowPrivilegeEscalation"] is False
        assert context["capabilities"] == {"drop": ["ALL"]}
        assert "memory" in container["resources"]["limits"]


def test_the_store_url_is_a_secret_and_settings_exist(objects: Objects) -> None:
    (container,) = objects["Deployment"]["spec"]["template"]["spec"]["containers"]
    (url,) = container["env"]
    assert url["name"] == "RANK_REDIS_URL"
    assert set(url["valueFrom"]) == {"secretKeyRef"}
    settings = {PREFIX + name.upper() for name in Settings.model_fields}
    assert objects["ConfigMap"]["data"].keys() <= settings
    (source,) = container["envFrom"]
    assert source["configMapRef"]["name"] == objects["ConfigMap"]["metadata"]["name"]


def test_the_keys_are_a_secret_that_is_read_only(objects: Objects) -> None:
    spec = objects["Deployment"]["spec"]["template"]["spec"]
    (container,) = spec["containers"]
    (secret,) = [v["secret"]["secretName"] for v in spec["volumes"] if v["name"] == "keys"]
    assert secret == "paretorank-keys"
    (mount,) = [mount for mount in container["volumeMounts"] if mount["name"] == "keys"]
    assert mount["readOnly"] is True
    settings = objects["ConfigMap"]["data"]
    assert settings["RANK_KEYS_FILE"] == f"{mount['mountPath']}/keys.json"


def test_the_open_port_admits_the_network_of_prometheus_alone(
    base: Objects, objects: Objects
) -> None:
    (container,) = base["Deployment"]["spec"]["template"]["spec"]["containers"]
    ports = {port["name"]: port["containerPort"] for port in container["ports"]}
    assert objects["ConfigMap"]["data"]["RANK_ADMIN_PORT"] == str(ports["admin"])
    peers = {
        rule["ports"][0]["port"]: rule["from"] for rule in base["NetworkPolicy"]["spec"]["ingress"]
    }
    assert set(peers) == {"http", "admin"}
    assert all("podSelector" not in peer for peer in peers["admin"])
    (endpoint,) = base["ServiceMonitor"]["spec"]["endpoints"]
    assert endpoint["port"] == "admin"


def test_the_cluster_has_the_alerts_of_the_local_stack() -> None:
    assert prometheusrule.OUT.read_text() == prometheusrule.manifest(), (
        "run python -m docker.kubernetes.prometheusrule"
    )
    rule = load_yaml(prometheusrule.OUT)
    local = [
        group
        for name in ("rules.yml", "alerts.yml")
        for group in load_yaml(DOCKER / "prometheus" / name)["groups"]
    ]
    assert rule["spec"]["groups"] == local


def test_an_overlay_takes_the_worker_in(tmp_path: Path) -> None:
    here = {"base": KUBERNETES / "base", "collect": KUBERNETES / "collect"}
    paths = {
        name: os.path.relpath(path.resolve(), tmp_path.resolve()) for name, path in here.items()
    }
    kustomization = {"resources": [paths["base"]], "components": [paths["collect"]]}
    (tmp_path / "kustomization.yaml").write_text(yaml.safe_dump(kustomization))
    deployments = [each for each in _documents(tmp_path) if each["kind"] == "Deployment"]
    (worker,) = [each for each in deployments if each["metadata"]["name"] == "paretorank-collect"]
    volumes = worker["spec"]["template"]["spec"]["volumes"]
    (feed,) = [volume["configMap"]["name"] for volume in volumes if volume["name"] == "feed"]
    assert feed.startswith("paretorank-collect-")  # changed content is rolled out


@pytest.fixture(scope="module")
def worker() -> Objects:
    """Objects of the worker by kind, read from its files."""
    names = load_yaml(KUBERNETES / "collect" / "kustomization.yaml")["resources"]
    documents = [load_yaml(KUBERNETES / "collect" / name) for name in names]
    return {each["kind"]: each for each in documents}


def test_the_worker_fits_the_api_and_is_hardened(worker: Objects) -> None:
    _check(worker)
    test_containers_are_hardened(worker)


def test_the_worker_is_found_and_runs_a_command(worker: Objects) -> None:
    pod = worker["Deployment"]["spec"]["template"]
    for selector in (
        worker["Deployment"]["spec"]["selector"]["matchLabels"],
        worker["Service"]["spec"]["selector"],
        worker["NetworkPolicy"]["spec"]["podSelector"]["matchLabels"],
    ):
        assert selector.items() <= pod["metadata"]["labels"].items()
    (container,) = pod["spec"]["containers"]
    name, *options = container["args"]
    program: Any = get_command(commands)
    arguments = program.commands[name].make_context(name, options).params
    mounts = {mount["mountPath"] for mount in container["volumeMounts"]}
    assert {str(arguments["logs"]), str(arguments["models"])} <= mounts
    (port,) = container["ports"]
    assert port["containerPort"] == arguments["metrics_port"]
    volumes = {volume["name"]: volume for volume in pod["spec"]["volumes"]}
    claim = worker["PersistentVolumeClaim"]["metadata"]["name"]
    assert volumes["log"]["persistentVolumeClaim"]["claimName"] == claim
    assert read_feed(KUBERNETES / "collect" / "feed.toml").proxies
