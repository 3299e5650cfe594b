"""What programs for 0.3.4 rely on besides names and signatures, and what `Batch` can do beyond 0.3.4."""

from __future__ import annotations

import io
import json
import pickle
import sys
import warnings
from pathlib import Path
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any
from unittest.mock import MagicMock, patch

import openai
import pytest
from compat.conftest import python
from pydantic import BaseModel

import openai_batch
from openai_batch import Batch, InputError, Jobs, Outcome, UnknownProviderError, providers, run
from openai_batch.providers import Provider
from openai_batch.testing import fake_provider

if TYPE_CHECKING:
    from compat.stub import Stub

CHAT: dict[str, Any] = {"model": "gpt-4", "messages": [{"role": "user", "content": "x"}]}


class Label(BaseModel):
    """A schema of answers."""

    label: str
    score: int = 0


def line(custom_id: str = "a", **body: Any) -> bytes:
    """Return a line of a ready batch input."""
    whole = {"custom_id": custom_id, "method": "POST", "url": "/v1/chat/completions", "body": CHAT | body}
    return json.dumps(whole).encode() + b"\n"


def provider_at(base_url: str, **values: Any) -> Provider:
    """Return a provider made by a program."""
    return Provider(**{"name": "x", "base_url": base_url, "api_key": "key-0123456789abcdef"} | values)


def failure(stub: Stub, status: int, monkeypatch: pytest.MonkeyPatch) -> Any:
    """Return the error of a status request that is answered with `status`."""
    monkeypatch.setattr(stub, "faults", [("GET /v1/batches/", status, {"Retry-After-Ms": "1"})] * 5)
    with pytest.raises(openai.APIStatusError) as caught:
        Batch(batch_id="batch_1", provider=provider_at(stub.base_url)).status()
    return caught.value


@pytest.mark.parametrize(
    ("status", "theirs", "ours"),
    [
        (404, openai.NotFoundError, openai_batch.NotFoundError),
        (401, openai.AuthenticationError, openai_batch.AuthError),
        (403, openai.PermissionDeniedError, openai_batch.AuthError),
        (429, openai.RateLimitError, openai_batch.ApiError),
        (400, openai.BadRequestError, openai_batch.ApiError),
        (503, openai.InternalServerError, openai_batch.ApiError),
    ],
)
def test_errors_are_also_errors_of_the_sdk(
    stub: Stub, monkeypatch: pytest.MonkeyPatch, status: int, theirs: type[Exception], ours: type[Exception]
) -> None:
    """An error is an instance of the SDK's class and of ours, with the attributes of both, also after pickling."""
    error: Any = failure(stub, status, monkeypatch)
    copied: Any = pickle.loads(pickle.dumps(error))  # noqa: S301 - data of this test
    for each in (error, copied):
        assert issubclass(type(each), theirs)
        assert issubclass(type(each), ours)
        assert (each.status_code, each.body) == (status, {"message": "as planned"})
        assert type(each).__name__ == ours.__name__
        assert str(each).startswith("could not ask for batch batch_1: ")
        assert each.hint == error.hint
        assert isinstance(each.code, int)
    assert error.response.status_code == status


def test_a_connection_error_is_also_an_error_of_the_sdk() -> None:
    """A connection error is an instance of the SDK's class too."""
    with pytest.raises(openai.APIConnectionError) as caught:
        Batch(batch_id="batch_1", provider=provider_at("http://127.0.0.1:9/v1")).status()
    assert isinstance(caught.value, openai_batch.UnreachableError)
    assert isinstance(pickle.loads(pickle.dumps(caught.value)), openai.APIConnectionError)  # noqa: S301


def test_a_missing_key_is_also_an_error_of_the_sdk() -> None:
    """Without a key, an error of both classes is raised."""
    with pytest.raises(openai.OpenAIError, match="OPENAI_API_KEY is not set") as caught:
        Batch(batch_id="batch_1", provider="openai").status()
    assert isinstance(caught.value, openai_batch.AuthError)


