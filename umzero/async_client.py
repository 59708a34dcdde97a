"""`AsyncClient`: `Client` for asyncio."""

import asyncio
from collections.abc import AsyncIterator, Mapping, Sequence
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


class AsyncClient:
    """`Client` for asyncio."""

    def __init__(
        self,
        url: str = DEFAULT_URL,
        *,
        retries: int = RETRIES,
        timeout_s: float = TIMEOUT_S,
        transport: httpx.AsyncBaseTransport | None = None,
    ) -> None:
        self._retries = retries
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
        for attempt in range(self._retries + 1):
            last, response = attempt == self._retries, None
            try:
                response = await self._http.request(**attempts.request(call))
            except httpx.TransportError as error:
                if failed := attempts.unreachable(call, error, last):
                    raise failed from error
            if response is not None and attempts.is_final(response, last):
                return attempts.result(call, response)
            await asyncio.sleep(attempts.wait_s(attempt, response))
        raise AssertionError("the last attempt returns or raises")
