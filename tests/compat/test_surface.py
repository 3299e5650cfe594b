"""The names, signatures, defaults and messages of 0.3.4."""

from __future__ import annotations

import inspect
import io
import json
import re
from typing import Any

import pytest
from compat.conftest import python

import openai_batch
from openai_batch import Batch, batch, create_batch, create_batch_input, create_input
from openai_batch.batch import BatchType

CHAT: dict[str, Any] = {"model": "gpt-4", "messages": [{"role": "user", "content": "Hi"}]}
EMBEDDING: dict[str, Any] = {"model": "text-embedding-3-small", "input": "Hi"}
SCORE: dict[str, Any] = {"model": "m", "text_1": "a", "text_2": "b"}
RERANK: dict[str, Any] = {"model": "m", "query": "q", "documents": ["d"]}
IMAGE: dict[str, Any] = {
    "model": "Shitao/OmniGen-v1",
    "prompt": "p",
    "size": "1x1",
    "image": "u",
    "response_format": "url",
}
SPEECH: dict[str, Any] = {"model": "whisper", "file": "data:audio/mp3;base64,AAAA", "language": "de"}

NO_KIND = (
    "Request must include either 'input' for embeddings, 'messages' for chat completions, 'documents' for rerank, "
    "or 'text_1' for score"
)
TWO_MODELS = (
    "Model mismatch. Provider openai requires model consistency. First request determines model for batch and is gpt-4 "
    "and subsequent request is gpt-3.5-turbo"
)

STATUS = ["self", "extra_headers", "extra_query", "extra_body", "timeout", "dry_run"]


@pytest.mark.parametrize(
    ("function", "names"),
    [
        (
            Batch.__init__,
            ["self", "submission_input_file", "output_file", "error_file", "custom_id_prefix", "batch_id", "provider"],
        ),
        (Batch.submit, ["self", "metadata", "dry_run"]),
        (Batch.status, STATUS),
        (Batch.download, STATUS),
        (
            Batch.submit_wait_download,
            ["self", "interval", "status_callback", *STATUS[1:5], "metadata", "dry_run"],
        ),
        (openai_batch.wait, ["client", "batch_id", "interval", "callback", "finished_callback", "status_kwargs"]),
    ],
)
def test_the_arguments_are_in_the_same_order(function: Any, names: list[str]) -> None:
    """Positional arguments are in the same order as in 0.3.4."""
    assert list(inspect.signature(function).parameters) == names


def test_the_defaults() -> None:
    """A new batch has the same attributes and values as in 0.3.4."""
    made = Batch()
    values = [getattr(made, name) for name in ("submission_input_file", "output_file", "error_file", "batch_id")]
    assert values == [None] * 4
    assert (made.custom_id_prefix, made.n_bytes, made.n_requests, made.model) == ("line", 0, 0, None)
    assert (made.provider, made.batch_type) == (None, None)
    assert batch.FINISHED_STATES == ("failed", "completed", "expired", "cancelled")
    assert [provider.name for provider in batch.all_providers] == ["openai", "parasail"]
    assert batch.get_provider_by_model("meta-llama/Meta-Llama-3-8B-Instruct").name == "parasail"
    old = {"chat_completion", "embedding", "score", "rerank", "transfusion"}
    assert old < {kind.value for kind in BatchType}


@pytest.mark.parametrize(
    ("params", "kind", "url", "body"),
    [
        (CHAT, "chat_completion", "/v1/chat/completions", {}),
        (EMBEDDING, "embedding", "/v1/embeddings", {}),
        (SCORE, "score", "/v1/score", {}),
        (RERANK, "rerank", "/v1/score", {}),
        (RERANK | {"documents": "d"}, "rerank", "/v1/score", {"documents": ["d"]}),
        (IMAGE, "transfusion", "/v1/images/edits", {"image": ["u"]}),
        (SPEECH, "transcription", "/v1/audio/transcriptions", {"file": "AAAA", "file_type": "audio/mp3"}),
        (SPEECH | {"file": "file-9"}, "transcription", "/v1/audio/transcriptions", {}),
        (RERANK | {"endpoint": "rerank"}, "rerank", "/v1/rerank", {}),
        (CHAT | {"endpoint": "/v4/chat/completions"}, "chat_completion", "/v4/chat/completions", {}),
    ],
)
def test_each_kind_of_request(params: dict[str, Any], kind: str, url: str, body: dict[str, Any]) -> None:
    """The keys decide the kind and the endpoint, and the body is what was passed, except where the kind changes it."""
    text = io.StringIO()
    made = Batch(text)
    made.add_to_batch(**params)
    line = json.loads(text.getvalue())
    passed = {key: value for key, value in params.items() if key != "endpoint"}
    assert line == {"custom_id": "line-1", "method": "POST", "url": url, "body": passed | body}
    assert made.batch_type is not None
    assert (made.batch_type.value, made.n_bytes) == (kind, len(text.getvalue().encode()))


