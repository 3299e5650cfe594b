"""Images named by a column: which files and addresses are read, and which are refused."""

from __future__ import annotations

import base64
import json
import re
import subprocess
import sys
import threading
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from support.command import invoke
from support.sample_tables import needs_duckdb, requests, write_table

from openai_batch.errors import InputError
from openai_batch.inputs.data_url import data_url
from openai_batch.inputs.public_fetch import fetch_public

if TYPE_CHECKING:
    from collections.abc import Iterator

PNG = base64.b64decode(
    "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg=="
)
URL = "data:image/png;base64," + base64.b64encode(PNG).decode()


def cells(*values: Any) -> list[dict[str, Any]]:
    """Return rows with these image cells."""
    return [{"text": "What is it?", "image": value} for value in values]


def test_images_from_paths_urls_and_empty_cells() -> None:
    """Files become data URLs, web addresses are kept, and an empty cell adds no image."""
    Path("in/pics").mkdir(parents=True)
    Path("in/pics/a.png").write_bytes(PNG)
    Path("here.png").write_bytes(PNG)
    rows = cells("pics/a.png", "here.png", "https://a.example/b.png", "", str(Path("here.png").absolute()), URL)
    write_table(Path("in/t.csv"), [{**row, "other": "https://b.example/c.png"} for row in rows])
    found = requests("in/t.csv", images=("image", "other"), prompt="What?")
    parts = [item["body"]["messages"][0]["content"] for item in found]
    assert {part[0]["text"] for part in parts} == {"What?"}
    urls = [[part["image_url"]["url"] for part in content[1:-1]] for content in parts]
    assert urls == [[URL], [URL], ["https://a.example/b.png"], [], [URL], [URL]]
    assert {content[-1]["image_url"]["url"] for content in parts} == {"https://b.example/c.png"}


def test_responses_have_their_own_form() -> None:
    """The responses endpoint gets `input_text` and `input_image`."""
    Path("a.png").write_bytes(PNG)
    write_table(Path("t.csv"), cells("a.png"))
    out = invoke("prepare", "t.csv", "-m", "m", "--image", "image", "--endpoint", "responses").succeeded().out
    content = [{"type": "input_text", "text": "What is it?"}, {"type": "input_image", "image_url": URL}]
    assert json.loads(out)["body"]["input"] == [{"role": "user", "content": content}]


@needs_duckdb
def test_images_within_a_parquet_file() -> None:
    """Bytes in a column, and pairs of bytes and path as in data sets, become data URLs."""
    import duckdb

    with duckdb.connect(":memory:") as base:
        base.execute(
            "COPY (SELECT 'x' AS text, ?::BLOB AS image, {'bytes': ?::BLOB, 'path': 'a'} AS pair)"
            " TO 't.parquet' (FORMAT parquet)",
            [PNG, PNG],
        )
    content = requests("t.parquet", images=("image", "pair"))[0]["body"]["messages"][0]["content"]
    assert [part["image_url"]["url"] for part in content[1:]] == [URL, URL]