def test_a_repeated_key_is_in_no_attribute(stub: Stub, monkeypatch: pytest.MonkeyPatch) -> None:
    """A key that the server repeats is also removed from the SDK's `body` and `message`."""
    key = provider_at("").api_key
    answer = (401, json.dumps({"error": {"message": f"bad key {key}", "seen": [key]}}).encode())
    monkeypatch.setattr(stub, "answer", lambda _: answer)
    with pytest.raises(openai.AuthenticationError) as caught:
        Batch(batch_id="batch_1", provider=provider_at(stub.base_url)).status()
    assert str(key) not in str(vars(caught.value))
    assert caught.value.body == {"message": "bad key (key)", "seen": ["(key)"]}


def test_the_errors_need_no_sdk() -> None:
    """`openai_batch.errors` does not import the SDK."""
    assert python("-c", "import sys, openai_batch.errors; print('openai' in sys.modules)").stdout == "False\n"


def test_the_error_says_that_no_key_was_sent(stub: Stub, monkeypatch: pytest.MonkeyPatch) -> None:
    """If a request without a key is refused, the hint says that no key was sent."""
    monkeypatch.setattr(stub, "answer", lambda _: (401, b"{}"))
    with pytest.raises(openai_batch.AuthError) as caught:
        Batch(batch_id="batch_1", provider=provider_at(stub.base_url, api_key=None)).status()
    assert caught.value.hint.startswith("no key was sent")


def test_a_key_that_is_not_sent_is_named(stub: Stub, monkeypatch: pytest.MonkeyPatch) -> None:
    """A warning says that OPENAI_API_KEY is not sent to another host, and how to send it; then it is sent silently."""
    monkeypatch.setenv("OPENAI_API_KEY", "sk-proxy")
    with pytest.warns(UserWarning, match=r"OPENAI_API_KEY is not sent to 127\.0\.0\.1:\d+.*api_key_env_var") as caught:
        Batch(line(), provider=Provider(base_url=stub.base_url)).submit()
    assert caught[0].filename == __file__
    Batch(line(), provider=Provider(base_url=stub.base_url, api_key_env_var="OPENAI_API_KEY")).submit()
    Batch(line(), provider="openai").submit()
    assert [call.headers.get("authorization") for call in stub.seen("POST", "/v1/batches$")] == [
        None,
        "Bearer sk-proxy",
        "Bearer test-key-1",
    ]


def test_the_key_of_a_named_provider_is_named(stub: Stub, monkeypatch: pytest.MonkeyPatch) -> None:
    """`-p parasail --base-url` with another host does not send Parasail's key, and a warning says so."""
    monkeypatch.setenv("TEST_KEY", "test-key-1")
    Path("in.jsonl").write_bytes(line())
    elsewhere = stub.base_url.replace("127.0.0.1", "localhost")
    with pytest.warns(UserWarning, match="TEST_KEY is not sent to localhost"):
        run.main(["in.jsonl", "-p", "parasail", "--base-url", elsewhere, "-c"])
    assert "authorization" not in stub.calls[0].headers


def test_a_provider_without_arguments_uses_the_sdks_environment(stub: Stub, monkeypatch: pytest.MonkeyPatch) -> None:
    """`Provider()` uses OPENAI_BASE_URL and OPENAI_API_KEY, also in `Batch` and `Jobs`."""
    monkeypatch.setenv("OPENAI_API_KEY", "sk-mine")
    assert str(Provider().get_client().base_url) == "https://api.openai.com/v1/"
    monkeypatch.setenv("OPENAI_BASE_URL", stub.base_url)
    assert Batch(line(), provider=Provider()).submit() == "batch_1"
    with Jobs("state") as jobs:
        assert jobs.submit([CHAT], provider=Provider()).batch_ids == ["batch_2"]
    assert {call.headers["authorization"] for call in stub.calls} == {"Bearer sk-mine"}


def test_a_provider_by_name(stub: Stub) -> None:
    """`Batch(provider="openai")` uses `get_provider_by_name("openai")`."""
    assert Batch(line(), provider="openai").submit() == "batch_1"
    assert stub.calls
    with pytest.raises(UnknownProviderError, match="No provider found with name: nobody"):
        Batch(provider="nobody")


