"""The local server answers only programs of its owner."""

from __future__ import annotations

import contextlib
import re
import socket
import stat
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

import pytest
from support.servers import local_server

if TYPE_CHECKING:
    from support.servers import EchoUpstream, LocalServer

FORM = (
    b'--b\r\nContent-Disposition: form-data; name="purpose"\r\n\r\nbatch\r\n'
    b'--b\r\nContent-Disposition: form-data; name="file"; filename="x.jsonl"\r\n\r\n{}\n\r\n--b--\r\n'
)


def _connect(server: LocalServer) -> socket.socket:
    address = urlsplit(server.base_url)
    return socket.create_connection((address.hostname or "", address.port or 0), timeout=30)


def _send(server: LocalServer, raw: bytes) -> int:
    """Send raw bytes; return the status code, or 0 if the server closed the connection."""
    with _connect(server) as connection:
        connection.sendall(raw)
        try:
            first = connection.makefile("rb").readline()
        except ConnectionResetError:
            return 0
    return int(first.split()[1]) if first else 0


def _answer(server: LocalServer, raw: bytes) -> bytes:
    """Send raw bytes; return everything that the server sends until it closes the connection."""
    with _connect(server) as connection:
        connection.sendall(raw)
        return connection.makefile("rb").read()


def _raw(server: LocalServer, start: str = "GET /v1/files", body: bytes = b"", **changes: str | None) -> bytes:
    """Return a valid request of the owner, with some headers changed, or left out if None."""
    port = urlsplit(server.base_url).port
    headers: dict[str, str | None] = {"host": f"127.0.0.1:{port}", "authorization": f"Bearer {server.token}"}
    if body:
        headers["content_length"] = str(len(body))
    headers |= changes
    lines = [f"{name.replace('_', '-')}: {value}" for name, value in headers.items() if value is not None]
    return "\r\n".join([f"{start} HTTP/1.1", *lines, "connection: close", "", ""]).encode() + body


def test_the_owner_is_accepted(server: LocalServer) -> None:
    """Requests with the token and any name of this machine are accepted."""
    port = urlsplit(server.base_url).port
    for name in ("127.0.0.1", "localhost", "LOCALHOST", "[::1]"):
        assert _send(server, _raw(server, host=f"{name}:{port}")) == 200


@pytest.mark.parametrize(
    "host", ["evil.example", "evil.example:{port}", "127.0.0.1", "127.0.0.1:1", "127.0.0.1.evil.example:{port}", ""]
)
def test_other_hosts(server: LocalServer, host: str) -> None:
    """Any other Host header is refused, which prevents DNS rebinding."""
    assert _send(server, _raw(server, host=host.format(port=urlsplit(server.base_url).port))) == 421


def test_no_or_two_hosts(server: LocalServer) -> None:
    """A request with no Host header, or with two, is refused."""
    assert _send(server, _raw(server, host=None)) == 400
    twice = _raw(server).replace(b"\r\nauthorization", b"\r\nHost: evil.example\r\nauthorization")
    assert _send(server, twice) == 400


@pytest.mark.parametrize("origin", ["http://evil.example", "null", "http://127.0.0.1:{port}"])
def test_web_pages(server: LocalServer, origin: str) -> None:
    """A request with an Origin header comes from a web page, and is refused even with the token."""
    assert _send(server, _raw(server, origin=origin.format(port=urlsplit(server.base_url).port))) == 403


@pytest.mark.parametrize(
    "path", ["/health", "/v1/files", "/v1/batches", "/v1/models", "/v1/files/x/content", "/nothing"]
)
def test_token(server: LocalServer, path: str) -> None:
    """Every path needs the token."""
    for value in (None, "", "Bearer", "Bearer ", "Bearer wrong", f"Basic {server.token}", f"Bearer {server.token}x"):
        assert _send(server, _raw(server, f"GET {path}", authorization=value)) == 401


def test_content_types(server: LocalServer) -> None:
    """JSON routes refuse the content types that a web page can send without a preflight request."""
    for path in ("/v1/batches", "/v1/chat/completions", "/v1/embeddings"):
        for kind in ("text/plain", "application/x-www-form-urlencoded", "multipart/form-data; boundary=b", None):
            assert _send(server, _raw(server, f"POST {path}", b"{}", content_type=kind)) == 415
    assert _send(server, _raw(server, "POST /v1/files", b"{}", content_type="application/json")) == 415
    assert _send(server, _raw(server, "POST /v1/batches/x/cancel", b"x", content_type="text/plain")) == 415


def test_form(server: LocalServer) -> None:
    """A valid form is accepted."""
    assert _send(server, _raw(server, "POST /v1/files", FORM, content_type="multipart/form-data; boundary=b")) == 200


