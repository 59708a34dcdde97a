"""`Client`: a UMZero server from Python."""

import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, Self, TypeVar

import httpx

from umzero import attempts, calls
from umzero.address import DEFAULT_URL
from umzero.attempts import AT_ONCE, RETRIES, TIMEOUT_S
from umzero.calls import Call, NewClass, Photograph, Sheet
from umzero.errors import RequestFailed, unreadable
from umzero.parallel import in_order
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


class Client:
    """A server, asked one request after the other; safe for several threads.

        with umzero.Client("http://127.0.0.1:8000") as client:
            client.register("Pileated Woodpecker", {"has_bill_shape": "dagger"})
            print(client.classify("photo.jpg").best.name)

    A server that is busy (503) is asked again, when its `Retry-After` says. What a client wrote, it
    classifies by at once, whichever of several replicas answers. Every method raises RequestFailed;
    a photograph that is a path and can't be read raises OSError.

    Args:
        url: of the server.
        collection: whose classes are meant by every method; the server's `default` when None.
        retries: of a request, at most.
        timeout_s: of one attempt.
        transport: instead of the network, for tests.
    """

    def __init__(
        self,
        url: str = DEFAULT_URL,
        *,
        collection: str | None = None,
        retries: int = RETRIES,
        timeout_s: float = TIMEOUT_S,
        transport: httpx.BaseTransport | None = None,
    ) -> None:
        self._retries = retries
        self._last_write = LastWrite()
        self._http = httpx.Client(
            base_url=url,
            timeout=timeout_s,
            transport=transport,
            params=attempts.of_collection(collection),
        )

    def classify(self, image: Photograph, top_k: int = 5, **question: Any) -> Classification:
        """The classes that an image shows, best first.

        Args:
            question: `classes`, `scope`, `gamma`, `box`, `look`, `known_threshold`,
                `min_revision`, as in HTTP; the last is that of this client's last write, unless
                given.
        """
        with self._last_write.known(question) as asked:
            return self._send(calls.classify(image, top_k, **asked))

    def classify_each(
        self,
        images: Sequence[Photograph],
        top_k: int = 5,
        *,
        at_once: int = AT_ONCE,
        **question: Any,
    ) -> Iterator[Classification | RequestFailed]:
        """Many images, several at a time, in their order, as the answers come; in the place of one
        that is refused, or can't be read, stands its error.
        """

        def one(image: Photograph) -> Classification | RequestFailed:
            try:
                return self.classify(image, top_k, **question)
            except RequestFailed as error:
                return error
            except OSError as error:
                return unreadable(image, error)

        return in_order(one, images, at_once)

    def classify_many(
        self,
        images: Sequence[Photograph],
        top_k: int = 5,
        *,
        at_once: int = AT_ONCE,
        progress: bool = False,
        **question: Any,
    ) -> list[Classification | RequestFailed]:
        """`classify_each`, all at once. `progress`: show a bar, on stderr."""
        answers = []
        with bar("images", len(images), shown=progress) as advance:
            for answer in self.classify_each(images, top_k, at_once=at_once, **question):
                answers.append(answer)
                advance(1)
        return answers

    def classify_files(
        self,
        files: Iterable[str | Path],
        top_k: int = 5,
        *,
        at_once: int = AT_ONCE,
        progress: bool = True,
        **question: Any,
    ) -> dict[Path, Classification | RequestFailed]:
        """`classify_many` of files: path -> answer, or error. `progress`: show a bar, on stderr."""
        paths = [Path(file) for file in files]
        found = self.classify_many(paths, top_k, at_once=at_once, progress=progress, **question)
        return dict(zip(paths, found, strict=True))

    def explain(self, image: Photograph, class_id: str, **where: Any) -> Explanation:
        """What each attribute adds to a class's score. `where`: `box`."""
        return self._send(calls.explain(image, class_id, **where))

    def explain_picture(
        self, image: Photograph, class_id: str, attribute: str | None = None, **where: Any
    ) -> bytes:
        """A PNG of where a class's attributes, or one, were read. `where`: `box`."""
        return self._send(calls.picture(image, class_id, attribute, **where))

    def describe(self, *images: Photograph) -> Description:
        """The sheet that photographs of one thing suggest."""
        return self._send(calls.describe(images))

    def attributes(self) -> list[Attribute]:
        """The attributes of a sheet, in the order of its numbers."""
        return self._send(calls.attributes())

    def register(
        self,
        name: str,
        attributes: Sheet | None = None,
        class_id: str | None = None,
        metadata: Mapping[str, Any] | None = None,
        *,
        like: str | None = None,
        examples: Sequence[Photograph] = (),
    ) -> RegisteredClass:
        """Add a class; it can be recognised when this returns. See `NewClass`."""
        new = NewClass(name, attributes, class_id, metadata, like, examples)
        made = self._send(calls.register(new))
        self._last_write.note(made.revision)
        return made

    def register_many(self, classes: Sequence[NewClass]) -> list[RegisteredClass]:
        """Add all classes or, where one is refused, none: the error's `index` says which."""
        made = self._send(calls.register_many(classes))
        self._last_write.note(*(item.revision for item in made))
        return made

    def replace(
        self,
        class_id: str,
        name: str,
        attributes: Sheet | None = None,
        metadata: Mapping[str, Any] | None = None,
        *,
        like: str | None = None,
        examples: Sequence[Photograph] = (),
    ) -> RegisteredClass:
        """Put other attributes and another name in a class's place."""
        new = NewClass(name, attributes, None, metadata, like, examples)
        made = self._send(calls.replace(class_id, new))
        self._last_write.note(made.revision)
        return made

    def remove(self, class_id: str) -> int:
        """Remove a class; returns the revision that lacks it."""
        revision = self._send(calls.remove(class_id))
        self._last_write.note(revision)
        return revision

    def get(self, class_id: str) -> FullClass:
        """One class, with its sheet and metadata."""
        return self._send(calls.get(class_id))

    def neighbours(self, class_id: str, limit: int = 10) -> list[Neighbour]:
        """The classes that a class will be confused with, nearest first."""
        return self._send(calls.neighbours(class_id, limit))

    def classes(self) -> Iterator[RegisteredClass]:
        """All classes, in the order of their ids."""
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
            if response is not None and attempts.is_final(call, response, last):
                return attempts.result(call, response)
            time.sleep(attempts.wait_s(attempt, response))
        raise AssertionError("the last attempt returns or raises")
