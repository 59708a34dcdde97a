"""One HTTP/1.1 connection with keep-alive, and no more than a load generator needs.

A protocol, not streams: what it costs is taken from the server on the same machine.
"""

import asyncio
from typing import NamedTuple, Self, cast


class Answer(NamedTuple):
    status: int
    head: bytes  # lower case
    body: bytes


class Connection(asyncio.Protocol):
    """One request at a time."""

    def __init__(self) -> None:
        self._buffer = bytearray()
        self._waiting: asyncio.Future[Answer] | None = None
        self._transport: asyncio.Transport | None = None
        self._end = 0  # of the answer in the buffer; 0: its head is not there yet
        self.open = False

    @classmethod
    async def to(cls, port: int) -> Self:
        loop = asyncio.get_running_loop()
        _, protocol = await loop.create_connection(cls, "127.0.0.1", port)
        return protocol

    def send(self, request: bytes) -> asyncio.Future[Answer]:
        """The answer; ConnectionError when the other side closes first."""
        self._waiting = asyncio.get_running_loop().create_future()
        if self._transport is None or not self.open:
            self._waiting.set_exception(ConnectionResetError("closed"))
        else:
            self._transport.write(request)
        return self._waiting

    def close(self) -> None:
        if self._transport is not None:
            self._transport.abort()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)
        self.open = True

    def connection_lost(self, exc: Exception | None) -> None:  # noqa: ARG002
        self.open = False
        if self._waiting is not None and not self._waiting.done():
            self._waiting.set_exception(ConnectionResetError("closed before the answer"))

    def data_received(self, data: bytes) -> None:
        self._buffer += data
        if not self._end:
            head = self._buffer.find(b"\r\n\r\n")
            if head < 0:
                return
            length = _length(bytes(self._buffer[:head]).lower())
            if length is None:  # chunked: no answer here has a last chunk's bytes in its text
                if not self._buffer.endswith(b"\r\n0\r\n\r\n"):
                    return
                length = len(self._buffer) - head - 4
            self._end = head + 4 + length
        if len(self._buffer) < self._end:
            return
        whole, self._buffer, self._end = bytes(self._buffer), bytearray(), 0
        head, _, body = whole.partition(b"\r\n\r\n")
        head = head.lower()
        if b"connection: close" in head:
            self.open = False
        if self._waiting is not None and not self._waiting.done():
            self._waiting.set_result(Answer(int(head[9:12]), head, body))


def _length(head: bytes) -> int | None:
    _, found, rest = head.partition(b"content-length:")
    return int(rest.split(b"\r\n", 1)[0]) if found else None


def request(jpeg: bytes) -> bytes:
    """A POST of one JPEG to /classify."""
    head = (
        "POST /classify HTTP/1.1\r\nHost: bench\r\nContent-Type: image/jpeg\r\n"
        f"Content-Length: {len(jpeg)}\r\n\r\n"
    )
    return head.encode() + jpeg