@pytest.mark.parametrize(
    ("boundary", "form"),
    [
        ("", FORM),
        ("x" * 71, FORM),
        ("c", FORM),
        ("b", FORM[:-8]),
        ("b", FORM.replace(b'name="purpose"', b'name="' + b"p" * 5000 + b'"')),
        ("b", FORM.replace(b"\r\n\r\nbatch", b"\r\n\r\n" + b"b" * 2000)),
        ("b", b'--b\r\nContent-Disposition: form-data; name="x"\r\n\r\ny\r\n' * 20 + FORM),
        ("b", FORM.replace(b'; name="purpose"', b"")),
        ("b", FORM.replace(b"--b--", b"--b") + FORM.split(b"batch\r\n")[1]),
        ("b", FORM.replace(b"purpose", b"other")),
        ("b", FORM.replace(b'"file"', b'"other"')),
    ],
    ids=[
        "no boundary",
        "long boundary",
        "other boundary",
        "cut off",
        "long header",
        "long field",
        "many parts",
        "no name",
        "two files",
        "no purpose",
        "no file",
    ],
)
def test_broken_forms(server: LocalServer, boundary: str, form: bytes) -> None:
    """A form that is malformed, too large or incomplete is refused, and no file is left."""
    folder = server.state_dir / "local" / "files"
    before = sorted(folder.iterdir())
    kind = f"multipart/form-data; boundary={boundary}" if boundary else "multipart/form-data"
    assert _send(server, _raw(server, "POST /v1/files", form, content_type=kind)) == 400
    assert sorted(folder.iterdir()) == before


JSON = "Content-Type: application/json\r\n"


@pytest.mark.parametrize(
    ("request_", "status"),
    [
        ("GET /v1/files\r\n\r\n", 400),
        ("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", 421),
        ("GET /v1/files/\0 HTTP/1.1\r\n{own}\r\n", 400),
        ("GET /v1/files/\xe9 HTTP/1.1\r\n{own}\r\n", 400),
        ("GET /v1/files HTTP/1.1\r\n{own}X: a\0b\r\n\r\n", 400),
        ("GET /v1/files HTTP/1.1\r\n{own}Host : evil.example\r\n\r\n", 400),
        ("GET /v1/files HTTP/1.1\r\n{own}Authorization: Bearer x\r\n\r\n", 401),
        ("GET /v1/files/%00 HTTP/1.1\r\n{own}\r\n", 404),
        ("GET /v1/files/%ed%a0%80 HTTP/1.1\r\n{own}\r\n", 404),
        ("GET http://evil.example/v1/files HTTP/1.1\r\n{own}\r\n", 404),
        ("CONNECT evil.example:80 HTTP/1.1\r\n{own}\r\n", 404),
        ("OPTIONS * HTTP/1.1\r\n{own}\r\n", 404),
        ("TRACE /v1/files HTTP/1.1\r\n{own}\r\n", 405),
        ("PUT /v1/files HTTP/1.1\r\n{own}Content-Length: 0\r\n\r\n", 405),
        ("GET /v1/files?limit={many} HTTP/1.1\r\n{own}\r\n", 400),
        ("GET /v1/files?limit=-1 HTTP/1.1\r\n{own}\r\n", 400),
        ("GET /v1/files?after=%00%ff HTTP/1.1\r\n{own}\r\n", 404),
        ("POST /v1/batches HTTP/1.1\r\n{own}{json}Content-Length: -1\r\n\r\n", 400),
        ("POST /v1/batches HTTP/1.1\r\n{own}{json}Content-Length: +2\r\n\r\n{{}}", 400),
        ("POST /v1/batches HTTP/1.1\r\n{own}{json}Content-Length: x\r\n\r\n", 400),
        ("POST /v1/batches HTTP/1.1\r\n{own}{json}Content-Length: {many}\r\n\r\n", 400),
        ("POST /v1/batches HTTP/1.1\r\n{own}{json}Content-Length: 2\r\nContent-Length: 3\r\n\r\n{{}}", 400),
        ("POST /v1/batches HTTP/1.1\r\n{own}{json}Transfer-Encoding: gzip\r\n\r\n", 400),
        ("POST /v1/batches HTTP/1.1\r\n{own}{json}Transfer-Encoding: chunked\r\n\r\nzz\r\n", 400),
    ],
)
def test_odd_requests(server: LocalServer, request_: str, status: int) -> None:
    """Old, malformed, ambiguous and proxy requests are refused, and the server keeps running."""
    own = f"Host: 127.0.0.1:{urlsplit(server.base_url).port}\r\nAuthorization: Bearer {server.token}\r\n"
    raw = request_.format(own=own, json=JSON, many="9" * 5000)
    assert _send(server, raw.encode("latin-1")) == status
    assert _send(server, _raw(server)) == 200