@pytest.mark.parametrize("way", ["append", "replace"])
def test_own_providers_in_the_list(monkeypatch: pytest.MonkeyPatch, way: str) -> None:
    """A provider that a program adds to `all_providers` is found by its name."""
    mine = Provider(name="mine", base_url="http://127.0.0.1:9/v1", api_key_env_var="MY_KEY")
    monkeypatch.setenv("MY_KEY", "my-key")
    if way == "replace":
        monkeypatch.setattr(providers, "all_providers", [*providers.all_providers, mine])
    else:
        monkeypatch.setattr(providers, "all_providers", list(providers.all_providers))
        providers.all_providers.append(mine)
    found = providers.get_provider_by_name("mine")
    assert (found.base_url, found.api_key) == ("http://127.0.0.1:9/v1", "my-key")
    assert Batch(provider="mine").provider == found


def test_numpy_values_and_subclasses() -> None:
    """Numpy values and instances of subclasses of str, int and float are written as plain values."""
    numpy = pytest.importorskip("numpy")

    class Text(str):
        __slots__ = ()

    text = io.StringIO()
    content = [Text("a"), *numpy.array(["b"])]
    given: dict[str, Any] = {
        "temperature": numpy.float64(0.5),
        "seed": numpy.int64(3),
        "stop": numpy.array(["x", "y"]),
        "top_p": numpy.float32(0.25),
    }
    messages = [{"role": "user", "content": part} for part in content]
    Batch(text).add_to_batch(model=Text("gpt-4"), messages=messages, **given)
    body = json.loads(text.getvalue())["body"]
    assert [message["content"] for message in body["messages"]] == ["a", "b"]
    assert {name: body[name] for name in given} == {"temperature": 0.5, "seed": 3, "stop": ["x", "y"], "top_p": 0.25}
    for bad in (numpy.float32("nan"), numpy.array([numpy.inf])):
        with pytest.raises(InputError, match=r"temperature.* is not a finite number"):
            Batch(text).add_to_batch(**CHAT, temperature=bad)


def test_values_of_numpy_in_jobs() -> None:
    """Lists of requests for `Jobs.submit` are encoded in the same way, with and without a URL."""
    numpy = pytest.importorskip("numpy")
    body = CHAT | {"temperature": numpy.float64(0.5)}
    with fake_provider() as fake, Jobs("state") as jobs:
        whole = {"custom_id": "b", "url": "/v1/chat/completions", "body": body | {"seed": numpy.int64(1)}}
        jobs.submit([body, whole]).wait()
        assert [request["body"]["temperature"] for request in fake.requests] == [0.5, 0.5]


def test_a_type_as_response_format() -> None:
    """A pydantic model as `response_format` or `text_format` is sent as a strict schema, as with the SDK's `parse`."""
    text = io.StringIO()
    batch = Batch(text)
    batch.add_to_batch(**CHAT, response_format=Label)
    form = json.loads(text.getvalue())["body"]["response_format"]
    assert form["type"] == "json_schema"
    assert (form["json_schema"]["name"], form["json_schema"]["strict"]) == ("Label", True)
    assert form["json_schema"]["schema"]["required"] == ["label", "score"]
    text = io.StringIO()
    Batch(text).add_to_batch(model="gpt-4", input="x", instructions="y", text_format=Label, text={"verbosity": "low"})
    body = json.loads(text.getvalue())["body"]
    assert body["text"] == {"verbosity": "low", "format": {"type": "json_schema", **form["json_schema"]}}
    assert "text_format" not in body
    with pytest.raises(InputError, match='the top must have "type": "object"'):
        batch.add_to_batch(**CHAT, response_format=int)


def test_a_type_as_response_format_in_jobs() -> None:
    """A pydantic model also works in lists of requests, with and without a URL."""
    body = CHAT | {"response_format": Label}
    with fake_provider() as fake, Jobs("state") as jobs:
        jobs.submit([body, {"custom_id": "b", "url": "/v1/chat/completions", "body": body}]).wait()
        names = [request["body"]["response_format"]["json_schema"]["name"] for request in fake.requests]
    assert names == ["Label", "Label"]


