"""Bodies of lines (NDJSON), read as they come, however many there are."""

import asyncio
from collections.abc import AsyncIterator

from starlette.requests import ClientDisconnect, Request

from service.errors import BodyTimeout, BodyTooLarge, RequestError
from service.http.bodies import check_encoding, media_type

NDJSON = "application/x-ndjson"
_TYPES = (
    NDJSON,
    "application/ndjson",
    "application/jsonl",
    "",
    "application/x-www-form-urlencoded",  # curl's
)
_LINES, _LINES_BYTES = 500, 8 * 2**20  # of a batch, about as many


def check_media_type(content_type: str) -> None:
    """Refuse what says that it isn't NDJSON, before anything is read.

    Raises:
        RequestError: 415 `unsupported_media_type`.
    """
    if (kind := media_type(content_type)) not in _TYPES:
        raise RequestError(
            415, "unsupported_media_type", f"Content-Type {kind[:100]!r} isn't {NDJSON}"
        )


async def batches(
    request: Request, max_line_bytes: int, timeout_s: float
) -> AsyncIterator[list[tuple[int, bytes]]]:
    """A body's lines with their numbers, from 1, as they come, some at a time; without blank ones.

    Whatever it ends by, what was complete before comes first.

    Raises:
        BodyTooLarge: a line is too long.
        BodyTimeout: no further line was complete in time.
        ClientDisconnect
        RequestError: 415 `unsupported_encoding`.
    """
    check_encoding(request)
    lines = _Lines(max_line_bytes)
    failure: Exception | None = None
    while not lines.are_over and failure is None:
        try:
            async with asyncio.timeout(timeout_s):
                while not lines.suffice and not lines.are_over:
                    lines.add(*await _piece(request))
        except TimeoutError:
            if not lines.complete:
                failure = BodyTimeout(f"line {lines.number} wasn't complete after {timeout_s:g} s")
        except (BodyTooLarge, ClientDisconnect) as error:
            failure = error
        batch = lines.taken()
        for start in range(0, len(batch), _LINES):  # what comes at once may be more
            yield batch[start : start + _LINES]
    if failure is not None:
        raise failure


async def _piece(request: Request) -> tuple[bytes, bool]:
    """Some of the body, and whether it is the last. Raises: ClientDisconnect."""
    # Not `request.stream`, which has an end once it was called off.
    message = await request.receive()
    if message["type"] == "http.disconnect":
        raise ClientDisconnect
    return message.get("body", b""), not message.get("more_body", False)


class _Lines:
    """Cuts a body into lines, whatever pieces it comes in.

    Attributes:
        number: of the line that isn't complete yet.
        complete: those that are, and were not taken yet.
        are_over: the body is complete.
    """

    def __init__(self, max_bytes: int) -> None:
        self.number = 1
        self.complete: list[tuple[int, bytes]] = []
        self.are_over = False
        self._max_bytes = max_bytes
        self._rest = bytearray()
        self._size = 0

    @property
    def suffice(self) -> bool:
        return len(self.complete) >= _LINES or self._size >= _LINES_BYTES

    def add(self, chunk: bytes, is_last: bool) -> None:
        """Raises: BodyTooLarge."""
        self.are_over = is_last
        self._rest += chunk
        lines = [self._rest]
        if b"\n" in chunk:
            lines = self._rest.split(b"\n")
        self._rest = bytearray() if self.are_over else lines.pop()
        for line in (*lines, self._rest):
            if len(line) > self._max_bytes:
                raise BodyTooLarge(
                    f"line {self.number} has more than the {self._max_bytes} bytes that are allowed"
                )
            if line is not self._rest:
                self.complete.append((self.number, bytes(line)))
                self._size += len(line)
                self.number += 1

    def taken(self) -> list[tuple[int, bytes]]:
        """The complete lines, but for blank ones."""
        taken, self.complete, self._size = self.complete, [], 0
        return [(number, line) for number, line in taken if line.strip()]