@pytest.mark.parametrize(
    ("params", "message"),
    [
        ({"messages": []}, "Model must be specified in arguments"),
        (
            {"model": "m"},
            NO_KIND,
        ),
        ({"model": "m", "prompt": "p"}, "does not say which endpoint"),
        (CHAT | EMBEDDING, "Request cannot include multiple types of parameters. Use only one of:"),
        ({"model": "m", "text_1": "a"}, "'text_2' is required for score requests"),
        ({"model": "m", "documents": ["d"]}, "'query' is required for rerank requests"),
        ({"model": "m", "documents": 12, "query": "q"}, "Rerank 'documents' must be a list of strings."),
        (
            {"model": "Shitao/OmniGen-v1", "prompt": "p", "size": "s"},
            "Missing required parameters for transfusion requests: image, response_format",
        ),
        (CHAT | {"endpoint": "/v1/nonsense"}, "/v1/nonsense"),
    ],
)
def test_the_messages_of_a_bad_request(params: dict[str, Any], message: str) -> None:
    """Messages that programs may match are unchanged, and each error is a ValueError."""
    with pytest.raises(ValueError, match=re.escape(message)):
        Batch(io.StringIO()).add_to_batch(**params)


@pytest.mark.parametrize(
    ("first", "then", "message"),
    [
        (CHAT, EMBEDDING, "Cannot add embedding to a chat_completion batch"),
        (EMBEDDING, CHAT, "Cannot add chat completion to a embedding batch"),
        (CHAT, SCORE, "Cannot add score request to a chat_completion batch"),
        (SCORE, RERANK, "Cannot add rerank request to a score batch"),
        (SCORE, IMAGE, "Cannot add transfusion request to a score batch"),
        (
            CHAT,
            CHAT | {"model": "gpt-3.5-turbo"},
            TWO_MODELS,
        ),
    ],
)
def test_the_messages_of_a_mixed_batch(first: dict[str, Any], then: dict[str, Any], message: str) -> None:
    """A batch contains one kind of request, and on OpenAI one model; the messages are those of 0.3.4."""
    made = Batch(io.StringIO())
    made.add_to_batch(**first)
    with pytest.raises(ValueError, match=re.escape(message)):
        made.add_to_batch(**then)
    assert made.n_requests == 1


def test_parasail_takes_two_models() -> None:
    """Models can be mixed if the provider allows it."""
    made = Batch(io.StringIO())
    made.add_to_batch(**SCORE)
    made.add_to_batch(**SCORE | {"model": "n"})
    assert made.n_requests == 2


def test_the_messages_of_a_wrong_order() -> None:
    """Steps in the wrong order are refused with the messages of 0.3.4."""
    with pytest.raises(ValueError, match="Cannot specify both submission_input_file and batch_id because adding to an"):
        Batch("in.jsonl", batch_id="b")
    with pytest.raises(ValueError, match="Adding to an existing batch is not supported"):
        Batch(batch_id="b").add_to_batch(**CHAT)
    with pytest.raises(ValueError, match="No requests have been added to the batch"):
        Batch().submit()
    with pytest.raises(ValueError, match="Batch has not been submitted yet"):
        Batch().status()
    with pytest.raises(ValueError, match="Batch has not been submitted yet"):
        Batch().download()
    with pytest.raises(ValueError, match="Could not auto-detect provider for batch ID b"):
        Batch(batch_id="b").status()


def test_a_dry_run_returns_the_same_as_in_0_3_4(capsys: pytest.CaptureFixture[str]) -> None:
    """A dry run returns the same ids and status as in 0.3.4."""
    made = Batch(io.StringIO(), "out.jsonl", "err.jsonl")
    made.add_to_batch(**CHAT)
    result, output, error = made.submit_wait_download(interval=0, dry_run=True)
    assert (result.id, result.status, made.batch_id) == ("batch-dry-run", "completed", "batch-dry-run")
    assert (result.output_file_id, result.error_file_id) == ("file-dry-run-output", "file-dry-run-error")
    assert (output, error) == ("out.jsonl", "err.jsonl")
    assert capsys.readouterr().out == "completed\n"


def test_the_aliases_of_create_batch_input() -> None:
    """`create_input` and `create_batch` are aliases of `create_batch_input`."""
    for module in (create_input, create_batch):
        assert (module.main, module.get_parser, module.Batch) == (
            create_batch_input.main,
            create_batch_input.get_parser,
            Batch,
        )


def test_importing_is_light() -> None:
    """Importing the package imports neither the openai client nor its dependencies."""
    code = (
        "import sys, openai_batch; openai_batch.Batch, openai_batch.data_url, openai_batch.wait\n"
        "heavy = {'openai', 'httpx', 'httpx2', 'pydantic', 'typer', 'rich', 'starlette', 'asyncio', 'sqlite3'}\n"
        "print(sorted(heavy & {name.partition('.')[0] for name in sys.modules}))"
    )
    assert python("-c", code).stdout.strip() == "[]"


def test_the_version_and_every_public_name() -> None:
    """Each name in `__all__` exists, and there is a version."""
    for name in openai_batch.__all__:
        assert getattr(openai_batch, name) is not None
    assert re.match(r"\d+\.\d+", openai_batch.__version__)
    assert openai_batch.batch.Batch is Batch
