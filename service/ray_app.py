"""The service on many machines, as a deployment of Ray Serve: `serve run docker/ray/serve.yaml`.

Ray starts replicas, spreads requests over them and replaces those that fail. A replica is the whole
service, in a process of its own; what all of them share is the database.
"""

import logging
import math
from collections.abc import Mapping
from typing import Any

import ray
from ray import serve
from starlette.applications import Starlette
from starlette.datastructures import MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from service import logs
from service.app import create_app
from service.engine.cpus import available_cpus
from service.errors import ConfigurationError
from service.lifecycle import Service
from service.settings import Settings, read

log = logging.getLogger(__name__)

GRACE_S = 5.0  # beyond the drain, until a replica is killed
_REQUEST_ID = "x-request-id"
_RAYS = {
    "host": "http_options",
    "port": "http_options",
    "workers": "num_replicas or autoscaling_config",
}


class Replica:
    """One replica. Its settings travel; everything else is built where it runs."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings

    def __serve_build_asgi_app__(self) -> ASGIApp:
        """Raises: ModelError, ConfigurationError, see `service.bootstrap.build`."""
        settings = self._settings
        logs.set_up(settings.log_level, settings.log_format)
        machines = ray.nodes()  # type: ignore[no-untyped-call]
        check_store(settings, sum(machine["Alive"] for machine in machines))
        assigned = ray.get_runtime_context().get_assigned_resources()  # type: ignore[no-untyped-call]
        app = create_app(
            settings,
            cpus=cpus_of(assigned),
            swap_instead="Name the bundle in Ray's configuration, and deploy that again",
        )
        self._service: Service = app.state.service
        return Named(app, serve.get_replica_context().replica_tag)

    async def check_health(self) -> None:
        """Ray gives a new replica no request before this returns, and replaces one that raises."""
        await check(self._service)


def build(args: dict[str, Any]) -> serve.Application:
    """What Ray is to run.

    Args:
        args: settings by their names; those that are not here come from `UMZERO_*` variables.

    Raises:
        ConfigurationError: a setting can't be used, or is Ray's to decide.
    """
    for name in args.keys() & _RAYS.keys():
        raise ConfigurationError(f"{name} is Ray's to decide: leave it out, and set {_RAYS[name]}")
    settings = read(args)
    capacity = settings.queue_capacity
    deployment = serve.deployment(
        name="umzero",
        # Images and sheets have permits for so many each: a replica itself refuses, with a problem.
        max_ongoing_requests=2 * capacity,
        # These wait in Ray's proxy, which refuses more.
        max_queued_requests=capacity,
        backpressure_config={"retry_after_s": 1},
        autoscaling_config={
            "min_replicas": 1,
            "max_replicas": 8,
            # The other half is for the time until a new replica is ready.
            "target_ongoing_requests": capacity / 2,
        },
        # In an update old replicas go on until new ones are ready: a quarter more at a time.
        max_surge_percent=25,
        graceful_shutdown_timeout_s=settings.drain_s + GRACE_S,
    )
    return deployment(serve.ingress()(Replica)).bind(settings)


def check_store(settings: Settings, machines: int) -> None:
    """Raises: ConfigurationError, replicas would have other classes on every machine."""
    if not settings.store_url.startswith("sqlite"):
        return
    if machines > 1:
        raise ConfigurationError(
            f"classes in SQLite are one machine's, and Ray has {machines}: set database_url to "
            "PostgreSQL, as in postgresql://user@host/database"
        )
    log.warning("classes in SQLite: no other machine can join")


def cpus_of(assigned: Mapping[str, float]) -> int:
    """CPUs that a replica may keep busy: what Ray has set apart for it, of those that are there."""
    return min(max(1, math.ceil(assigned.get("CPU", 0))), available_cpus())


async def check(service: Service) -> None:
    """Wait until a service has warmed up.

    Raises:
        RuntimeError: it could not.
        NotReady: what it began is never going to end.
    """
    await service.settled.wait()
    if service.state == "failed":
        raise RuntimeError("the service could not start; its log says why")
    service.check_alive()


class Named:
    """ASGI middleware: an answer says which replica gave it, as `X-UMZero-Replica`.

    Its id is what Ray's proxy has given the request, and the proxy adds it to the answer by itself.
    """

    def __init__(self, app: Starlette, replica: str) -> None:
        self.routes = app.routes  # where Ray finds what to call a request in its metrics
        self._app = app
        self._replica = replica

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        async def send_named(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                del headers[_REQUEST_ID]
                headers["x-umzero-replica"] = self._replica
            await send(message)

        await self._app(scope, receive, send_named)
