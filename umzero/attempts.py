"""What both clients do around a request: when to try again, and how an answer is taken."""

from typing import Any, TypeVar

import httpx

from umzero.calls import Call

DEFAULT_URL = "http://127.0.0.1:8000"
RETRIES = 4
TIMEOUT_S = 60.0
LONGEST_WAIT_S = 30.0
AT_ONCE = 8  # requests of `classify_many`
_BUSY = 503

Result = TypeVar("Result")


class RequestFailed(Exception):  # noqa: N818 - it says what happened
    """The server refused a request.

    Attributes:
        status: of HTTP; 0: the server can't be reached.
        code: stable, of the problem.
        detail: what came, what was expected, what to do.
    """

    def __init__(self, status: int, code: str, detail: str) -> None:
        super().__init__(f"{detail} ({status} {code})" if status else detail)
        self.status, self.code, self.detail = status, code, detail


def request(call: Call[Any]) -> dict[str, Any]:
    """httpx's arguments."""
    accept = "image/png" if call.read is bytes else "application/json"
    return {
        "method": call.method,
        "url": call.path,
        "params": dict(call.params),
        "json": call.json,
        "content": call.content,
        "files": call.files,
        "headers": {"Accept": accept},
    }


def unreachable(call: Call[Any], error: httpx.TransportError, last: bool) -> RequestFailed | None:
    """The end of it; None: what did not reach the server, or may reach it twice, is sent again."""
    if not last and (call.repeatable or isinstance(error, httpx.ConnectError)):
        return None
    return RequestFailed(0, "unreachable", f"no answer from the server: {error!r}")


def is_final(response: httpx.Response, last: bool) -> bool:
    """A busy server did nothing yet, and is asked again."""
    return last or response.status_code != _BUSY


def wait_s(attempt: int, response: httpx.Response | None) -> float:
    """Before the next attempt: what the server asks for, else longer each time."""
    asked = response.headers.get("retry-after", "") if response is not None else ""
    wait = float(asked) if asked.isdigit() else 0.1 * 2.0**attempt
    return min(wait, LONGEST_WAIT_S)


def result(call: Call[Result], response: httpx.Response) -> Result:
    """What was asked for. Raises: RequestFailed."""
    if response.is_success:
        return call.read(response.content if call.read is bytes else response.json())
    try:
        problem = response.json()
        code, detail = str(problem["code"]), str(problem["detail"])
    except (ValueError, KeyError, TypeError):
        code, detail = "unknown", response.text[:200] or response.reason_phrase
    raise RequestFailed(response.status_code, code, detail)