def test_two_lengths_end_the_connection(server: LocalServer) -> None:
    """A request with two lengths ends the connection, and what follows it is not answered."""
    inner = _raw(server)
    body = b"0\r\n\r\n" + inner
    outer = _raw(server, "POST /v1/batches", body, content_type="application/json", transfer_encoding="chunked")
    outer = outer.replace(b"connection: close\r\n", b"", 1)
    answer = _answer(server, outer)
    assert answer.startswith(b"HTTP/1.1 400")
    assert answer.count(b"HTTP/1.1") == 1


def test_each_request_of_a_connection_needs_the_token(server: LocalServer) -> None:
    """Each request of a pipelined connection needs the token."""
    good = _raw(server).replace(b"connection: close\r\n", b"")
    answer = _answer(server, good + _raw(server, authorization=None))
    assert re.findall(rb"HTTP/1.1 (\d+)", answer) == [b"200", b"401"]


@pytest.mark.parametrize("start", [b"", FORM], ids=["before the form", "after it"])
def test_a_form_without_end(tmp_path: Path, echo: EchoUpstream, start: bytes) -> None:
    """Bytes before or after the form count towards the size limit."""
    with local_server(tmp_path, upstream=echo.base_url, max_bytes=100_000) as server, _connect(server) as connection:
        kind = "multipart/form-data; boundary=b"
        connection.sendall(_raw(server, "POST /v1/files", content_type=kind, transfer_encoding="chunked"))
        connection.settimeout(2)
        with contextlib.suppress(OSError):  # the server may stop reading
            for piece in [start, *[b"\r\n" * 16_384] * 60]:
                connection.sendall(b"%x\r\n%b\r\n" % (len(piece), piece) if piece else b"")
        assert connection.recv(12) == b"HTTP/1.1 413"


def test_a_filename_is_not_a_path(server: LocalServer) -> None:
    """The name of an uploaded file is not used as a path."""
    form = FORM.replace(b"x.jsonl", b"../../../escape.jsonl")
    assert _send(server, _raw(server, "POST /v1/files", form, content_type="multipart/form-data; boundary=b")) == 200
    assert not list(server.state_dir.rglob("*escape*"))


def test_oversize(server: LocalServer) -> None:
    """Headers and bodies that are too large are refused, and the server keeps running."""
    assert _send(server, _raw(server, x_large="x" * 100_000)) in {400, 431}
    large = b'{"x":"' + b"x" * (2 << 20) + b'"}'
    assert _send(server, _raw(server, "POST /v1/batches", large, content_type="application/json")) == 413
    assert (
        _send(
            server,
            _raw(server, "POST /v1/files", content_type="multipart/form-data; boundary=b", content_length="9" * 15),
        )
        == 413
    )
    assert _send(server, _raw(server)) == 200


def test_broken_json(server: LocalServer) -> None:
    """A body that is not valid JSON, or is nested too deeply, is refused."""
    for body in (b"{", b"\xff", b"[" * 100_000, b"7"):
        assert _send(server, _raw(server, "POST /v1/batches", body, content_type="application/json")) == 400


def test_traversal(server: LocalServer) -> None:
    """Ids with path separators are not found."""
    for path in ("/v1/files/..%2Fstore.db/content", "/v1/files/%2e%2e/content", "/v1/files/../../etc/passwd/content"):
        assert _send(server, _raw(server, f"GET {path}")) == 404


def test_private_files(server: LocalServer) -> None:
    """Only the owner can read the files of the server."""
    folder = server.state_dir / "local"
    for path in folder.rglob("*"):
        assert stat.S_IMODE(path.stat().st_mode) & 0o077 == 0, path
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="reads the kernel's table of sockets")
def test_loopback_only(tmp_path: Path, echo: EchoUpstream) -> None:
    """The server listens only on the loopback address."""
    with local_server(tmp_path, upstream=echo.base_url) as server:
        port = urlsplit(server.base_url).port
        rows = Path("/proc/net/tcp").read_text(encoding="ascii").splitlines()[1:]
        listening = [row.split()[1] for row in rows if row.split()[3] == "0A"]
        assert [address for address in listening if address.endswith(f":{port:04X}")] == [f"0100007F:{port:04X}"]


@pytest.mark.parametrize(("host", "token"), [("0.0.0.0", None), ("::", ""), ("192.0.2.1", None)])  # noqa: S104
def test_network_needs_a_token(host: str, token: str | None) -> None:
    """Serving to the network without your own token is refused."""
    code = (
        "import sys; from openai_batch.local import *; from openai_batch.errors import *\n"
        f"try: serve(LocalSettings(upstream='http://127.0.0.1:9'), {host!r}, 0, {token!r})\n"
        "except UsageError as exc: sys.exit(f'{exc} | {exc.hint}')"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=False)
    assert f"serving on {host} needs your own token" in done.stderr
    assert "Traceback" not in done.stderr
