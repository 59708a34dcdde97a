"""The pods that the Helm chart makes, against the image, the settings and the chart's own page."""

import itertools
import math
import shlex
import tomllib
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import yaml
from helm_python import HelmRenderError, parse_set_string

from service.errors import ConfigurationError
from service.settings import Settings, read
from service.workers.supervisor import GRACE_S
from tests.docker.charts import CHART, REPLICAS, VALUES, chart, container, pod, render
from tests.integration.conftest import REPOSITORY

DATABASE = {"database": {"existingSecret": "mine"}}
PAGE = (REPOSITORY / "docs/how-to/kubernetes.md").read_text()


@pytest.mark.parametrize("values", [{"replicas": 2}, {"autoscaling": {"enabled": True}}])
def test_several_replicas_need_a_database_that_they_can_share(values: dict[str, Any]) -> None:
    with pytest.raises(HelmRenderError, match=r"need database\.existingSecret, a Secret"):
        render(values)

    assert render(values | DATABASE)["Deployment"]["kind"] == "Deployment"


def test_the_least_replicas_may_not_be_above_the_most() -> None:
    scaled = {"enabled": True, "minReplicas": 7}

    with pytest.raises(HelmRenderError, match=r"minReplicas, 7, is above autoscaling\.maxReplicas"):
        render({"autoscaling": scaled} | DATABASE)

    assert render({"autoscaling": scaled | {"maxReplicas": 7}} | DATABASE)


def test_how_many_replicas_there_are_is_said_in_one_place() -> None:
    fixed, scaled = render({"replicas": 3} | DATABASE), render(REPLICAS)
    target = scaled["HorizontalPodAutoscaler"]["spec"]["scaleTargetRef"]
    deployment = scaled["Deployment"]

    assert fixed["Deployment"]["spec"]["replicas"] == 3
    assert "HorizontalPodAutoscaler" not in fixed
    assert "replicas" not in deployment["spec"]
    assert (target["apiVersion"], target["kind"], target["name"]) == (
        deployment["apiVersion"],
        deployment["kind"],
        deployment["metadata"]["name"],
    )


@pytest.mark.parametrize("name", VALUES)
def test_a_container_is_told_settings_that_there_are_and_no_secret(name: str) -> None:
    manifests = render(VALUES[name])
    variables = {item["name"]: item for item in container(manifests)["env"]}
    told = {name for name, item in variables.items() if "value" in item}
    asked = {name: item["valueFrom"] for name, item in variables.items() if name not in told}

    assert variables.keys() <= {f"UMZERO_{field.upper()}" for field in Settings.model_fields}
    assert not told & {"UMZERO_DATABASE_URL", "UMZERO_ADMIN_TOKEN"}
    assert all(source.keys() == {"secretKeyRef"} for source in asked.values())


def test_secrets_are_named_by_their_owner() -> None:
    values = {
        "database": {"existingSecret": "theirs", "key": "dsn"},
        "admin": {"existingSecret": "ours", "key": "password"},
    }
    found = {
        item["name"]: item["valueFrom"]["secretKeyRef"]
        for item in container(render(values))["env"]
        if "valueFrom" in item
    }

    assert found == {
        "UMZERO_DATABASE_URL": {"name": "theirs", "key": "dsn"},
        "UMZERO_ADMIN_TOKEN": {"name": "ours", "key": "password"},
    }


@pytest.mark.parametrize(("name", "target"), [("default", "cpu"), ("gpu", "gpu")])
def test_a_pod_is_what_its_image_is_made_for(
    dockerfile: ModuleType, name: str, target: str
) -> None:
    stage = dockerfile.read()[target]
    manifests = render(VALUES[name])
    spec, own = pod(manifests)["spec"], container(manifests)
    (listening,) = own["ports"]
    (exposed,) = stage.all("EXPOSE")
    (kept,) = stage.all("VOLUME")
    (user,) = stage.all("USER")
    security = spec["securityContext"]

    assert own["image"] == f"umzero:{chart().metadata['appVersion']}-{target}"
    assert str(listening["containerPort"]) == exposed.text == stage.environment()["UMZERO_PORT"]
    assert stage.environment()["UMZERO_HOST"] == "0.0.0.0"
    assert f"{security['runAsUser']}:{security['runAsGroup']}" == user.text
    assert {m["mountPath"] for m in own["volumeMounts"]} == {"/tmp", kept.text}
    assert stage.environment()["UMZERO_STATE_DIR"] == kept.text


