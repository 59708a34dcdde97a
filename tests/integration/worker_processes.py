"""What the workers of a server look like from outside: processes, connections, sums."""

from pathlib import Path

import httpx
import pytest
from prometheus_client.parser import text_string_to_metric_families

from tests.integration.asking import until
from tests.integration.conftest import Server

CLIENTS = 8

needs_proc = pytest.mark.skipif(
    not Path("/proc/self/task").is_dir(), reason="needs Linux's /proc to look into processes"
)


def workers_of(server: Server) -> list[int]:
    """The processes that live, without the supervisor."""
    pid = server.process.pid
    return [int(word) for word in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


def is_alive(pid: int) -> bool:
    try:
        return "State:\tZ" not in Path(f"/proc/{pid}/status").read_text()
    except OSError:
        return False


def connections(server: Server, pid: int) -> int:
    """How many clients are connected to this process."""
    port = f":{server.address[1]:04X}"
    rows = [line.split() for line in Path("/proc/net/tcp").read_text().splitlines()[1:]]
    ours = {f"socket:[{row[9]}]" for row in rows if row[1].endswith(port) and row[3] == "01"}
    found = 0
    for descriptor in Path(f"/proc/{pid}/fd").iterdir():
        try:
            found += str(descriptor.readlink()) in ours
        except OSError:  # closed meanwhile
            continue
    return found


def counted(client: httpx.Client) -> dict[tuple[str, str, str], float]:
    """Requests by route, method and status, without those that ask for this."""
    return {
        (labels["route"], labels["method"], labels["status"]): value
        for name, labels, value in samples(client)
        if name == "umzero_request_duration_seconds_count" and labels["route"] != "/metrics"
    }


def samples(client: httpx.Client) -> list[tuple[str, dict[str, str], float]]:
    families = text_string_to_metric_families(client.get("/metrics").text)
    return [(item.name, item.labels, item.value) for family in families for item in family.samples]


def value(client: httpx.Client, name: str, **labels: str) -> float:
    (found,) = [v for n, ls, v in samples(client) if n == name and ls == labels]
    return found


def connected(server: Server, clients: int) -> list[httpx.Client]:
    """Clients with a connection each that lasts; every worker has some of them."""
    opened: list[httpx.Client] = []

    def are_shared() -> bool:
        # A worker that stood still for a moment may have left all of them to the other one.
        while opened:
            opened.pop().close()
        opened.extend(httpx.Client(base_url=server.url, timeout=60) for _ in range(clients))
        for client in opened:
            assert client.get("/metrics").status_code == 200
        return clients == 1 or all(connections(server, pid) for pid in workers_of(server))

    until(are_shared, "every worker has some")
    return opened
