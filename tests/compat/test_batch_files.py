"""The input and result files of a `Batch`, and its behavior after errors."""

from __future__ import annotations

import gc
import io
import json
import os
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from openai_batch import ApiError, AuthError, Batch, DownloadError, InputError, UncertainError
from openai_batch.providers import get_provider_by_name

if TYPE_CHECKING:
    from compat.stub import Stub

HELLO: dict[str, Any] = {"model": "gpt-4o-mini", "messages": [{"role": "user", "content": "Grüße \u2028 ok"}]}


def ids(data: bytes) -> list[str]:
    """Return the custom ids of the lines."""
    return [json.loads(line)["custom_id"] for line in data.split(b"\n") if line]


def test_a_write_only_file_is_read_by_its_name(stub: Stub) -> None:
    """A file opened for writing is uploaded while it is open, and another one after it was closed."""
    with Path("a.jsonl").open("w", encoding="utf-8") as handle:
        batch = Batch(handle)
        batch.add_to_batch(**HELLO)
        batch.submit()
    with Path("b.jsonl").open("wb") as binary:
        other = Batch(binary)
        other.add_to_batch(**HELLO)
    other.submit()
    assert list(stub.names.values()) == ["a.jsonl", "b.jsonl"]
    assert {tuple(ids(data)) for data in stub.files.values()} == {("line-1",)}


def test_temporary_files_and_other_encodings(stub: Stub) -> None:
    """A temporary file works, and the encoding and line ends of its handle are not in the upload."""
    with tempfile.NamedTemporaryFile("w+", encoding="utf-16", newline="\r\n") as handle:
        batch = Batch(handle)
        batch.add_to_batch(**HELLO)
        batch.add_to_batch(**HELLO)
        batch.submit()
    assert ids(stub.uploaded()) == ["line-1", "line-2"]
    assert b"\r" not in stub.uploaded()


def test_a_pipe_cannot_be_read_back(stub: Stub) -> None:
    """Requests written to a pipe cannot be sent, and the error says what to use instead."""
    reading, writing = os.pipe()
    with os.fdopen(writing, "wb") as pipe, os.fdopen(reading, "rb"):
        batch = Batch(pipe)
        batch.add_to_batch(**HELLO)
        with pytest.raises(InputError, match="cannot be read back"):
            batch.submit()
    assert stub.calls == []


def test_a_file_replaced_after_it_was_written_is_not_sent(stub: Stub) -> None:
    """The batch sends what it wrote, even if another file has replaced its file."""
    batch = Batch("in.jsonl")
    batch.add_to_batch(**HELLO)
    with Batch("other.jsonl", custom_id_prefix="other") as other:
        other.add_to_batch(**HELLO)
    Path("other.jsonl").replace("in.jsonl")
    batch.submit()
    assert ids(stub.uploaded()) == ["line-1"]


def test_a_byte_order_mark_is_not_sent(stub: Stub) -> None:
    """A byte order mark causes a warning and is not sent."""
    with Batch("in.jsonl") as batch:
        batch.add_to_batch(**HELLO)
    content = Path("in.jsonl").read_bytes()
    Path("in.jsonl").write_bytes(b"\xef\xbb\xbf" + content)
    with pytest.warns(UserWarning, match="byte order mark"):
        Batch("in.jsonl").submit()
    assert stub.uploaded() == content


def test_a_deleted_batch_leaves_its_requests_in_the_file() -> None:
    """Without `with` and without submitting, the requests are in the file after the batch is deleted."""
    batch = Batch("in.jsonl")
    batch.add_to_batch(**HELLO)
    del batch
    gc.collect()
    assert ids(Path("in.jsonl").read_bytes()) == ["line-1"]


def test_requests_can_be_added_after_the_with_block() -> None:
    """Requests added after the file was closed are appended."""
    with Batch("in.jsonl", custom_id_prefix="row") as batch:
        batch.add_to_batch(**HELLO)
    with batch:
        batch.add_to_batch(**HELLO)
    assert ids(Path("in.jsonl").read_bytes()) == ["row-1", "row-2"]


def test_a_refused_submission_can_be_repeated(stub: Stub) -> None:
    """After an error that created nothing, the same batch can be submitted again, and is created once."""
    stub.faults = [("POST /v1/files", 401, {}), ("POST /v1/batches", 400, {})]
    batch = Batch("in.jsonl")
    batch.add_to_batch(**HELLO)
    with pytest.raises(AuthError):
        batch.submit()
    with pytest.raises(ApiError, match="as planned"):
        batch.submit()
    assert batch.submit(metadata={"who": "me"}) == "batch_1"
    assert stub.batches["batch_1"]["metadata"]["who"] == "me"


