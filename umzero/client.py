"""`Client`: a UMZero server from Python."""

import time
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from types import TracebackType
from typing import Any, Self, TypeVar

import httpx

from umzero import attempts, calls
from umzero.attempts import AT_ONCE, DEFAULT_URL, RETRIES, TIMEOUT_S, RequestFailed
from umzero.calls import (
    Call,
    Classification,
    Description,
    Explanation,
    Photograph,
    RegisteredClass,
    Sheet,
)

Result = TypeVar("Result")


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
        timeout_s: float = TIMEOUT_S,
        transport: httpx.BaseTransport | None = None,
    ) -> None:
        self._retries = retries
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
        for attempt in range(self._retries + 1):
            last, response = attempt == self._retries, None
            try:
                response = self._http.request(**attempts.request(call))
            except httpx.TransportError as error:
                if failed := attempts.unreachable(call, error, last):
                    raise failed from error
            if response is not None and attempts.is_final(response, last):
                return attempts.result(call, response)
            time.sleep(attempts.wait_s(attempt, response))
        raise AssertionError("the last attempt returns or raises")


def _tracked(found: Iterator[Result], total: int) -> Iterator[Result]:
    from rich.progress import track  # noqa: PLC0415 - who shows no bar needs no terminal

    yield from track(found, "images", total=total)
