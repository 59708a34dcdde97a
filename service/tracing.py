"""The trace of the request that code works for: its ids, for the log, and its spans.

Nothing here imports OpenTelemetry; `service.otel` does, where the settings ask for traces. Without
them, and in requests that are not sampled, a span is nothing.
"""

from collections.abc import Mapping
from contextlib import AbstractContextManager, nullcontext
from contextvars import ContextVar
from typing import Any

from service.errors import ConfigurationError

Attributes = Mapping[str, str | int]
Interval = tuple[float, float]  # of `time.perf_counter`

_NO_SPAN = nullcontext()


class Trace:
    """Of one request. This one has no spans.

    Args:
        ids: what each line of the log says while the request is handled.
    """

    def __init__(self, ids: Mapping[str, str]) -> None:
        self.ids = ids

    def span(self, name: str, attributes: Attributes | None = None) -> AbstractContextManager[None]:  # noqa: ARG002
        """A step of the request: what runs inside."""
        return _NO_SPAN

    def add(self, name: str, interval: Interval, attributes: Attributes | None = None) -> None:
        """A step that is over; where it ran does not matter."""

    def end(self, method: str, route: str | None, status: int) -> None:
        """The request is answered; `status` 0: it never was."""


class Tracer:
    """Begins traces. These have no spans."""

    def begin(self, request_id: str, scope: Mapping[str, Any]) -> Trace:  # noqa: ARG002
        """The trace of a request.

        Args:
            scope: ASGI's.
        """
        return Trace({"request_id": request_id})

    def close(self) -> None:
        """Hand over what is not exported yet. It may block for some seconds."""


_NO_REQUEST = Trace({})

current: ContextVar[Trace] = ContextVar("trace", default=_NO_REQUEST)


def span(name: str, attributes: Attributes | None = None) -> AbstractContextManager[None]:
    """A step of the current request, if there is one."""
    return current.get().span(name, attributes)


def tracer_to(exporter: str, version: str) -> Tracer:
    """What begins traces, for `settings.traces`.

    Raises:
        ConfigurationError: OpenTelemetry is not installed.
    """
    if exporter == "none":
        return Tracer()
    try:
        from service import otel  # noqa: PLC0415 - OpenTelemetry's SDK is an extra
    except ModuleNotFoundError as error:
        raise ConfigurationError(
            f"traces need the module {error.name}: pip install 'umzero[otel]'"
        ) from error
    return otel.SpanTracer(exporter, version)
