"""What `data_url` accepts and refuses."""

from __future__ import annotations

import base64
import contextlib
import io
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from PIL import Image

from openai_batch import data_url
from openai_batch.inputs import data_url as module

if TYPE_CHECKING:
    from collections.abc import Iterator


def png() -> bytes:
    """Return a small image."""
    buffer = io.BytesIO()
    Image.new("RGB", (3, 2), "red").save(buffer, "PNG")
    return buffer.getvalue()


@contextlib.contextmanager
def site(answers: dict[str, tuple[int, dict[str, str], bytes]]) -> Iterator[str]:
    """Serve fixed answers; yield the URL of the site."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            status, headers, body = answers[self.path]
            self.send_response(status)
            for name, value in headers.items():
                self.send_header(name, value)
            self.end_headers()
            with contextlib.suppress(ConnectionError):  # the client may close the connection early
                self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            """Write nothing."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def test_every_kind_of_argument_gives_the_same() -> None:
    """Paths, URIs, binary values, handles and a data URL all give the same data URL."""
    data = png()
    path = Path("a b.png")
    path.write_bytes(data)
    expected = f"data:image/png;base64,{base64.b64encode(data).decode()}"
    with path.open("rb") as handle:
        given: list[Any] = [
            path,
            str(path),
            path.resolve().as_uri(),
            data,
            bytearray(data),
            memoryview(data),
            io.BytesIO(data),
            handle,
            expected,
        ]
        assert [data_url(one) for one in given] == [expected] * len(given)


@pytest.mark.parametrize(
    ("mode", "mime"),
    [("RGB", "jpeg"), ("L", "jpeg"), ("CMYK", "jpeg"), ("P", "jpeg"), ("RGBA", "png"), ("LA", "png"), ("PA", "png")],
)
def test_pil_images_of_every_mode(mode: str, mime: str) -> None:
    """Images with transparency become PNG, others JPEG, and both can be opened again."""
    text = data_url(Image.new(mode, (4, 4)))
    assert text.startswith(f"data:image/{mime};base64,")
    assert Image.open(io.BytesIO(base64.b64decode(text.partition(",")[2]))).size == (4, 4)


@pytest.mark.parametrize(
    ("start", "mime"),
    [
        (b"%PDF-1.7", "application/pdf"),
        (b"RIFF0000WAVEfmt ", "audio/wav"),
        (b"RIFF0000WEBPVP8 ", "image/webp"),
        (b"ID3\x04", "audio/mpeg"),
        (b"fLaC", "audio/flac"),
        (b"OggS", "audio/ogg"),
        (b"\0\0\0\x20ftypM4A ", "audio/mp4"),
        (b"\0\0\0\x18ftypavif\0\0\0\0avifmif1", "image/avif"),
        (b"\x01\x02\x03", "application/octet-stream"),
    ],
)
def test_types_are_recognized_by_content(start: bytes, mime: str) -> None:
    """Common formats are recognized by their first bytes."""
    assert data_url(start).startswith(f"data:{mime};base64,")


@pytest.mark.parametrize(
    ("arg", "message"),
    [
        (None, "Empty argument"),
        ("", "Empty argument"),
        (b"", "Empty argument"),
        ("abc", "String does not point to a file or URL: abc"),
        ("ftp://host/x.png", "String does not point to a file or URL: "),
        ("file://elsewhere/x.png", "String does not point to a file or URL: "),
        ("x" * 5000, "String does not point to a file or URL: "),
        (Path(), "Path must be a file: "),
        (12, "Unknown file type."),
        (io.StringIO("text"), "Unknown file type."),
        (io.BytesIO(), "Unknown file type."),
    ],
)
def test_what_is_refused(arg: Any, message: str) -> None:
    """A value that is not a file, URL or image is refused with the message of 0.3.4."""
    with pytest.raises(ValueError, match=message):
        data_url(arg)


def test_a_url_is_fetched_and_its_type_cleaned() -> None:
    """The type is taken from the header without its parameters, or else from the content."""
    data = png()
    answers = {
        "/a": (200, {"Content-Type": "image/png; charset=binary"}, data),
        "/b": (200, {"Content-Type": "application/octet-stream"}, data),
        "/c": (200, {}, data),
        "/d": (302, {"Location": "/a"}, b""),
    }
    with site(answers) as url:
        found = {data_url(f"{url}{path}") for path in answers}
    assert found == {f"data:image/png;base64,{base64.b64encode(data).decode()}"}


def test_a_url_is_not_trusted(monkeypatch: pytest.MonkeyPatch) -> None:
    """Errors, redirects to other schemes, truncated and very long answers are refused with their reason."""
    monkeypatch.setattr(module, "MAX_DOWNLOAD_BYTES", 2_000_000)
    Path("secret").write_text("secret", encoding="utf-8")
    answers = {
        "/missing": (404, {}, b""),
        "/file": (302, {"Location": Path("secret").resolve().as_uri()}, b""),
        "/ftp": (302, {"Location": "ftp://127.0.0.1/x"}, b""),
        "/cut": (200, {"Content-Length": "100"}, b"short"),
        "/long": (200, {}, bytes(2_000_001)),
    }
    words = {"/missing": "404", "/file": "302", "/ftp": "neither", "/cut": " ended after ", "/long": "larger than 2 MB"}
    with site(answers) as url:
        for path, word in words.items():
            with pytest.raises(ValueError, match=word):
                data_url(f"{url}{path}")
    with pytest.raises(ValueError, match="cannot be fetched"):
        data_url(f"{url}/gone")
