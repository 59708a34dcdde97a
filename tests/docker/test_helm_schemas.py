"""The Helm chart against schemas: Helm's of a chart, the chart's of its values, Kubernetes' own and
the Prometheus operator's of what it renders."""

import copy
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import kubernetes_validate
import pytest
from cloudcoil.models.prometheus_operator import v1 as prometheus_operator
from helm_python import HelmValuesError, lint

from service.settings import Settings
from tests.docker.charts import CHART, REPLICAS, VALUES, chart, container, pod, render

OPERATOR = {"ServiceMonitor", "PrometheusRule"}
WARNING = 2
# What the image says (see test_helm.py), and what stands in Secrets.
NOT_IN_CONFIG = {"HOST", "PORT", "STATE_DIR", "DATABASE_URL", "ADMIN_TOKEN"}
OLDEST = chart().metadata["kubeVersion"].removeprefix(">=").removesuffix(".0-0")
VERSIONS = [OLDEST, kubernetes_validate.latest_version()]

Manifest = dict[str, Any]


def check(manifest: Manifest, version: str = OLDEST) -> None:
    """Raises where a field is missing, unknown, or of the wrong kind."""
    if manifest["kind"] not in OPERATOR:
        kubernetes_validate.validate(manifest, version, strict=True)
        return
    # The models drop what they don't know.
    model = getattr(prometheus_operator, manifest["kind"]).model_validate(manifest)
    assert model.model_dump(by_alias=True, exclude_unset=True) == manifest


@pytest.mark.parametrize("name", VALUES)
def test_helms_linter_finds_nothing(name: str) -> None:
    told = lint(CHART, VALUES[name], strict=True)

    assert told["total_charts_linted"] == 1
    assert [found for found in told["messages"] if found["severity"] >= WARNING] == []


def test_helms_linter_finds_what_is_wrong(tmp_path: Path) -> None:
    shutil.copytree(CHART, tmp_path / "umzero")
    service = tmp_path / "umzero/templates/service.yaml"
    service.write_text(service.read_text().replace("  ports:", " ports:"))

    assert lint(tmp_path / "umzero", strict=True)["errors"] != []


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize("name", VALUES)
def test_what_is_rendered_fits_the_published_schemas(name: str, version: str) -> None:
    manifests = render(VALUES[name])

    for manifest in manifests.values():
        check(manifest, version)
    always = {"Deployment", "PodDisruptionBudget", "Service"}
    more = {"HorizontalPodAutoscaler", "Ingress", *OPERATOR}
    assert manifests.keys() == (always | more if name == "replicas" else always)


def test_what_no_file_sets_stands_where_the_schemas_know_it() -> None:
    values = {
        "image": {"pullSecrets": [{"name": "registry"}]},
        "ingress": {"enabled": True, "annotations": {"a/b": "c"}},
        "tolerations": [{"key": "gpu", "operator": "Exists"}],
        "nodeSelector": {"zone": "here"},
    }
    plain, manifests = render({}), render(values)

    for manifest in manifests.values():
        check(manifest)
    known, found = pod(plain)["spec"], pod(manifests)["spec"]
    assert found.keys() - known.keys() == {"imagePullSecrets", "tolerations", "nodeSelector"}
    assert manifests["Ingress"]["metadata"]["annotations"] == {"a/b": "c"}


@pytest.mark.parametrize(
    ("kind", "place"),
    [
        ("Deployment", lambda found: found["spec"]["template"]["spec"]["containers"][0]),
        ("Deployment", lambda found: found["spec"]["strategy"]["rollingUpdate"]),
        ("Service", lambda found: found["spec"]["ports"][0]),
        ("PodDisruptionBudget", lambda found: found["spec"]),
        ("HorizontalPodAutoscaler", lambda found: found["spec"]["metrics"][0]["pods"]),
        ("Ingress", lambda found: found["spec"]["rules"][0]),
        ("ServiceMonitor", lambda found: found["spec"]["endpoints"][0]),
        ("PrometheusRule", lambda found: found["spec"]["groups"][0]["rules"][0]),
    ],
)
def test_the_schemas_refuse_a_misspelt_field(
    kind: str, place: Callable[[Manifest], Manifest]
) -> None:
    manifest = copy.deepcopy(render(REPLICAS)[kind])
    check(manifest)
    known = place(manifest)
    name, value = next(iter(known.items()))
    known[f"{name}s"] = value

    with pytest.raises((kubernetes_validate.ValidationError, AssertionError)):
        check(manifest)


def test_config_takes_each_setting_that_neither_the_image_nor_a_secret_gives() -> None:
    schema = chart().schema
    assert schema is not None
    _, ours = schema["properties"]["config"]["propertyNames"]["anyOf"]

    fields = {field.upper() for field in Settings.model_fields}
    assert set(ours["enum"]) == {f"UMZERO_{name}" for name in fields - NOT_IN_CONFIG}
    assert fields > NOT_IN_CONFIG


def test_config_takes_opentelemetrys_own_variables() -> None:
    given = {"UMZERO_TRACES": "otlp", "OTEL_EXPORTER_OTLP_ENDPOINT": "http://collector:4318"}

    env = {item["name"]: item.get("value") for item in container(render({"config": given}))["env"]}

    assert given.items() <= env.items()


@pytest.mark.parametrize(
    ("values", "complaint"),
    [
        ({"replica": 2}, "replica"),
        ({"image": {"tags": "cpu"}}, "tags"),
        ({"config": {"UMZERO_DRAIN": "20"}}, "UMZERO_DRAIN"),
        ({"config": {"OTLP_ENDPOINT": "http://collector:4318"}}, "OTLP_ENDPOINT"),
        ({"config": {"UMZERO_DATABASE_URL": "postgresql://a:b@c/d"}}, "UMZERO_DATABASE_URL"),
        ({"config": {"UMZERO_ADMIN_TOKEN": "only-you-know"}}, "UMZERO_ADMIN_TOKEN"),
        # Helm would write it as 6.7108864e+07.
        ({"config": {"UMZERO_MAX_BODY_BYTES": 67108864}}, "got number, want string"),
        ({"config": {"UMZERO_DRAIN_S": "a while"}}, "pattern"),
        ({"config": {"UMZERO_DRAIN_S": "0"}}, "UMZERO_DRAIN_S"),
        ({"config": {"UMZERO_DRAIN_S": "0.0"}}, "UMZERO_DRAIN_S"),
        ({"config": {"UMZERO_DRAIN_S": None}}, "UMZERO_DRAIN_S"),
        ({"database": {"url": "postgresql://a:b@c/d"}}, "url"),
    ],
)
def test_values_that_no_template_can_use_are_refused(
    values: dict[str, Any], complaint: str
) -> None:
    with pytest.raises(HelmValuesError, match=complaint):
        render(values)
