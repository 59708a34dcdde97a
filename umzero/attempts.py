"""What both clients do around a request: when to try again, and how an answer is taken."""

import sys
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Any, TypeVar

import httpx

from umzero.calls import Call
from umzero.errors import UNREACHABLE, RequestFailed

RETRIES = 4
TIMEOUT_S = 60.0
LONGEST_WAIT_S = 30.0
AT_ONCE = 8  # requests of `classify_many`
_BUSY = (429, 503)
_LOST = (502, 504)  # of a proxy: its server may have had the request

Result = TypeVar("Result")


def of_collection(name: str | None) -> dict[str, str]:
    """What every request of a client asks beside its own."""
    return {} if name is None else {"collection": name}


def request(call: Call[Any]) -> dict[str, Any]:
    """httpx's arguments."""
    headers = {"Accept": "image/png" if call.read is bytes else "application/json"}
    if call.key is not None:
        headers["Idempotency-Key"] = call.key
    if call.content_type is not None:
        headers["Content-Type"] = call.content_type
    if "opentelemetry.trace" in sys.modules:  # else the caller has no trace that could go on
        from opentelemetry import propagate  # noqa: PLC0415

        propagate.inject(headers)
    return {
        "method": call.method,
        "url": call.path,
        "params": dict(call.params),
        "content": call.content,
        "files": call.files,
        "headers": headers,
    }


def unreachable(call: Call[Any], error: httpx.TransportError, last: bool) -> RequestFailed | None:
    """The end of it; None: what did not reach the server, or may reach it twice, is sent again."""
    if not last and (call.repeatable or isinstance(error, httpx.ConnectError)):
        return None
    return RequestFailed(0, UNREACHABLE, f"no answer from the server: {error!r}")


def is_final(call: Call[Any], response: httpx.Response, last: bool) -> bool:
    """A server that is busy, or that is at the same request still, is asked again; so is one that
    a proxy lost, where the request may arrive twice.
    """
    lost = call.repeatable and response.status_code in _LOST
    return last or not (response.status_code in _BUSY or lost or _is_at_it(response))


def wait_s(attempt: int, response: httpx.Response | None) -> float:
    """Before the next attempt: what the server asks for, else longer each time."""
    asked = None if response is None else _asked_s(response.headers.get("retry-after", ""))
    wait = 0.1 * 2.0**attempt if asked is None else asked
    return min(wait, LONGEST_WAIT_S)


def _is_at_it(response: httpx.Response) -> bool:
    return response.status_code == 409 and b'"idempotency_in_progress"' in response.content


def _asked_s(value: str) -> float | None:
    """Of `Retry-After`: seconds, or the date that a proxy may send instead (RFC 9110, 10.2.3)."""
    if value.isascii() and value.isdigit():
        return float(value)
    try:
        until = parsedate_to_datetime(value)
    except ValueError:
        return None
    if until.tzinfo is None:
        until = until.replace(tzinfo=UTC)
    return max(0.0, (until - datetime.now(UTC)).total_seconds())


def result(call: Call[Result], response: httpx.Response) -> Result:
    """What was asked for. Raises: RequestFailed."""
    if response.is_success:
        return _read(call, response)
    index = None
    try:
        problem = response.json()
        code, detail = str(problem["code"]), str(problem["detail"])
        index = problem.get("index")
    except (ValueError, KeyError, TypeError):
        code, detail = "unknown", response.text[:200] or response.reason_phrase
    raise RequestFailed(response.status_code, code, detail, index)


def _read(call: Call[Result], response: httpx.Response) -> Result:
    try:
        return call.read(response.content if call.read is bytes else response.json())
    except (ValueError, LookupError, TypeError, AttributeError) as error:
        raise RequestFailed(
            response.status_code,
            "not_understood",
            f"{response.url} answered with something else than UMZero does: "
            f"{response.text[:100]!r}. Is this the address of a UMZero server?",
        ) from error
