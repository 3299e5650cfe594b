"""Each built-in profile, against a server that behaves as the vendor documents."""

from __future__ import annotations

import json
import os
import tomllib
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from support.command import ids, inside
from support.vendors import VENDORS, VendorServer, vendor_server

from openai_batch import Batch
from openai_batch.errors import UsageError
from openai_batch.providers import get_provider_by_name
from openai_batch.providers.builtin import BUILT_IN
from openai_batch.providers.builtin_names import BUILT_IN_NAMES, KEY_VARIABLES
from openai_batch.providers.config import built_in_text
from openai_batch.providers.config_edit import profile_text

if TYPE_CHECKING:
    from collections.abc import Iterator

KEY = "key-of-this-vendor-0123456789"
IDS = ["line-1", "line-2", "line-3"]
FILES = [name for name in BUILT_IN_NAMES if name not in BUILT_IN]


def test_each_profile_has_a_server() -> None:
    """Every built-in profile has a server in `support.vendors`."""
    assert VENDORS.keys() == set(FILES)


@pytest.fixture
def server(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[VendorServer]:
    """Run the server of the vendor that the test names, with its built-in profile at another base URL."""
    name = request.param
    with vendor_server(name, KEY) as server:
        table = tomllib.loads(built_in_text(name)) | {"base_url": server.base_url}
        Path(os.environ["OBATCH_CONFIG"]).write_text(profile_text(name, table), encoding="utf-8")
        if variable := KEY_VARIABLES[name]:
            monkeypatch.setenv(variable, KEY)
        Path("prompts.txt").write_text("one\ntwo\nthree\n", encoding="utf-8")
        yield server
    assert server.refusals == []


def each(*names: str) -> pytest.MarkDecorator:
    """Run a test with the servers of these vendors; without names, with all of them."""
    found = names or FILES
    return pytest.mark.parametrize(("server", "name"), [(name, name) for name in found], indirect=["server"], ids=found)


def submit(name: str, model: str) -> None:
    """Make a batch file of the prompts, check it and send it."""
    inside("prepare", "prompts.txt", "-p", name, "-m", model, "-o", "in.jsonl").succeeded()
    inside("check", "in.jsonl", "-p", name).succeeded()
    inside("submit", "in.jsonl", "-p", name).succeeded()


@each()
def test_a_whole_job_at_each_vendor(server: VendorServer, name: str) -> None:
    """A whole job works with the paths, statuses and files of each vendor."""
    plan = "fault:steps=validating,in_progress,finalizing;rows=mixed"
    submit(name, plan)
    seen = [inside("status", "1", "--json").json["status"] for _ in range(3)]
    assert seen[:2] == ["validating", "in_progress"]
    assert seen[2] in ("finalizing", "in_progress")
    assert inside("wait", "1").code in (0, 5)  # one vendor shows no counts
    counts = inside("status", "1", "--json").json["requests"]
    assert (counts["completed"], counts["failed"]) == ((0, 0) if name == "together" else (2, 1))
    result = inside("download", "1", "-o", "out.jsonl")
    assert (result.code, ids("out.jsonl")) == (5, IDS)
    assert "2 of 3" in result.err
    assert len(server.batches) == 1


@each()
def test_nothing_is_paid_twice_at_any_vendor(server: VendorServer, name: str) -> None:
    """If the answer to a create is lost, the batch is found in the vendor's list, with or without metadata."""
    words = ("run", "prompts.txt", "-p", name, "-m", "fault:create=made.reset", "-o", "out.jsonl")
    inside(*words).succeeded()
    assert ids("out.jsonl") == IDS
    inside(*words, "--force").succeeded()
    assert (len(server.creates), len(server.batches)) == (1, 1)


@each("together", "novita", "azure")
def test_a_lost_registry_is_restored(server: VendorServer, name: str) -> None:
    """Batches are found by their files if the vendor has no metadata."""
    submit(name, "some-model")
    (Path(os.environ["OBATCH_STATE_DIR"]) / "registry.db").unlink()
    inside("recover", "-p", name).succeeded()
    inside("run", "in.jsonl", "-p", name, "-o", "out.jsonl").succeeded()
    assert (len(server.creates), ids("out.jsonl")) == (1, IDS)


@each("together", "novita")
def test_a_reason_that_is_a_text_is_shown(server: VendorServer, name: str) -> None:
    """A failure reason that is a plain text is shown, under `error` or `errors`."""
    result = inside("run", "prompts.txt", "-p", name, "-m", "fault:end=failed", "-o", "out.jsonl")
    assert result.code == 5
    assert "This line is no JSON." in result.err
    assert len(server.batches) == 1


@each("together")
def test_metadata_is_refused_if_the_vendor_has_none(server: VendorServer, name: str) -> None:
    """Metadata is an error before anything is sent, also in Python."""
    result = inside("run", "prompts.txt", "-p", name, "-m", "m", "--metadata", "team=blue", "-o", "out.jsonl")
    result.failed(2, "batches at Together AI have no metadata", "leave the metadata out")
    batch = Batch(provider=get_provider_by_name(name))
    batch.add_to_batch(model="m", messages=[])
    with pytest.raises(UsageError, match="no metadata"):
        batch.submit(metadata={"team": "blue"})
    assert server.requests == []


@each("zhipu")
def test_paths_of_another_version_are_written(server: VendorServer, name: str) -> None:
    """New requests get the paths of the vendor; a batch file with other paths is not sent."""
    assert server.vendor.endpoints[0] == "/v4/chat/completions"
    inside("run", "--example", "-p", name, "-m", "m", "-o", "labels.jsonl")
    inside("run", "prompts.txt", "-p", name, "-m", "m", "-e", "-o", "vectors.jsonl")
    batch = Batch(provider=get_provider_by_name(name), submission_input_file="made.jsonl")
    batch.add_to_batch(model="m", messages=[{"role": "user", "content": "Hi"}])
    batch.submit()
    endpoints = [batch.endpoint for batch in server.batches.values()]
    assert endpoints == ["/v4/chat/completions", "/v4/embeddings", "/v4/chat/completions"]
    line = json.loads(Path("made.jsonl").read_text(encoding="utf-8"))
    Path("ready.jsonl").write_text(json.dumps(line | {"url": "/v1/chat/completions"}), encoding="utf-8")
    inside("run", "ready.jsonl", "-p", name).failed(3, "no batches for /v1/chat/completions", "")


@each("together", "azure")
def test_doctor_prints_the_whole_profile(server: VendorServer, name: str) -> None:
    """The output of `doctor -q` can be used as a profile, with the same settings."""
    before = get_provider_by_name(name)
    server.models = ["some-model"]
    printed = inside("doctor", name, "-q").succeeded().out
    Path(os.environ["OBATCH_CONFIG"]).write_text(printed.replace(name, "copy"), encoding="utf-8")
    copy = get_provider_by_name("copy")
    for field in ("headers", "upload_path", "upload_fields", "file_purpose", "sends_metadata", "endpoints", "account"):
        assert getattr(copy, field) == getattr(before, field)
