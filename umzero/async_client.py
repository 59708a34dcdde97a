"""`AsyncClient`: `Client` for asyncio."""

import asyncio
from collections.abc import AsyncIterator, Iterable, Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, Self, TypeVar

import httpx

from umzero import attempts, calls
from umzero.address import DEFAULT_URL
from umzero.attempts import AT_ONCE, RETRIES, TIMEOUT_S
from umzero.calls import Call, NewClass, Photograph, Sheet
from umzero.errors import RequestFailed, unreadable
from umzero.progress import bar
from umzero.results import (
    Attribute,
    Classification,
    Description,
    Explanation,
    FullClass,
    Neighbour,
    RegisteredClass,
)
from umzero.revisions import LastWrite

Result = TypeVar("Result")


class AsyncClient:
    """`Client` for asyncio: the same methods, to be awaited.

    Photographs are read, and pictures encoded, in a thread.
    """

    def __init__(
        self,
        url: str = DEFAULT_URL,
        *,
        collection: str | None = None,
        retries: int = RETRIES,
        timeout_s: float = TIMEOUT_S,
        transport: httpx.AsyncBaseTransport | None = None,
    ) -> None:
        self._retries = retries
        self._last_write = LastWrite()
        self._http = httpx.AsyncClient(
            base_url=url,
            timeout=timeout_s,
            transport=transport,
            params=attempts.of_collection(collection),
        )

    async def classify(self, image: Photograph, top_k: int = 5, **question: Any) -> Classification:
        """See `Client.classify`."""
        with self._last_write.known(question) as asked:
            return await self._send(await asyncio.to_thread(calls.classify, image, top_k, **asked))

    async def classify_each(
        self,
        images: Sequence[Photograph],
        top_k: int = 5,
        *,
        at_once: int = AT_ONCE,
        **question: Any,
    ) -> AsyncIterator[Classification | RequestFailed]:
        """See `Client.classify_each`."""
        free = asyncio.Semaphore(at_once)

        async def one(image: Photograph) -> Classification | RequestFailed:
            async with free:
                try:
                    return await self.classify(image, top_k, **question)
                except RequestFailed as error:
                    return error
                except OSError as error:
                    return unreadable(image, error)

        tasks = [asyncio.ensure_future(one(image)) for image in images]
        try:
            for task in tasks:
                yield await task
        finally:
            for task in tasks:
                task.cancel()

    async def classify_many(
        self,
        images: Sequence[Photograph],
        top_k: int = 5,
        *,
        at_once: int = AT_ONCE,
        progress: bool = False,
        **question: Any,
    ) -> list[Classification | RequestFailed]:
        """See `Client.classify_many`."""
        answers = []
        with bar("images", len(images), shown=progress) as advance:
            async for answer in self.classify_each(images, top_k, at_once=at_once, **question):
                answers.append(answer)
                advance(1)
        return answers

    async def classify_files(
        self,
        files: Iterable[str | Path],
        top_k: int = 5,
        *,
        at_once: int = AT_ONCE,
        progress: bool = True,
        **question: Any,
    ) -> dict[Path, Classification | RequestFailed]:
        """See `Client.classify_files`."""
        paths = [Path(file) for file in files]
        found = await self.classify_many(
            paths, top_k, at_once=at_once, progress=progress, **question
        )
        return dict(zip(paths, found, strict=True))

    async def explain(self, image: Photograph, class_id: str, **where: Any) -> Explanation:
        """See `Client.explain`."""
        return await self._send(await asyncio.to_thread(calls.explain, image, class_id, **where))

    async def explain_picture(
        self, image: Photograph, class_id: str, attribute: str | None = None, **where: Any
    ) -> bytes:
        """See `Client.explain_picture`."""
        call = await asyncio.to_thread(calls.picture, image, class_id, attribute, **where)
        return await self._send(call)

    async def describe(self, *images: Photograph) -> Description:
        """See `Client.describe`."""
        return await self._send(await asyncio.to_thread(calls.describe, images))

    async def attributes(self) -> list[Attribute]:
        """See `Client.attributes`."""
        return await self._send(calls.attributes())

    async def register(
        self,
        name: str,
        attributes: Sheet | None = None,
        class_id: str | None = None,
        metadata: Mapping[str, Any] | None = None,
        *,
        like: str | None = None,
        examples: Sequence[Photograph] = (),
    ) -> RegisteredClass:
        """See `Client.register`."""
        new = NewClass(name, attributes, class_id, metadata, like, examples)
        made = await self._send(await asyncio.to_thread(calls.register, new))
        self._last_write.note(made.revision)
        return made

    async def register_many(self, classes: Sequence[NewClass]) -> list[RegisteredClass]:
        """See `Client.register_many`."""
        made = await self._send(await asyncio.to_thread(calls.register_many, classes))
        self._last_write.note(*(item.revision for item in made))
        return made

    async def replace(
        self,
        class_id: str,
        name: str,
        attributes: Sheet | None = None,
        metadata: Mapping[str, Any] | None = None,
        *,
        like: str | None = None,
        examples: Sequence[Photograph] = (),
    ) -> RegisteredClass:
        """See `Client.replace`."""
        new = NewClass(name, attributes, None, metadata, like, examples)
        made = await self._send(await asyncio.to_thread(calls.replace, class_id, new))
        self._last_write.note(made.revision)
        return made

    async def remove(self, class_id: str) -> int:
        """See `Client.remove`."""
        revision = await self._send(calls.remove(class_id))
        self._last_write.note(revision)
        return revision

    async def get(self, class_id: str) -> FullClass:
        """See `Client.get`."""
        return await self._send(calls.get(class_id))

    async def neighbours(self, class_id: str, limit: int = 10) -> list[Neighbour]:
        """See `Client.neighbours`."""
        return await self._send(calls.neighbours(class_id, limit))

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
            if response is not None and attempts.is_final(call, response, last):
                return attempts.result(call, response)
            await asyncio.sleep(attempts.wait_s(attempt, response))
        raise AssertionError("the last attempt returns or raises")
