"""Who asks the pods of the Helm chart, and where: probes, Prometheus, the Service, the Ingress."""

import importlib
import pkgutil
import re
import subprocess
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
import yaml
from fastapi.routing import APIRoute

from model.bundle import Bundle
from service.http import routes
from service.settings import Settings
from tests.docker.charts import REPLICAS, VALUES, container, pod, render
from tests.docker.conftest import DOCKER
from tests.integration.conftest import REPOSITORY, Server

ALERTS = yaml.safe_load((DOCKER / "alerts.yml").read_text())
PAGE = (REPOSITORY / "docs/how-to/kubernetes.md").read_text()
# Of the framework, beside our own routes.
PAGES_OF_FASTAPI = {"/docs", "/openapi.json"}


@pytest.fixture(scope="module")
def server(bundle: Bundle, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A process with the variables that the Deployment sets, but for those from Secrets."""
    folder = tmp_path_factory.mktemp("pod")
    variables = container(render(REPLICAS))["env"]
    given = {variable["name"]: variable["value"] for variable in variables if "value" in variable}
    own = {"UMZERO_BUNDLE": str(bundle.path), "UMZERO_STATE_DIR": str(folder)}
    running = Server(given | own, folder / "log")
    yield running
    running.kill()


def test_the_paths_of_the_probes_answer(server: Server) -> None:
    own = container(render(REPLICAS))
    probes = {name: own[f"{name}Probe"]["httpGet"] for name in ("startup", "liveness", "readiness")}

    answers = {name: server.client.get(probe["path"]) for name, probe in probes.items()}

    told = {name: (answer.status_code, answer.json()) for name, answer in answers.items()}
    assert told == {
        "startup": (200, {"status": "started"}),
        "liveness": (200, {"status": "alive"}),
        "readiness": (200, {"status": "ready"}),
    }
    assert {probe["port"] for probe in probes.values()} == {own["ports"][0]["name"]}


def test_the_metric_that_scales_is_one_gauge_of_a_replica(server: Server) -> None:
    manifests = render(REPLICAS)
    (metric,) = manifests["HorizontalPodAutoscaler"]["spec"]["metrics"]
    (endpoint,) = manifests["ServiceMonitor"]["spec"]["endpoints"]
    name = metric["pods"]["metric"]["name"]

    text = httpx.get(server.url + endpoint["path"]).text

    assert f"# TYPE {name} gauge" in text
    assert re.findall(rf"^{name}\b.*", text, re.M) == [f"{name} 0.0"]
    most = Settings.model_fields["queue_capacity"].default
    assert 0 < int(metric["pods"]["target"]["averageValue"]) < most


def test_the_rule_of_the_page_makes_that_metric_one_of_pods(promtool: str, tmp_path: Path) -> None:
    (scaling,) = render(REPLICAS)["HorizontalPodAutoscaler"]["spec"]["metrics"]
    (block,) = re.findall(r'title="a rule of prometheus-adapter"\n(.*?)```', PAGE, re.S)
    (rule,) = yaml.safe_load(block)["rules"]
    # As the adapter fills it in when it is asked for two pods.
    filled = {"Series": scaling["pods"]["metric"]["name"], "GroupBy": "pod"}
    filled["LabelMatchers"] = 'namespace="here",pod=~"a|b"'
    query = re.sub(r"<<\.(\w+)>>", lambda found: filled[found[1]], rule["metricsQuery"])
    depths = {("here", "a"): 2, ("here", "b"): 20, ("there", "a"): 9}
    test = {
        "interval": "15s",
        "input_series": [
            {"series": f'{filled["Series"]}{{namespace="{space}",pod="{pod}"}}', "values": f"{n}x8"}
            for (space, pod), n in depths.items()
        ],
        "promql_expr_test": [
            {
                "expr": query,
                "eval_time": "2m",
                "exp_samples": [
                    {"labels": f'{{pod="{pod}"}}', "value": n}
                    for (space, pod), n in depths.items()
                    if space == "here"
                ],
            }
        ],
    }
    (tmp_path / "story.yml").write_text(yaml.safe_dump({"tests": [test]}))

    done = subprocess.run(
        [promtool, "test", "rules", str(tmp_path / "story.yml")],
        capture_output=True,
        text=True,
        check=False,
    )

    assert rule["seriesQuery"].startswith(filled["Series"] + "{")
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize("name", VALUES)
def test_all_select_the_pods_that_the_deployment_makes(name: str) -> None:
    manifests = render(VALUES[name])
    labels = pod(manifests)["metadata"]["labels"]
    (spread,) = pod(manifests)["spec"]["topologySpreadConstraints"]
    selectors = [
        manifests["Deployment"]["spec"]["selector"]["matchLabels"],
        manifests["PodDisruptionBudget"]["spec"]["selector"]["matchLabels"],
        manifests["Service"]["spec"]["selector"],
        spread["labelSelector"]["matchLabels"],
    ]

    assert all(selector and selector.items() <= labels.items() for selector in selectors)
    other = pod(render({}, release="fish"))["metadata"]["labels"]
    assert not any(selector.items() <= other.items() for selector in selectors)


@pytest.mark.parametrize("name", VALUES)
def test_the_service_leads_to_the_port_that_the_container_names(name: str) -> None:
    manifests = render(VALUES[name])
    (port,) = manifests["Service"]["spec"]["ports"]
    (listening,) = container(manifests)["ports"]

    assert port["targetPort"] == listening["name"]


def test_prometheus_finds_the_service_and_its_job_is_the_one_of_the_alerts() -> None:
    manifests = render(REPLICAS)
    service, monitor = manifests["Service"], manifests["ServiceMonitor"]["spec"]
    labels = service["metadata"]["labels"]
    (expr,) = [r["expr"] for r in ALERTS["groups"][0]["rules"] if r["alert"] == "UMZeroGone"]
    (jobs,) = re.findall(r'job=~"([^"]+)"', expr)

    assert monitor["selector"]["matchLabels"].items() <= labels.items()
    assert monitor["endpoints"][0]["port"] == service["spec"]["ports"][0]["name"]
    assert re.fullmatch(jobs, labels[monitor["jobLabel"]])
    assert manifests["PrometheusRule"]["spec"] == ALERTS


def test_the_ingress_leads_to_all_but_what_nginx_keeps_inside() -> None:
    (rule,) = render(REPLICAS)["Ingress"]["spec"]["rules"]
    # Those of the server itself; one within another is passed on.
    places = r"^ {8}location (?:= )?(/[^ ]+) {"
    inside = re.findall(places, (DOCKER / "nginx.conf").read_text(), re.M)
    served = {
        route.path
        for module in pkgutil.iter_modules(routes.__path__)
        for route in importlib.import_module(f"{routes.__name__}.{module.name}").router.routes
        if isinstance(route, APIRoute)
    }
    kept = {path for path in served if path.startswith(tuple(inside))}

    def leads_to(path: str) -> bool:
        """By whole elements, as Kubernetes describes `Prefix`."""
        return any(
            path == item["path"]
            or (item["pathType"] == "Prefix" and path.startswith(item["path"] + "/"))
            for item in rule["http"]["paths"]
        )

    assert kept == {"/metrics", "/admin/bundle", "/admin/collections"}
    assert {path for path in served | PAGES_OF_FASTAPI if not leads_to(path)} == kept
    ports = {item["backend"]["service"]["port"]["name"] for item in rule["http"]["paths"]}
    assert ports == {render(REPLICAS)["Service"]["spec"]["ports"][0]["name"]}
