"""docker-compose.yml: against its published schema, and against the files that it mounts."""

import re
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import psycopg
import pytest
import yaml
from psycopg.sql import SQL, Literal

from model.bundle import Bundle
from service.settings import Settings
from tests.databases import Postgres
from tests.docker.conftest import DOCKER, REPLICAS
from tests.integration.conftest import REPOSITORY, Server

FILE = REPOSITORY / "docker-compose.yml"
COMPOSE: dict[str, Any] = yaml.safe_load(FILE.read_text())
SERVICES: dict[str, dict[str, Any]] = COMPOSE["services"]
OURS = [name for name in SERVICES if name.startswith("replica-")]


def mounts(name: str) -> list[list[str]]:
    return [volume.split(":") for volume in SERVICES[name].get("volumes", [])]


def check(schema_checker: str, path: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [schema_checker, "--builtin-schema", "vendor.compose-spec", str(path)],
        capture_output=True,
        text=True,
        check=False,
    )


def test_the_published_schema_takes_it(beside_python: Callable[[str], str]) -> None:
    done = check(beside_python("check-jsonschema"), FILE)

    assert done.returncode == 0, done.stdout + done.stderr


def test_the_published_schema_refuses_a_misspelt_key(
    beside_python: Callable[[str], str], tmp_path: Path
) -> None:
    changed = FILE.read_text().replace("  read_only: true", "  readonly: true", 1)
    (tmp_path / "docker-compose.yml").write_text(changed)

    done = check(beside_python("check-jsonschema"), tmp_path / "docker-compose.yml")

    assert done.returncode == 1
    assert "readonly" in done.stdout


def test_what_is_mounted_is_there_and_the_rest_are_named_volumes() -> None:
    sources = [mount[0] for name in SERVICES for mount in mounts(name)]
    files = [source for source in sources if source.startswith(".")]

    assert all((REPOSITORY / source).exists() for source in files)
    assert len(files) >= 6
    assert set(sources) - set(files) == COMPOSE["volumes"].keys()


@pytest.mark.parametrize("name", OURS)
def test_a_replica_has_no_rights_and_keeps_its_state_in_a_volume(name: str) -> None:
    service = SERVICES[name]

    assert service["read_only"] is True
    assert service["cap_drop"] == ["ALL"]
    assert mounts(name) == [[name, "/var/lib/umzero"]]
    assert [entry.split(":")[0] for entry in service["tmpfs"]] == ["/tmp"]
    grace = float(service["stop_grace_period"].removesuffix("s"))
    assert grace > Settings.model_fields["drain_s"].default
    known = {f"UMZERO_{field.upper()}" for field in Settings.model_fields}
    assert service["environment"].keys() <= known | {"PGPASSWORD"}


def test_the_database_s_password_may_have_any_characters(
    own_postgres: Postgres, bundle: Bundle, tmp_path: Path
) -> None:
    password = "a@b/c:d%40e#f?g h$i"
    url = own_postgres.database()
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute(SQL("ALTER ROLE umzero PASSWORD {}").format(Literal(password)))
    asked = own_postgres.folder / "data/pg_hba.conf"
    asked.write_text(asked.read_text().replace("trust", "scram-sha-256"))
    own_postgres.stop()
    own_postgres.start()
    variable = "${UMZERO_DATABASE_PASSWORD:-umzero}"
    given = SERVICES["replica-1"]["environment"].items()
    environment = {name: value.replace(variable, password) for name, value in given}
    address = environment["UMZERO_DATABASE_URL"]
    assert address.endswith("@database/umzero")
    environment["UMZERO_DATABASE_URL"] = address.removesuffix("@database/umzero") + (
        url.removeprefix("postgresql://umzero")
    )

    with pytest.raises(psycopg.OperationalError, match="no password supplied"):
        psycopg.connect(url)
    own = {"UMZERO_BUNDLE": str(bundle.path), "UMZERO_STATE_DIR": str(tmp_path)}
    server = Server(own | environment, tmp_path / "log")
    try:
        sheet = {"class_id": "kept", "name": "Kept", "attributes": {"has_crown": "red"}}
        assert server.client.post("/classes", json=sheet).status_code == 201
    finally:
        server.kill()
    assert SERVICES["database"]["environment"]["POSTGRES_PASSWORD"] == variable


def test_two_replicas_start_and_the_gpu_only_with_its_profile() -> None:
    assert [name for name in OURS if "profiles" not in SERVICES[name]] == ["replica-1", "replica-2"]
    assert SERVICES["replica-gpu"]["profiles"] == ["gpu"]
    assert {SERVICES[name]["build"]["target"] for name in OURS} == {"cpu", "gpu"}


def test_nginx_and_prometheus_ask_the_replicas_by_their_names() -> None:
    upstream = re.findall(r"^server (\S+) ", (DOCKER / "upstream.conf").read_text(), re.M)
    jobs = {
        job["job_name"]: job
        for job in yaml.safe_load((DOCKER / "prometheus.yml").read_text())["scrape_configs"]
    }
    (scraped,) = jobs["umzero"]["static_configs"]
    (looked_up,) = jobs["umzero-gpu"]["dns_sd_configs"]

    assert upstream == scraped["targets"] == list(REPLICAS)
    assert [f"{name}:8000" for name in OURS if name != "replica-gpu"] == list(REPLICAS)
    assert (looked_up["names"], looked_up["port"]) == (["replica-gpu"], 8000)
    assert SERVICES["nginx"]["depends_on"].keys() == {"replica-1", "replica-2"}


def test_what_watches_is_published_to_this_machine_alone() -> None:
    published = {name: SERVICES[name].get("ports", []) for name in SERVICES}

    assert published.pop("nginx") == ["${PORT:-8000}:8080"]
    assert all(port.startswith("127.0.0.1:") for ports in published.values() for port in ports)
    assert published["database"] == []


def test_grafana_finds_its_source_and_its_dashboard() -> None:
    (source,) = yaml.safe_load(
        (DOCKER / "grafana/provisioning/datasources/prometheus.yml").read_text()
    )["datasources"]
    (provider,) = yaml.safe_load(
        (DOCKER / "grafana/provisioning/dashboards/umzero.yml").read_text()
    )["providers"]
    places = {mount[0]: mount[1] for mount in mounts("grafana")}

    assert source["url"] == "http://prometheus:9090"
    assert provider["options"]["path"] == places["./docker/grafana/dashboards"]
    assert places["./docker/grafana/provisioning"] == "/etc/grafana/provisioning"
