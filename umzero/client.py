"""`Client` and `AsyncClient`: a UMZero server from Python."""

import asyncio
import time
from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from types import TracebackType
from typing import Any, Self, TypeVar

import httpx

from umzero import calls
from umzero.calls import (
    Call,
    Classification,
    Description,
    Explanation,
    Photograph,
    RegisteredClass,
    Sheet,
)

DEFAULT_URL = "http://127.0.0.1:8000"
RETRIES = 4
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


class _Settings:
    def __init__(self, url: str, retries: int, timeout_s: float) -> None:
        self.url, self.retries, self.timeout_s = url, retries, timeout_s

    def unreachable(self, error: httpx.TransportError) -> RequestFailed:
        return RequestFailed(0, "unreachable", f"no answer from {self.url}: {error!r}")

    def wait_s(self, attempt: int, response: httpx.Response | None) -> float:
        """Before the next attempt: what the server asks for, else longer each time."""
        asked = response.headers.get("retry-after", "") if response is not None else ""
        wait = float(asked) if asked.isdigit() else 0.1 * 2.0**attempt
        return min(wait, LONGEST_WAIT_S)


class Client:
    """A server, asked one request after the other; safe for several threads.

        with umzero.Client("http://127.0.0.1:8000") as client:
            client.register("Pileated Woodpecker", {"has_bill_shape": "dagger"})
            print(client.classify("photo.jpg").best.name)

    A server that is busy (503) is asked again, when its `Retry-After` says.

    Args:
        url: of the server.
        retries: of a request, at most.
        timeout_s: of one attempt.
        transport: instead of the network, for tests.
    """

    def __init__(
        self,
        url: str = DEFAULT_URL,
        *,
        retries: int = RETRIES,
        timeout_s: float = 60.0,
        transport: httpx.BaseTransport | None = None,
    ) -> None:
        self._settings = _Settings(url, retries, timeout_s)
        self._http = httpx.Client(base_url=url, timeout=timeout_s, transport=transport)

    def classify(self, image: Photograph, top_k: int = 5, **question: Any) -> Classification:
        """The classes that an image shows, best first.

        Args:
            question: `classes`, `scope`, `gamma`, `box`, `look`, `min_revision`, as in HTTP.

        Raises:
            RequestFailed
        """
        return self._send(calls.classify(image, top_k, **question))

    def classify_many(
        self,
        images: Sequence[Photograph],
        top_k: int = 5,
        *,
        at_once: int = AT_ONCE,
        progress: bool = False,
        **question: Any,
    ) -> list[Classification | RequestFailed]:
        """Many images, several at a time; one that is refused has its error in its place.

        Args:
            progress: show a bar.
        """

        def one(image: Photograph) -> Classification | RequestFailed:
            try:
                return self.classify(image, top_k, **question)
            except RequestFailed as error:
                return error

        with ThreadPoolExecutor(at_once) as pool:
            found = pool.map(one, images)
            return list(_tracked(found, len(images)) if progress else found)

    def explain(self, image: Photograph, class_id: str, **where: Any) -> Explanation:
        """What each attribute adds to a class's score. Raises: RequestFailed."""
        return self._send(calls.explain(image, class_id, **where))

    def explain_picture(
        self, image: Photograph, class_id: str, attribute: str | None = None, **where: Any
    ) -> bytes:
        """A PNG of where a class's attributes, or one, were read. Raises: RequestFailed."""
        return self._send(calls.picture(image, class_id, attribute, **where))

    def describe(self, *images: Photograph) -> Description:
        """The sheet that photographs of one thing suggest. Raises: RequestFailed."""
        return self._send(calls.describe(images))

    def register(
        self,
        name: str,
        attributes: Sheet,
        class_id: str | None = None,
        metadata: Mapping[str, Any] | None = None,
    ) -> RegisteredClass:
        """Add a class; it can be recognised when this returns. Raises: RequestFailed."""
        return self._send(calls.register(name, attributes, class_id, metadata))

    def replace(
        self,
        class_id: str,
        name: str,
        attributes: Sheet,
        metadata: Mapping[str, Any] | None = None,
    ) -> RegisteredClass:
        """Put other attributes and another name in a class's place. Raises: RequestFailed."""
        return self._send(calls.replace(class_id, name, attributes, metadata))

    def remove(self, class_id: str) -> int:
        """Remove a class; returns the revision that lacks it. Raises: RequestFailed."""
        return self._send(calls.remove(class_id))

    def classes(self) -> Iterator[RegisteredClass]:
        """All classes, in the order of their ids. Raises: RequestFailed."""
        after: str | None = None
        while True:
            page, after = self._send(calls.page(after))
            yield from page
            if after is None:
                return

    def close(self) -> None:
        """Close the connections."""
        self._http.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def _send(self, call: Call[Result]) -> Result:
        for attempt in range(self._settings.retries + 1):
            last = attempt == self._settings.retries
            response = None
            try:
                response = self._http.request(**_request(call))
            except httpx.TransportError as error:
                if last or not _may_repeat(call, error):
                    raise self._settings.unreachable(error) from error
            if response is not None and (last or response.status_code != _BUSY):
                return _result(call, response)
            time.sleep(self._settings.wait_s(attempt, response))
        raise AssertionError("the last attempt returns or raises")


