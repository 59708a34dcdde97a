"""The load generator's connection: whole answers, however they arrive."""

import asyncio

import pytest

HEAD = b"HTTP/1.1 200 OK\r\n"
PLAIN = HEAD + b"Content-Length: 5\r\n\r\nhello"
CHUNKED = HEAD + b"Transfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n"


async def asked(pieces, times=1):
    """Answers of a server that sends these pieces, each on its own, for every request."""
    from connection import Connection, request

    async def serve(reader, writer):
        for _ in range(times):
            await reader.readuntil(b"\xff\xd9")
            for piece in pieces:
                writer.write(piece)
                await writer.drain()
                await asyncio.sleep(0.001)
        writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    async with server:
        connection = await Connection.to(server.sockets[0].getsockname()[1])
        answers = [await connection.send(request(b"\xff\xd8 \xff\xd9")) for _ in range(times)]
        connection.close()
    return answers


@pytest.mark.parametrize("whole", [PLAIN, CHUNKED])
def test_an_answer_is_whole_wherever_it_is_cut(whole):
    for cut in range(1, len(whole)):
        (answer,) = asyncio.run(asked([whole[:cut], whole[cut:]]))
        assert answer.status == 200
        assert b"hello" in answer.body


def test_one_connection_carries_one_request_after_the_other():
    answers = asyncio.run(asked([PLAIN], times=3))
    assert [answer.body for answer in answers] == [b"hello"] * 3


def test_a_server_that_leaves_is_an_error_and_not_an_answer():
    with pytest.raises(ConnectionError):
        asyncio.run(asked([PLAIN[:-1]]))