@pytest.mark.parametrize("kind", ["mock", "plain objects"])
def test_a_mocked_client(kind: str) -> None:
    """A mocked client of a program's own tests is used for all calls."""
    client: Any = MagicMock()
    ended: Any = SimpleNamespace(id="b1", status="completed", output_file_id="f2", error_file_id=None)
    client.files.create.return_value.id = "f1"
    client.batches.create.return_value.id = "b1"
    client.batches.retrieve.return_value = ended
    result_line = {"custom_id": "a", "response": {"status_code": 200, "body": {"choices": []}}, "error": None}
    client.files.content.return_value.content = json.dumps(result_line).encode()
    if kind == "plain objects":
        client = SimpleNamespace(files=client.files, batches=client.batches)
    with patch.object(Provider, "get_client", return_value=client):
        batch = Batch(line(), "out.jsonl", provider=Provider(name="x", base_url="http://127.0.0.1:9/v1", api_key="k"))
        assert batch.submit() == "b1"
        assert batch.status() is ended
        assert batch.download() == ("out.jsonl", None)
        assert [result.custom_id for result in batch.results()] == ["a"]
    assert json.loads(Path("out.jsonl").read_bytes()) == result_line
    assert client.batches.create.call_args.kwargs["input_file_id"] == "f1"


def test_a_client_made_by_the_program(stub: Stub) -> None:
    """`Provider._client` can be set; it is used, and not closed."""
    provider = Provider(name="x", base_url="http://127.0.0.1:9/v1")
    provider._client = openai.OpenAI(base_url=stub.base_url, api_key="its-own")  # type: ignore[misc]
    assert Batch(line(), provider=provider).submit() == "batch_1"
    assert not provider._client.is_closed()
    provider._client.close()


def test_a_ready_file_for_an_unknown_provider(stub: Stub) -> None:
    """The format of a ready file is checked, and only limits that are known for the provider."""
    two = line("a", model="m1") + line("b", model="m2")
    assert Batch(two, provider=provider_at(stub.base_url)).submit() == "batch_1"
    with pytest.raises(InputError, match="accepts 1 per file"):
        Batch(two, provider=provider_at(stub.base_url, batch_input_max_requests=1)).submit()
    with pytest.raises(InputError, match="custom_id"):
        Batch(line() * 2, provider=provider_at(stub.base_url)).submit()
    with pytest.raises(InputError, match='model is "m2"'):
        Batch(two, provider="openai").submit()


@pytest.mark.parametrize("count", [0, 1, 15, 16])
def test_the_metadata_is_that_of_the_program(stub: Stub, count: int) -> None:
    """As many pairs as the provider accepts can be given, and `status` returns them unchanged."""
    given = {f"k{number}": "1" for number in range(count)} or None
    batch = Batch(line(), provider="openai")
    batch.submit(metadata=given)
    assert batch.status().metadata == given
    assert len(json.loads(stub.seen("POST", "/v1/batches$")[0].body)["metadata"]) <= 16


def test_batches_of_batch_are_not_used_for_a_job(stub: Stub) -> None:
    """A batch created by `Batch` is not used for a job with the same input."""
    Batch(line(), provider="openai").submit()
    with Jobs("state") as jobs:
        assert jobs.submit([CHAT], provider="openai").batch_ids == ["batch_2"]
    assert len(stub.batches) == 2


def test_the_name_of_a_new_input_is_known() -> None:
    """After the first request `submission_input_file` is the generated path."""
    with Batch() as one, Batch() as two:
        for batch in (one, two):
            batch.add_to_batch(**CHAT)
            made = batch.submission_input_file
            assert isinstance(made, Path)
            assert made.is_file()
            assert made.name.startswith("batch_submission_")
    assert one.submission_input_file != two.submission_input_file


def test_a_custom_id_of_a_subclass() -> None:
    """A subclass can override `_get_custom_id`."""

    class Own(Batch):
        def _get_custom_id(self) -> str:
            return f"mine-{self.n_requests}"

    text = io.StringIO()
    Own(text).add_to_batch(**CHAT)
    assert json.loads(text.getvalue())["custom_id"] == "mine-0"


def test_a_dry_run_creates_missing_files_only() -> None:
    """A dry run creates output files that do not exist, and does not change those that do."""
    Path("err.jsonl").write_text("precious", encoding="utf-8")
    batch = Batch("in.jsonl", Path("new/out.jsonl"), "err.jsonl")
    batch.add_to_batch(**CHAT)
    batch.submit_wait_download(interval=0, dry_run=True)
    assert Path("new/out.jsonl").read_bytes() == b""
    assert Path("err.jsonl").read_text(encoding="utf-8") == "precious"
    batch.__exit__(None, None, None)