class AsyncClient:
    """`Client` for asyncio."""

    def __init__(
        self,
        url: str = DEFAULT_URL,
        *,
        retries: int = RETRIES,
        timeout_s: float = 60.0,
        transport: httpx.AsyncBaseTransport | None = None,
    ) -> None:
        self._settings = _Settings(url, retries, timeout_s)
        self._http = httpx.AsyncClient(base_url=url, timeout=timeout_s, transport=transport)

    async def classify(self, image: Photograph, top_k: int = 5, **question: Any) -> Classification:
        """See `Client.classify`."""
        return await self._send(calls.classify(image, top_k, **question))

    async def classify_many(
        self,
        images: Sequence[Photograph],
        top_k: int = 5,
        *,
        at_once: int = AT_ONCE,
        **question: Any,
    ) -> list[Classification | RequestFailed]:
        """See `Client.classify_many`."""
        free = asyncio.Semaphore(at_once)

        async def one(image: Photograph) -> Classification | RequestFailed:
            async with free:
                try:
                    return await self.classify(image, top_k, **question)
                except RequestFailed as error:
                    return error

        return await asyncio.gather(*(one(image) for image in images))

    async def explain(self, image: Photograph, class_id: str, **where: Any) -> Explanation:
        """See `Client.explain`."""
        return await self._send(calls.explain(image, class_id, **where))

    async def explain_picture(
        self, image: Photograph, class_id: str, attribute: str | None = None, **where: Any
    ) -> bytes:
        """See `Client.explain_picture`."""
        return await self._send(calls.picture(image, class_id, attribute, **where))

    async def describe(self, *images: Photograph) -> Description:
        """See `Client.describe`."""
        return await self._send(calls.describe(images))

    async def register(
        self,
        name: str,
        attributes: Sheet,
        class_id: str | None = None,
        metadata: Mapping[str, Any] | None = None,
    ) -> RegisteredClass:
        """See `Client.register`."""
        return await self._send(calls.register(name, attributes, class_id, metadata))

    async def replace(
        self,
        class_id: str,
        name: str,
        attributes: Sheet,
        metadata: Mapping[str, Any] | None = None,
    ) -> RegisteredClass:
        """See `Client.replace`."""
        return await self._send(calls.replace(class_id, name, attributes, metadata))

    async def remove(self, class_id: str) -> int:
        """See `Client.remove`."""
        return await self._send(calls.remove(class_id))

    async def classes(self) -> AsyncIterator[RegisteredClass]:
        """See `Client.classes`."""
        after: str | None = None
        while True:
            page, after = await self._send(calls.page(after))
            for item in page:
                yield item
            if after is None:
                return

    async def close(self) -> None:
        """Close the connections."""
        await self._http.aclose()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        await self.close()

    async def _send(self, call: Call[Result]) -> Result:
        for attempt in range(self._settings.retries + 1):
            last = attempt == self._settings.retries
            response = None
            try:
                response = await self._http.request(**_request(call))
            except httpx.TransportError as error:
                if last or not _may_repeat(call, error):
                    raise self._settings.unreachable(error) from error
            if response is not None and (last or response.status_code != _BUSY):
                return _result(call, response)
            await asyncio.sleep(self._settings.wait_s(attempt, response))
        raise AssertionError("the last attempt returns or raises")


def _request(call: Call[Any]) -> dict[str, Any]:
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


def _may_repeat(call: Call[Any], error: httpx.TransportError) -> bool:
    """What did not reach the server may always be sent again."""
    return call.repeatable or isinstance(error, httpx.ConnectError)


def _result(call: Call[Result], response: httpx.Response) -> Result:
    if response.is_success:
        return call.read(response.content if call.read is bytes else response.json())
    try:
        problem = response.json()
        code, detail = str(problem["code"]), str(problem["detail"])
    except (ValueError, KeyError, TypeError):
        code, detail = "unknown", response.text[:200] or response.reason_phrase
    raise RequestFailed(response.status_code, code, detail)


def _tracked(found: Iterator[Result], total: int) -> Iterator[Result]:
    from rich.progress import track  # noqa: PLC0415 - who shows no bar needs no terminal

    yield from track(found, "images", total=total)
