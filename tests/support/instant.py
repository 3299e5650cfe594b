"""An upstream that answers each chat at once, in its own process: `python instant.py`.

It prints its base URL, and serves until its standard input is closed. The answer to the prompt P is `<P>`, so that
answers can be matched with rows. It supports only the part of HTTP that a client with persistent connections needs.
"""

from __future__ import annotations

import asyncio
import json
import re
import sys

_LENGTH = re.compile(rb"(?i)\r\ncontent-length: *(\d+)")
_ENCODE = json.JSONEncoder(ensure_ascii=False, separators=(",", ":")).encode
_ANSWER = '{"id":"chat-1","object":"chat.completion","created":1,"model":%s,"choices":[{"index":0,"message":'
_ANSWER += '{"role":"assistant","content":%s},"finish_reason":"stop"}],'
_ANSWER += '"usage":{"prompt_tokens":1,"completion_tokens":1,"total_tokens":2}}'


class Instant(asyncio.Protocol):
    """One connection: reads requests, writes answers."""

    def __init__(self) -> None:
        self._came = b""
        self._out: asyncio.WriteTransport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Keep the transport."""
        assert isinstance(transport, asyncio.WriteTransport)
        self._out = transport

    def data_received(self, data: bytes) -> None:
        """Answer every complete request."""
        self._came += data
        while True:
            head, end, rest = self._came.partition(b"\r\n\r\n")
            found = _LENGTH.search(head)
            length = int(found[1]) if found else 0
            if not end or len(rest) < length:
                return
            self._came = rest[length:]
            self._answer(head, rest[:length])

    def _answer(self, head: bytes, body: bytes) -> None:
        assert self._out is not None
        if not head.startswith(b"POST /v1/chat/completions "):
            self._out.write(b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n")
            return
        asked = json.loads(body)
        prompt = asked["messages"][-1]["content"]
        answer = (_ANSWER % (_ENCODE(asked["model"]), _ENCODE(f"<{prompt}>"))).encode()
        kind = b"Content-Type: application/json"
        self._out.write(b"HTTP/1.1 200 OK\r\n%b\r\nContent-Length: %d\r\n\r\n%b" % (kind, len(answer), answer))


async def main() -> None:
    """Serve until standard input is closed."""
    server = await asyncio.get_running_loop().create_server(Instant, "127.0.0.1", 0)
    print(f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/v1", flush=True)
    await asyncio.to_thread(sys.stdin.read)


if __name__ == "__main__":
    asyncio.run(main())
