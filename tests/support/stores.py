"""A server on this machine that is compatible with Amazon S3, in its own process."""

from __future__ import annotations

import contextlib
import http.client
import re
import socket
import subprocess
import sys
import threading
import time
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from collections.abc import Iterator

_SERVER = """
import sys
from moto.server import DomainDispatcherApplication, create_backend_app
from werkzeug.serving import run_simple
app = DomainDispatcherApplication(create_backend_app)
run_simple("127.0.0.1", int(sys.argv[1]), app, threaded=False)
"""
"""The server handles one request at a time, because its conditional writes are not atomic, unlike those of S3."""


@dataclass(frozen=True)
class Store:
    """The server, with a bucket called `bucket`."""

    url: str

    @property
    def env(self) -> dict[str, str]:
        """The environment variables that name the server and its keys."""
        keys = {"AWS_ACCESS_KEY_ID": "testing", "AWS_SECRET_ACCESS_KEY": "canary-of-the-store-0123456789"}
        return {**keys, "AWS_ENDPOINT_URL": self.url, "AWS_REGION": "us-east-1"}

    def make_bucket(self, name: str) -> None:
        """Make a bucket."""
        self._ask(f"/{name}", "PUT")

    def uploads(self, folder: str) -> int:
        """Return the number of unfinished multipart uploads to keys in a folder."""
        return self._ask("/bucket?uploads", "GET").count(f"<Key>{folder}/".encode())

    def _ask(self, path: str, method: str) -> bytes:
        connection = http.client.HTTPConnection(self.url.removeprefix("http://"), timeout=30)
        with contextlib.closing(connection):
            connection.request(method, path)
            return connection.getresponse().read()


@contextlib.contextmanager
def s3_server() -> Iterator[Store]:
    """Run the server, and stop it at the end. Skip the test without obstore."""
    pytest.importorskip("obstore")
    with socket.create_server(("127.0.0.1", 0)) as listening:
        port = listening.getsockname()[1]
    words = [sys.executable, "-c", _SERVER, str(port)]
    with subprocess.Popen(words, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as process:
        try:
            store = Store(f"http://127.0.0.1:{port}")
            for _ in range(300):
                with contextlib.suppress(OSError):
                    store.make_bucket("bucket")
                    break
                time.sleep(0.1)
            yield store
        finally:
            process.kill()


@dataclass
class Web:
    """A file server: `pages` are the contents, statuses or redirects by path; `asked` are its requests."""

    pages: dict[str, bytes | int | str] = field(default_factory=dict)
    asked: list[tuple[str, dict[str, str]]] = field(default_factory=list)
    url: str = ""
    broken: bool = False
    """Whether the next answer is cut off in the middle."""


@contextlib.contextmanager
def web_server(pages: dict[str, bytes | int | str] | None = None) -> Iterator[Web]:
    """Run a file server with range requests. The page `any` is used for all other paths."""
    web = Web(pages or {})

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def _answer(self) -> None:
            self.rfile.read(int(self.headers.get("content-length", 0)))
            headers = {name.lower(): value for name, value in self.headers.items()}
            web.asked.append((self.path, headers))
            page = web.pages.get(self.path, web.pages.get("any", 404))
            if not isinstance(page, bytes):
                self.send_response(page if isinstance(page, int) else 302)
                if isinstance(page, str):
                    self.send_header("location", page)
                self.send_header("content-length", "0")
                self.end_headers()
                return
            start = int(re.sub(r"\D", "", headers.get("range", "")) or 0)
            self.send_response(206 if start else 200)
            self.send_header("content-length", str(len(page) - start))
            self.send_header("etag", '"1"')
            self.send_header("accept-ranges", "bytes")
            if start:
                self.send_header("content-range", f"bytes {start}-{len(page) - 1}/{len(page)}")
            self.end_headers()
            broken, web.broken = web.broken, False
            self.wfile.write(page[start : len(page) // 2 if broken else None])
            self.close_connection = broken

        do_GET = do_HEAD = do_PUT = do_POST = _answer  # noqa: N815 - the names of http.server

        def log_message(self, *_: object) -> None:
            """Write nothing."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    web.url = f"http://127.0.0.1:{server.server_port}"
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield web
    finally:
        server.shutdown()
        server.server_close()
