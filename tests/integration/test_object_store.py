"""Objects in a store that is compatible with S3: written completely or not at all, and replaced only on request."""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING

import pytest
from support.stores import Store, s3_server, web_server

from openai_batch.errors import (
    AuthError,
    BatchError,
    MissingExtraError,
    NotFoundError,
    OutputExistsError,
    UnreachableError,
    UsageError,
)
from openai_batch.files.object_store import ObjectStore, is_address, split_address

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

PIECE = 9 << 20
"""The size in bytes of an object that is large enough for a multipart upload."""


@pytest.fixture(scope="module")
def server() -> Iterator[Store]:
    """Run one server for these tests; each test uses its own keys."""
    with s3_server() as store:
        yield store


@pytest.fixture
def store(server: Store, monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest) -> ObjectStore:
    """Return a separate part of the bucket."""
    for name, value in server.env.items():
        monkeypatch.setenv(name, value)
    return ObjectStore(f"s3://bucket/{request.node.name}")


def test_an_object_is_created_once_and_replaced_on_request(store: ObjectStore) -> None:
    """`create` does not replace an object, `replace` does, and parts of it can be read."""
    key = "a folder/ü%20?#.jsonl"
    assert store.stat(key) is None
    assert store.create(key, b"hello")
    assert not store.create(key, b"other")
    assert store.read(key) == b"hello"
    store.replace(key, b"goodbye")
    assert store.read(key) == b"goodbye"
    assert store.read(key, 2, 5) == b"odb"
    assert store.read(key, 4, 100) == b"bye"
    assert store.read(key, 7) == b""
    info = store.stat(key)
    assert info is not None
    assert (info.key, info.size) == (key, 7)
    assert abs(info.modified - time.time()) < 60
    assert [each.key for each in store.list("a folder")] == [key]
    assert [each.key for each in store.list()] == [key]
    store.delete(key)
    store.delete(key)
    assert list(store.list()) == []
    with pytest.raises(NotFoundError, match="does not exist"):
        store.read(key)


