"""What traces cost where there are none, and which request a step belongs to."""

import asyncio
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import pytest

from model.bundle import Bundle
from model.runtime.fake import FakeBackend
from service import tracing
from service.registry.collection import Collection
from service.registry.memory_store import MemoryStore
from service.registry.prototypes import prototypes_of
from service.registry.records import NewClass
from service.registry.registry import Registry
from service.registry.traced_store import traced
from service.tracing import Attributes, Trace

# FastAPI itself imports OpenTelemetry's API; the SDK and the exporters are what costs.
STARTED = """
import asyncio, sys
from pathlib import Path
from model import bundle
from model.runtime.fake import FakeBackend
from service.app import create_app
from service.settings import Settings

folder, traces, state = sys.argv[1:]
settings = Settings(bundle=Path(folder), traces=traces, state_dir=Path(state))
app = create_app(settings, FakeBackend.of(bundle.read(Path(folder))))
asyncio.run(app.state.service.stop())
found = ("service.otel", "opentelemetry.sdk", "opentelemetry.exporter")
print([name for name in found if name in sys.modules])
"""


def printed(program: str, *arguments: object) -> str:
    command = [sys.executable, "-c", program, *map(str, arguments)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


@pytest.mark.parametrize(
    ("traces", "found"),
    [("none", []), ("console", ["service.otel", "opentelemetry.sdk", "opentelemetry.exporter"])],
)
def test_a_service_without_traces_imports_nothing_for_them(
    bundle: Bundle, tmp_path: object, traces: str, found: list[str]
) -> None:
    assert printed(STARTED, bundle.path, traces, tmp_path) == str(found)


@pytest.mark.parametrize(
    "module", ["service.tracing", "service.logs", "service.engine.inference", "umzero.client"]
)
def test_what_makes_spans_or_passes_them_on_imports_no_opentelemetry(module: str) -> None:
    program = f"import sys, {module}; print([m for m in sys.modules if 'opentelemetry' in m])"

    assert printed(program) == "[]"


@pytest.mark.parametrize("missing", ["opentelemetry.sdk", "opentelemetry.exporter"])
def test_without_the_extra_it_is_told_how_to_install_it(missing: str) -> None:
    program = f"""
import sys
sys.modules[{missing!r}] = None
from service.errors import ConfigurationError
from service.tracing import tracer_to
try:
    tracer_to("otlp", "1")
except ConfigurationError as error:
    print(error.detail)
"""
    assert printed(program).endswith("pip install 'umzero[otel]'")


def test_outside_of_a_trace_every_span_is_the_same_nothing() -> None:
    assert tracing.span("store") is tracing.span("score")


class Kept(Trace):
    """Keeps the names of its steps."""

    def __init__(self, request_id: str) -> None:
        super().__init__({"request_id": request_id})
        self.steps: list[object] = []

    @contextmanager
    def span(self, name: str, attributes: Attributes | None = None) -> Iterator[None]:
        self.steps.append((name, *(attributes or {}).values()))
        yield


@pytest.fixture
def registry(bundle: Bundle) -> Iterator[Registry]:
    prototypes = prototypes_of(bundle, FakeBackend.of(bundle))
    registry = Registry(traced(MemoryStore()), bundle.classes, prototypes)
    registry.load()
    yield registry
    registry.close()


def test_the_registry_s_thread_works_for_the_request_that_asked(
    registry: Registry, new_class: Callable[..., NewClass]
) -> None:
    async def request(name: str) -> Kept:
        trace = Kept(name)
        tracing.current.set(trace)
        await registry.call(lambda: Collection(registry, "default").register([new_class(name)]))
        return trace

    async def both() -> list[Kept]:
        return await asyncio.gather(request("a"), request("b"))

    for trace in asyncio.run(both()):
        assert trace.steps == [("store", "add"), ("store", "changes_since")]


def test_each_of_those_that_share_a_look_at_the_database_waits_for_it_in_its_own_trace(
    registry: Registry,
) -> None:
    async def request(name: str) -> Kept:
        trace = Kept(name)
        tracing.current.set(trace)
        await registry.catch_up()
        return trace

    async def several() -> list[Kept]:
        return await asyncio.gather(*(request(name) for name in "abc"))

    for trace in asyncio.run(several()):
        assert trace.steps == [("store", "refresh")]