def test_results_in_the_order_of_the_input(stub: Stub) -> None:
    """Results are in input order; failed and missing requests have a result; a running batch has none."""
    stub.failing = {"a"}
    stub.statuses = ["in_progress", "completed"]
    given = line("a") + line("b") + line("c")
    batch = Batch(given, provider="openai")
    batch_id = batch.submit()
    with pytest.raises(openai_batch.BatchError, match="batch_1 is in_progress: there are no results yet"):
        next(batch.results())
    del stub.batches[batch_id]["good"][-1]
    for each in (batch, Batch(batch_id=batch_id, provider="openai")):
        results = list(each.results())
        assert [result.custom_id for result in results] == ["a", "b", "c"]
        assert [result.outcome for result in results] == [Outcome.ERROR, Outcome.SUCCESS, Outcome.MISSING]
    stub.files = {name: data for name, data in stub.files.items() if not name.startswith("file-in")}
    elsewhere = Batch(batch_id=batch_id, provider="openai")
    assert [result.custom_id for result in elsewhere.results()] == ["b", "a"]
    assert not list(Path().glob("*-output.jsonl"))


def test_results_after_the_input_was_replaced(stub: Stub) -> None:
    """Results are in the order of what was sent, even if the input file has been replaced."""
    with Batch("in.jsonl", custom_id_prefix="b", provider="openai") as batch:
        for text in ("y", "x"):
            batch.add_to_batch(model="gpt-4", messages=[{"role": "user", "content": text}])
    batch.submit()
    assert [result.custom_id for result in batch.results()] == ["b-1", "b-2"]
    assert not stub.seen("GET", "/file-in0/content")
    Path("in.jsonl").write_bytes(line("z"))
    assert [result.custom_id for result in batch.results()] == ["b-1", "b-2"]
    assert stub.seen("GET", "/file-in0/content")


def test_a_warning_that_is_an_error_comes_before_the_payment(stub: Stub) -> None:
    """With `-W error`, a replaced input raises before the batch is created; the next call creates it."""
    Path("in.jsonl").write_text("older\n", encoding="utf-8")
    batch = Batch("in.jsonl", provider="openai")
    batch.add_to_batch(**CHAT)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        with pytest.raises(UserWarning, match=r"in\.jsonl\.1"):
            batch.submit()
        assert not stub.batches
        assert batch.submit() == "batch_1"
    assert len(stub.batches) == 1


def test_cancel() -> None:
    """`cancel` cancels the batch at the provider, and returns it."""
    with fake_provider(polls=5):
        batch = Batch(line(), provider="fake")
        with pytest.raises(ValueError, match="Batch has not been submitted yet"):
            batch.cancel()
        batch.submit()
        assert batch.cancel().status in ("cancelling", "cancelled")


def test_the_docstring_says_that_no_record_is_kept() -> None:
    """`help(Batch)` says that it keeps no record, and that `Jobs` does."""
    text = " ".join(str(Batch.__doc__).split())
    assert "It keeps no record." in text
    assert "`Jobs` keeps a record" in text
    assert sys.modules["openai_batch"].Jobs is Jobs


@pytest.mark.parametrize("name", ["output_file", "error_file"])
def test_a_folder_for_results_is_refused_before_anything_is_sent(stub: Stub, tmp_path: Path, name: str) -> None:
    """If the output or the error file is a folder, `submit` fails, and another path can be given."""
    targets: dict[str, Any] = {name: tmp_path}
    batch = Batch(line(), provider="openai", **targets)
    with pytest.raises(ValueError, match="is a folder, not a file"):
        batch.submit()
    assert not stub.seen("POST", ".*")
    setattr(batch, name, tmp_path / "results.jsonl")
    batch.submit()


def test_a_folder_for_the_results_of_an_ended_batch_is_refused(stub: Stub, tmp_path: Path) -> None:
    """`download` says so, and writes the results when another path is given."""
    first = Batch(line(), provider="openai")
    first.submit_wait_download(interval=0)
    batch = Batch(batch_id=first.batch_id, output_file=tmp_path, provider="openai")
    with pytest.raises(ValueError, match="is a folder, not a file"):
        batch.download()
    batch.output_file = tmp_path / "again.jsonl"
    batch.download()
    assert (tmp_path / "again.jsonl").stat().st_size
    assert len(stub.seen("POST", "/v1/batches$")) == 1