@pytest.mark.parametrize("name", VALUES)
def test_a_pod_has_no_rights(name: str) -> None:
    manifests = render(VALUES[name])
    spec, own = pod(manifests)["spec"], container(manifests)

    assert spec["securityContext"]["runAsNonRoot"] is True
    assert spec["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
    assert own["securityContext"] == {
        "allowPrivilegeEscalation": False,
        "readOnlyRootFilesystem": True,
        "capabilities": {"drop": ["ALL"]},
    }
    assert spec["automountServiceAccountToken"] is False


@pytest.mark.parametrize("drain_s", [None, "45.5"])
def test_a_pod_is_given_the_time_to_sleep_and_to_drain(drain_s: str | None) -> None:
    manifests = render({"config": {"UMZERO_DRAIN_S": drain_s}} if drain_s else {})
    (told,) = [i["value"] for i in container(manifests)["env"] if i["name"] == "UMZERO_DRAIN_S"]
    sleep = container(manifests)["lifecycle"]["preStop"]["sleep"]["seconds"]
    grace = pod(manifests)["spec"]["terminationGracePeriodSeconds"]

    assert float(told) == float(drain_s or Settings.model_fields["drain_s"].default)
    assert grace > sleep + math.ceil(float(told)) + GRACE_S


def test_the_variables_that_kubernetes_makes_of_a_service_are_kept_away(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    manifests = render({}, release="umzero")
    name = manifests["Service"]["metadata"]["name"].upper().replace("-", "_")
    assert pod(manifests)["spec"]["enableServiceLinks"] is False

    monkeypatch.setenv(f"{name}_PORT", "tcp://10.96.0.7:8000")
    with pytest.raises(ConfigurationError, match="UMZERO_PORT"):
        read({})


def test_a_bundle_of_ones_own_is_mounted_beside_what_the_image_needs() -> None:
    claim = {"name": "mine", "persistentVolumeClaim": {"claimName": "mine", "readOnly": True}}
    mount = {"name": "mine", "mountPath": "/bundle", "readOnly": True}
    manifests = render({"extraVolumes": [claim], "extraVolumeMounts": [mount]})

    volumes = {item["name"]: item for item in pod(manifests)["spec"]["volumes"]}
    mounts = container(manifests)["volumeMounts"]
    assert volumes["mine"] == claim
    assert mount in mounts
    assert {item["name"] for item in mounts} == volumes.keys() == {"tmp", "state", "mine"}


def test_the_chart_is_of_the_projects_version() -> None:
    project = tomllib.loads((REPOSITORY / "pyproject.toml").read_text())["project"]

    assert chart().metadata["appVersion"] == project["version"]


def test_the_commands_of_the_page_name_values_that_the_chart_takes() -> None:
    commands = [
        shlex.split(line)
        for line in PAGE.replace("\\\n", " ").splitlines()
        if line.startswith("helm ")
    ]
    options = [pair for words in commands for pair in itertools.pairwise(words)]
    files = [value for name, value in options if name == "--values"]
    values = [parse_set_string(value) for name, value in options if name == "--set"]
    values += [yaml.safe_load(Path(REPOSITORY, file).read_text()) for file in files]

    assert len(commands) >= 2
    assert all(str(CHART.relative_to(REPOSITORY)) in words for words in commands)
    assert {"docker/helm/replicas.yaml", "docker/helm/gpu.yaml"} <= set(files)
    for given in values:
        assert render(given)
