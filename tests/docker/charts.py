"""The Helm chart, rendered by Helm's own engine; no cluster is asked."""

import functools
from typing import Any

import yaml
from helm_python import Chart

from tests.docker.conftest import DOCKER

CHART = DOCKER / "helm" / "umzero"
DEFAULT: dict[str, Any] = {}
REPLICAS: dict[str, Any] = yaml.safe_load((DOCKER / "helm/replicas.yaml").read_text())
GPU: dict[str, Any] = yaml.safe_load((DOCKER / "helm/gpu.yaml").read_text())
VALUES = {"default": DEFAULT, "replicas": REPLICAS, "gpu": GPU}


@functools.cache
def chart() -> Chart:
    return Chart.load(CHART)


def render(values: dict[str, Any], release: str = "birds") -> dict[str, dict[str, Any]]:
    """Kind -> its manifest; the chart has one of each, at most.

    Raises:
        HelmValuesError: the values don't fit the chart's schema.
        HelmRenderError: the chart refuses them.
    """
    texts = chart().render(values, name=release, namespace="here")
    found = [yaml.safe_load(text) for name, text in texts.items() if name.endswith(".yaml")]
    manifests = {manifest["kind"]: manifest for manifest in found if manifest}
    assert len(manifests) == sum(map(bool, found))
    return manifests


def pod(manifests: dict[str, dict[str, Any]]) -> dict[str, Any]:
    """Metadata and spec of the Deployment's pods."""
    template: dict[str, Any] = manifests["Deployment"]["spec"]["template"]
    return template


def container(manifests: dict[str, dict[str, Any]]) -> dict[str, Any]:
    (only,) = pod(manifests)["spec"]["containers"]
    return dict(only)