def test_files_out_of_bounds_are_refused() -> None:
    """Paths and links outside the folder, other kinds of files and other schemes are errors of their rows."""
    Path("out.png").write_bytes(PNG)
    Path("in").mkdir()
    Path("in/link.png").symlink_to(Path("out.png").absolute())
    Path("in/dir").mkdir()
    Path("in/loop").symlink_to("loop")
    Path("in/text.png").write_text("no image", encoding="utf-8")
    told = {
        "../out.png": "../out.png is outside the input's folder",
        "link.png": "link.png is outside",
        str(Path("out.png").absolute()): "is outside",
        "/etc/passwd": "/etc/passwd is outside",
        "dir": "dir is not a file",
        "nope.png": "nope.png does not exist",
        "a\0b": "cannot be read",
        "loop": "loop",
        "x" * 5000: "cannot be read",
        "text.png": "text.png is not an image",
        "file:///etc/passwd": "file:///etc/passwd is not a web address",
        "ftp://a.example/x.png": "ftp://a.example/x.png is not a web address",
    }
    rows = cells(*told)
    Path("in/t.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    Path("elsewhere").mkdir()
    words = [sys.executable, "-m", "openai_batch", "prepare", "../in/t.jsonl", "-m", "m", "--image", "image"]
    done = subprocess.run(words, cwd="elsewhere", capture_output=True, text=True, check=False)
    assert done.returncode == 3
    assert done.stdout == ""
    lines = [line.strip() for line in done.stderr.splitlines()]
    assert lines[0] == f"error: the input has {len(told)} problems; nothing was prepared"
    for number, words_told in enumerate(told.values(), 1):
        assert lines[number].startswith(f"../in/t.jsonl:{number}: image: "), lines[number]
        assert words_told in lines[number]
    invoke("prepare", "in/t.jsonl", "-m", "m", "--image", "nope").failed(3, "there is no column 'nope'", "the name")


@pytest.mark.parametrize(
    "host",
    ["127.0.0.1", "127.1", "2130706433", "0x7f.1", "0", "[::1]", "localhost", "[::ffff:127.0.0.1]", "169.254.169.254"],
)
def test_private_addresses_are_not_fetched(host: str) -> None:
    """--inline-images refuses addresses of private networks, in every notation."""
    write_table(Path("t.csv"), cells(f"http://{host}:9/x.png"))
    with pytest.raises(InputError, match="is not a public address"):
        requests("t.csv", images=("image",), inline_images=True)


MALFORMED = [
    "http://[::1",
    "http://[x]/a.png",
    "http://host.example:port/",
    "http://host.example:99999/",
    "https://host.example:0/",
    "http://",
    "http:///a.png",
    "http://:80/",
    "http://host .example/",
    "https://host.example/a b.png",
    "https://host.example/a\nb.png",
    "HTTPS://[v1.x]:-1/",
]


@pytest.mark.parametrize("options", [(), ("--inline-images",)], ids=["kept", "fetched"])
def test_a_malformed_address_is_an_error_of_its_row(options: tuple[str, ...]) -> None:
    """A malformed address is reported with its row, with and without --inline-images; `data_url` refuses it too."""
    Path("t.jsonl").write_text("".join(json.dumps(row) + "\n" for row in cells(*MALFORMED)), encoding="utf-8")
    done = invoke("prepare", "t.jsonl", "-m", "m", "--image", "image", *options)
    assert done.code == 3
    lines = done.err.splitlines()
    for number, address in enumerate(MALFORMED, 1):
        assert lines[number].startswith(f"  t.jsonl:{number}: image: "), lines[number]
        assert "is not a usable web address" in lines[number]
        with pytest.raises(InputError, match="is not a usable web address"):
            data_url(address)


def test_a_name_that_cannot_be_looked_up_is_an_error_of_its_row() -> None:
    """A host name that cannot be resolved is reported with its row, without a traceback."""
    addresses = ["http://a..b/", f"http://{'a' * 70}.example/", "http://xn--\u00fc.example/"]
    write_table(Path("t.csv"), cells(*addresses))
    done = invoke("prepare", "t.csv", "-m", "m", "--image", "image", "--inline-images")
    assert done.code == 3
    for number in range(2, 2 + len(addresses)):
        assert re.search(rf"^  t.csv:{number}: image: http://\S* cannot be fetched", done.err, re.MULTILINE), done.err


def test_brackets_cause_no_traceback() -> None:
    """`data_url` raises InputError for text that looks like a broken URL."""
    for text in ("file://[x", "//[x"):
        with pytest.raises(InputError, match="does not point to a file"):
            data_url(text)


class Site(BaseHTTPRequestHandler):
    """A site with an image, redirects to it and to invalid addresses, a missing page, and a short answer."""

    def do_GET(self) -> None:
        """Answer."""
        where = {"/moved": "/a.png", "/file": "ftp://a.example/x", "/port": "http://a.example:99999/"}.get(self.path)
        self.send_response(302 if where else 404 if self.path == "/nope" else 200)
        if where:
            self.send_header("Location", where)
        self.send_header("Content-Length", str(len(PNG) + (self.path == "/short")))
        self.end_headers()
        self.wfile.write(PNG)

    def log_message(self, *_words: object) -> None:
        """Log nothing."""


@contextmanager
def site() -> Iterator[str]:
    """Run the site."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), Site)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def test_fetching_checks_every_connection() -> None:
    """A redirect is followed, and its target address is checked like the first."""
    asked: list[str] = []

    def once(address: str) -> bool:
        asked.append(address)
        return len(asked) < 2

    with site() as url:
        assert fetch_public(f"{url}/a.png", lambda _: True) == PNG
        assert fetch_public(f"{url}/moved", lambda _: True) == PNG
        with pytest.raises(InputError, match="is not a public address"):
            fetch_public(f"{url}/moved", once)
        for page, told in (
            ("nope", "the server said 404"),
            ("short", "ended after"),
            ("file", "neither http nor https"),
            ("port", "not a usable web address"),
        ):
            with pytest.raises(InputError, match=told):
                fetch_public(f"{url}/{page}", lambda _: True)
    assert asked == ["127.0.0.1", "127.0.0.1"]