def test_a_store_that_sends_other_bytes(server: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    """An answer of the wrong size is an error."""

    class Handler(BaseHTTPRequestHandler):
        def do_HEAD(self) -> None:
            self._answer(200, 10)

        def do_GET(self) -> None:
            self._answer(206, 0)

        def _answer(self, status: int, size: int) -> None:
            self.send_response(status)
            self.send_header("Content-Length", str(size))
            self.send_header("Content-Range", "bytes 0-9/10")
            self.send_header("Last-Modified", "Thu, 26 Nov 2026 10:00:00 GMT")
            self.end_headers()

        def log_message(self, *_: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as odd:
        threading.Thread(target=odd.serve_forever, daemon=True).start()
        for name, value in (server.env | {"AWS_ENDPOINT_URL": f"http://127.0.0.1:{odd.server_port}"}).items():
            monkeypatch.setenv(name, value)
        with pytest.raises(BatchError, match="0 bytes came, and 10 were asked for"):
            ObjectStore("s3://bucket").read("x")
        odd.shutdown()


@pytest.mark.parametrize("size", [3, PIECE])
def test_a_written_object_appears_whole_or_not_at_all(store: ObjectStore, server: Store, size: int) -> None:
    """An object is visible only when it is complete, a failed write leaves nothing, and the first writer wins."""
    data = os.urandom(size)
    with contextlib.suppress(KeyError), store.writer("x", replace=False) as out:
        out.write(data)
        raise KeyError
    with store.writer("x", replace=False) as out:
        out.write(data[:2])
        out.write(data[2:])
        assert list(store.list()) == []
    assert store.read("x") == data
    with (
        pytest.raises(OutputExistsError, match=r"s3://bucket/.*/x already exists"),
        store.writer("x", replace=False) as out,
    ):
        out.write(data + b"more")
    assert store.read("x") == data
    with store.writer("x", replace=True) as out:
        out.write(data + b"more")
    assert store.read("x") == data + b"more"
    assert [info.key for info in store.list()] == ["x"]
    assert server.uploads(store.prefix) == 0


def test_one_of_many_writers_wins(store: ObjectStore, tmp_path: Path) -> None:
    """If several writers store different files under one key at the same time, one of them is stored completely."""
    files = [tmp_path / str(number) for number in range(4)]
    for number, path in enumerate(files):
        path.write_bytes(bytes([number]) * (PIECE if number % 2 else 10))

    def upload(path: Path) -> bool:
        try:
            return store.upload("x", path, replace=False).size == path.stat().st_size
        except OutputExistsError:
            return False

    with ThreadPoolExecutor(4) as pool:
        won = list(pool.map(upload, files))
    assert won.count(True) == 1
    assert store.read("x") == files[won.index(True)].read_bytes()
    assert [info.key for info in store.list()] == ["x"]


KILLED = """
import os, signal, sys
from openai_batch.files.object_store import ObjectStore
with ObjectStore(sys.argv[1]).writer("x", replace=sys.argv[2] == "replace") as out:
    for _ in range(4):
        out.write(bytes(9 << 20))
    print("sent", flush=True)
    os.kill(os.getpid(), signal.SIGKILL)
"""


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no such signal")
@pytest.mark.parametrize("how", ["create", "replace"])
def test_a_killed_upload_leaves_nothing_visible(store: ObjectStore, server: Store, how: str) -> None:
    """A killed upload creates no object and does not change an existing one."""
    if how == "replace":
        store.create("x", b"before")
    done = subprocess.run([sys.executable, "-c", KILLED, store.url, how], capture_output=True, check=False)
    assert (done.returncode, done.stdout) == (-signal.SIGKILL, b"sent\n"), done.stderr
    assert [(info.key, info.size) for info in store.list()] == ([("x", 6)] if how == "replace" else [])
    assert server.uploads(store.prefix) == 1


def test_an_object_that_changes_while_it_is_read_is_an_error(store: ObjectStore) -> None:
    """If an object changes while it is read, the read fails."""
    with store.writer("x", replace=False) as out:
        out.write(bytes(PIECE))
    pieces = store.stream("x")
    next(pieces)
    store.replace("x", bytes(PIECE))
    store.replace("x", b"1" * PIECE)
    with pytest.raises(BatchError, match="changed while it was read"):
        next(pieces)


def test_a_check_finds_out_whether_an_object_could_be_stored(store: ObjectStore) -> None:
    """`check_writable` stores nothing, and a missing bucket is an error."""
    store.check_writable("x")
    assert list(store.list()) == []
    with pytest.raises(NotFoundError, match="there is no bucket s3://nobody"):
        ObjectStore("s3://nobody").check_writable("x")
    with pytest.raises(NotFoundError, match="there is no bucket s3://nobody"):
        list(ObjectStore("s3://nobody").list())


def test_a_store_that_does_not_answer_is_named(monkeypatch: pytest.MonkeyPatch, server: Store) -> None:
    """The error names the address of the object, and is marked as temporary."""
    monkeypatch.setattr("openai_batch.files.object_store._RETRIES", 1)
    with socket.create_server(("127.0.0.1", 0)) as door:
        free = door.getsockname()[1]
    for name, value in (server.env | {"AWS_ENDPOINT_URL": f"http://127.0.0.1:{free}"}).items():
        monkeypatch.setenv(name, value)
    with pytest.raises(UnreachableError, match=r"s3://bucket/x: the store does not answer") as caught:
        ObjectStore("s3://bucket").create("x", b"")
    assert caught.value.passes
    assert "http" not in str(caught.value)


def test_a_store_without_conditional_writes_differs_from_one_that_is_down(
    monkeypatch: pytest.MonkeyPatch, server: Store
) -> None:
    """`create` in a store without conditional writes is an error, and the hint is --force."""
    monkeypatch.setattr("openai_batch.files.object_store._RETRIES", 0)
    with web_server({"any": 501}) as web:
        for name, value in (server.env | {"AWS_ENDPOINT_URL": web.url}).items():
            monkeypatch.setenv(name, value)
        store = ObjectStore("s3://bucket")
        store.check_writable("x")
        with pytest.raises(BatchError, match="only if it is new") as caught:
            store.create("x", b"")
    assert "--force" in caught.value.hint
    monkeypatch.setenv("AWS_ENDPOINT_URL", "localhost:1")
    with pytest.raises(UsageError, match=r"^the endpoint of S3 is not a URL") as refused:
        ObjectStore("s3://bucket")
    assert "AWS_ENDPOINT_URL" in refused.value.hint


def test_keys_of_a_profile_are_used(
    monkeypatch: pytest.MonkeyPatch, server: Store, home: Path, request: pytest.FixtureRequest
) -> None:
    """The keys of AWS_PROFILE are used if boto3 is installed; an unknown profile is an error."""
    pytest.importorskip("boto3")
    (home / ".aws").mkdir()
    (home / ".aws/credentials").write_text("[work]\naws_access_key_id = a\naws_secret_access_key = b\n", "utf-8")
    monkeypatch.setenv("AWS_ENDPOINT_URL", server.url)
    monkeypatch.setenv("AWS_REGION", "us-east-1")
    monkeypatch.setenv("AWS_PROFILE", "work")
    store = ObjectStore(f"s3://bucket/{request.node.name}")
    assert store.create("x", b"1")
    assert store.read("x") == b"1"
    monkeypatch.setenv("AWS_PROFILE", "none")
    with pytest.raises(AuthError, match=r"profile.*none"):
        ObjectStore("s3://bucket")


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no such signal")
@pytest.mark.usefixtures("ctrl_c")
def test_a_signal_interrupts_a_store_that_does_not_answer(monkeypatch: pytest.MonkeyPatch, server: Store) -> None:
    """Ctrl-C ends the wait, even if another thread gets the signal."""

    def interrupt() -> None:
        signal.pthread_kill(threading.get_ident(), signal.SIGINT)

    with socket.create_server(("127.0.0.1", 0)) as door:
        for name, value in (server.env | {"AWS_ENDPOINT_URL": f"http://127.0.0.1:{door.getsockname()[1]}"}).items():
            monkeypatch.setenv(name, value)
        store = ObjectStore("s3://bucket")
        threading.Timer(0.3, interrupt).start()
        start = time.monotonic()
        with pytest.raises(KeyboardInterrupt):
            store.stat("x")
        assert time.monotonic() - start < 5


@pytest.mark.parametrize("refusal", [401, 403])
def test_a_refusal_says_how_to_get_access(monkeypatch: pytest.MonkeyPatch, server: Store, refusal: int) -> None:
    """Missing permissions are an AuthError, and the hint names the variables."""
    with web_server({"any": refusal}) as web:
        for name, value in (server.env | {"AWS_ENDPOINT_URL": web.url}).items():
            monkeypatch.setenv(name, value)
        store = ObjectStore("s3://bucket")
        for act in (lambda: store.stat("x"), lambda: store.create("x", b""), lambda: store.check_writable("x")):
            with pytest.raises(AuthError, match=f"s3://bucket/x.*refused access.*{refusal}") as caught:
                act()
            assert "AWS_ACCESS_KEY_ID" in caught.value.hint


@pytest.mark.parametrize(
    ("url", "variable"),
    [("s3://bucket", "AWS_PROFILE"), ("gs://bucket", "GOOGLE_APPLICATION_CREDENTIALS"), ("az://box", "AZURE_STORAGE_")],
)
def test_without_credentials_the_hint_names_the_variables(
    monkeypatch: pytest.MonkeyPatch, url: str, variable: str
) -> None:
    """Without credentials there is an AuthError, and the hint names the variables."""
    pytest.importorskip("obstore")
    monkeypatch.setenv("GOOGLE_APPLICATION_CREDENTIALS", "/nowhere.json")
    with web_server() as metadata:
        monkeypatch.setenv("AWS_METADATA_ENDPOINT", metadata.url)
        with pytest.raises(AuthError) as caught:
            ObjectStore(url).stat("x")
    assert variable in caught.value.hint


@pytest.mark.parametrize(
    "url", ["s3://", "s3:///x", "s3://us er/x", "s3://me:secret@bucket/x", "http://x/y", "ftp://x/y", "gs://../x"]
)
def test_a_bad_address_is_refused(url: str) -> None:
    """An invalid address is an error that does not show its password."""
    with pytest.raises(UsageError) as caught:
        ObjectStore(url)
    assert "secret" not in f"{caught.value}{caught.value.hint}"


def test_addresses_differ_from_local_files() -> None:
    """Addresses with a known scheme are recognized; other names are local files."""
    yes = ["s3://b/x", "gs://b/x", "az://b/x", "https://h/x", "http://h/x", "hf://datasets/a/b/x", "S3://b/x"]
    assert all(map(is_address, yes))
    assert not any(map(is_address, ["x.jsonl", "s3:/b/x", "file:///x", "C://x", "ftp://h/x", "s3", "-"]))


def test_a_folder_is_refused_as_a_file() -> None:
    """An address without a file name is an error."""
    for address in ("s3://bucket", "s3://bucket/", "s3://bucket/folder/"):
        with pytest.raises(UsageError, match="is a folder, not a file"):
            split_address(address)


def test_without_obstore_the_hint_names_the_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without obstore, the hint installs the extra."""
    monkeypatch.setitem(sys.modules, "obstore", None)
    with pytest.raises(MissingExtraError) as caught:
        ObjectStore("s3://bucket")
    assert "openai-batch[cloud]" in caught.value.hint
