"""Grafana's dashboard and the alerts, asked of the real Prometheus with `docker/prometheus.yml`."""

import itertools
import json
import math
import socket
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.docker.conftest import DOCKER, Prometheus, Proxy, Traffic, until
from tests.integration.conftest import Server

DASHBOARD: dict[str, Any] = json.loads((DOCKER / "grafana/dashboards/umzero.json").read_text())
PANELS: list[dict[str, Any]] = DASHBOARD["panels"]
QUERIES = [(panel["title"], target["expr"]) for panel in PANELS for target in panel["targets"]]
SHEET = {"attributes": {"has_crown": "red"}}
SCRAPES_EVERY_S = 5
# Grafana's own, for a scrape interval of 5 s: four of them.
RATE_INTERVAL = f"{4 * SCRAPES_EVERY_S}s"


def numbers(samples: list[dict[str, Any]]) -> list[float]:
    found = [float(sample["value"][1]) for sample in samples]
    return [number for number in found if math.isfinite(number)]


def test_every_query_of_the_dashboard_returns_data_of_two_replicas(
    proxy: Proxy, replicas: list[Server], prometheus: Prometheus, picture: Callable[..., bytes]
) -> None:
    names = map(str, itertools.count())
    image = picture("Robin")

    def ask() -> None:
        proxy.client.post("/classify", content=image)
        proxy.client.post("/classify", content=b"no image")
        proxy.client.get("/classes")
        proxy.client.post("/classes", json=SHEET | {"name": next(names)})
        refused_by_its_length(proxy.port)

    addresses = {(f"127.0.0.1:{server.address[1]}",) for server in replicas}
    queries = {expr.replace("$__rate_interval", RATE_INTERVAL) for _, expr in QUERIES}
    assert len(queries) > 12
    by_route = QUERIES[_index("by route")][1].replace("$__rate_interval", RATE_INTERVAL)

    def labels(query: str, *names: str) -> set[tuple[str, ...]]:
        samples = [sample["metric"] for sample in prometheus.ask(query)]
        return {tuple(sample[name] for name in names) for sample in samples}

    def is_there() -> bool:
        answers = {("/classify", "200"), ("/classify", "422"), ("/classes", "201")}
        return (
            all(numbers(prometheus.ask(query)) for query in queries)
            and labels("umzero_ready == 1", "instance") == addresses
            and labels(by_route, "route", "status") >= answers
        )

    with Traffic(ask):
        until(is_there, 90)


def refused_by_its_length(port: int) -> None:
    head = f"POST /classify HTTP/1.1\r\nHost: a\r\nContent-Length: {64 * 2**20 + 1}\r\n\r\n"
    with socket.create_connection(("127.0.0.1", port), timeout=30) as connection:
        connection.sendall(head.encode())
        assert connection.recv(65536).startswith(b"HTTP/1.1 413 ")


def _index(part: str) -> int:
    return next(index for index, (title, _) in enumerate(QUERIES) if part in title)


def test_the_rules_are_loaded_and_can_be_evaluated(prometheus: Prometheus) -> None:
    def evaluated() -> list[dict[str, Any]]:
        groups = prometheus.client.get("/api/v1/rules").json()["data"]["groups"]
        rules = [rule for group in groups for rule in group["rules"]]
        return rules if rules and all(rule["health"] != "unknown" for rule in rules) else []

    rules = until(evaluated)

    assert {rule["name"] for rule in rules} == set(alerts())
    assert {rule["health"] for rule in rules} == {"ok"}


def alerts() -> list[str]:
    groups = yaml.safe_load((DOCKER / "alerts.yml").read_text())["groups"]
    return [rule["alert"] for group in groups for rule in group["rules"]]


def test_promtool_takes_the_configuration_and_its_rules(promtool: str) -> None:
    done = subprocess.run(
        [promtool, "check", "config", str(DOCKER / "prometheus.yml")],
        capture_output=True,
        text=True,
        check=False,
    )

    assert done.returncode == 0, done.stdout + done.stderr
    assert f"{len(alerts())} rules found" in done.stdout


def test_each_alert_fires_when_it_should_and_not_before(promtool: str) -> None:
    story = Path(__file__).with_name("alerts_story.yml")
    told = yaml.safe_load(story.read_text())["tests"]
    expected = [alert for test in told for alert in test["alert_rule_test"]]

    done = subprocess.run(
        [promtool, "test", "rules", str(story)], capture_output=True, text=True, check=False
    )

    assert done.returncode == 0, done.stdout + done.stderr
    for name in alerts():
        fires = {bool(a["exp_alerts"]) for a in expected if a["alertname"] == name}
        assert fires == {True, False}, name


def test_panels_have_a_place_of_their_own_and_the_provisioned_source() -> None:
    (source,) = yaml.safe_load(
        (DOCKER / "grafana/provisioning/datasources/prometheus.yml").read_text()
    )["datasources"]
    interval = yaml.safe_load((DOCKER / "prometheus.yml").read_text())["global"]["scrape_interval"]

    assert source["jsonData"]["timeInterval"] == interval == f"{SCRAPES_EVERY_S}s"
    own = {"type": source["type"], "uid": source["uid"]}
    for panel in PANELS:
        assert panel["datasource"] == own
        assert all(target["datasource"] == own for target in panel["targets"])
        assert panel["type"] in {"stat", "timeseries"}
    assert DASHBOARD["uid"] == "umzero"
    assert len({panel["id"] for panel in PANELS}) == len(PANELS)
    cells = [
        (x, y)
        for place in (panel["gridPos"] for panel in PANELS)
        for x in range(place["x"], place["x"] + place["w"])
        for y in range(place["y"], place["y"] + place["h"])
    ]
    assert len(set(cells)) == len(cells)
    assert max(x for x, _ in cells) == 23


@pytest.mark.parametrize(
    "metric",
    [
        "umzero_request_duration_seconds_count",
        "umzero_queue_depth",
        "umzero_batch_size_sum",
        "umzero_images_total",
        "umzero_requests_rejected_total",
        "umzero_classes",
        "umzero_registry_revision",
        "umzero_ready",
    ],
)
def test_the_dashboard_shows(metric: str) -> None:
    assert any(metric in expr for _, expr in QUERIES)