def test_an_uncertain_creation_is_looked_for_again(stub: Stub) -> None:
    """If it is unknown whether a batch exists, the next call finds it instead of creating another one."""
    provider = get_provider_by_name("openai")
    provider.create_timeout, provider.create_grace = 0.5, 0.0
    stub.lose_create = True
    stub.faults = [(r"GET /v1/batches\?", 400, {})] * 20
    batch = Batch("in.jsonl", provider=provider)
    batch.add_to_batch(**HELLO)
    with pytest.raises(UncertainError) as caught:
        batch.submit()
    assert "submit() of the same Batch" in caught.value.hint
    with pytest.raises(ValueError, match="Adding to an existing batch"):
        batch.add_to_batch(**HELLO)
    stub.faults.clear()
    assert batch.submit() == "batch_1"
    assert len(stub.seen("POST", "/v1/batches$")) == 1


def test_a_download_that_fails_changes_nothing(stub: Stub) -> None:
    """If a result cannot be downloaded, the earlier file stays, and no partial file is left."""
    Path("out.jsonl").write_text("older\n", encoding="utf-8")
    batch = Batch("in.jsonl", "out.jsonl")
    batch.add_to_batch(**HELLO)
    batch.submit()
    stub.faults = [("content", 400, {})]
    with pytest.raises(ApiError):
        batch.download()
    assert Path("out.jsonl").read_text(encoding="utf-8") == "older\n"
    assert sorted(path.name for path in Path().iterdir()) == ["in.jsonl", "out.jsonl"]


def test_results_can_be_written_to_open_files(stub: Stub) -> None:
    """Results can be written to open text and binary files, which stay open."""
    stub.failing = {"line-2"}
    text, binary = io.StringIO(), io.BytesIO()
    batch = Batch("in.jsonl", text, binary)
    batch.add_to_batch(**HELLO)
    batch.add_to_batch(**HELLO)
    batch.submit()
    assert batch.download() == (text, binary)
    assert ids(text.getvalue().encode()) == ["line-1"]
    assert ids(binary.getvalue()) == ["line-2"]


def test_an_empty_error_file_id_means_no_file(stub: Stub) -> None:
    """An empty string as the id of the error file means that there is none."""
    stub.empty_error_id = True
    batch = Batch("in.jsonl")
    batch.add_to_batch(**HELLO)
    batch.submit()
    assert batch.download() == ("batch_1-output.jsonl", None)


def test_a_providers_own_status_words_are_translated(stub: Stub) -> None:
    """Status words in upper case and of other vendors are translated to the standard ones."""
    stub.statuses = ["PROGRESS", "COMPLETED"]
    batch = Batch("in.jsonl")
    batch.add_to_batch(**HELLO)
    batch.submit()
    assert [batch.status().status, batch.status().status] == ["in_progress", "completed"]


def test_a_batch_id_never_becomes_a_path(stub: Stub) -> None:
    """Results of a batch with a malicious id stay in the working folder."""
    batch = Batch("in.jsonl")
    batch.add_to_batch(**HELLO)
    batch.submit()
    stub.batches["batch_1"]["id"] = "../../x/y"
    assert batch.download()[0] == "_.._x_y-output.jsonl"
    assert Path("_.._x_y-output.jsonl").exists()


def test_options_reach_the_provider(stub: Stub) -> None:
    """Extra headers and query parameters are sent with the request for the status."""
    batch = Batch("in.jsonl")
    batch.add_to_batch(**HELLO)
    batch.submit()
    stub.batches["batch_1"]["id"] = "batch_1"
    with pytest.raises(Exception, match="404"):
        batch.status(extra_headers={"X-Mine": "1"}, extra_query={"q": "2"}, timeout=5)
    call = stub.calls[-1]
    assert (call.headers["x-mine"], call.path) == ("1", "/v1/batches/batch_1?q=2")


@pytest.mark.slow
def test_a_cut_result_is_not_kept(stub: Stub) -> None:
    """A result that is shorter than announced is refused."""
    batch = Batch("in.jsonl")
    batch.add_to_batch(**HELLO)
    batch.submit()
    stub.faults = [("content", 200, {"Content-Length": "9999"})] * 5
    with pytest.raises((DownloadError, ApiError), match="file-output-batch_1"):
        batch.download()
    assert not Path("batch_1-output.jsonl").exists()
