"""Every way in which a batch can end, and its files afterwards."""

from __future__ import annotations

import json
import time
from typing import TYPE_CHECKING, Any

import openai
import pytest
from support.batch import chat_file, chat_line, finish, lines, start, wait_for_successes
from support.servers import echo_upstream, local_server, wait_until

if TYPE_CHECKING:
    from pathlib import Path

    from openai import OpenAI
    from openai.types import Batch
    from support.servers import EchoUpstream

pytestmark = pytest.mark.slow


def _counts(batch: Batch) -> tuple[int, int, int]:
    counts = batch.request_counts
    assert counts is not None
    return counts.total, counts.completed, counts.failed


def _faults(batch: Batch) -> list[tuple[str | None, int | None, str | None]]:
    assert batch.errors is not None
    return [(e.code, e.line, e.param) for e in batch.errors.data or []]


BAD_LINES: list[tuple[str, tuple[str, int | None, str | None]]] = [
    ("{nope", ("invalid_json_line", 2, None)),
    (chat_line("a", "again"), ("duplicate_custom_id", 2, "custom_id")),
    (
        json.dumps({"custom_id": "b", "url": "/v1/chat/completions", "body": {"model": "echo-1"}}),
        ("missing_required_parameter", 2, "method"),
    ),
    (chat_line("b", "x").replace("/v1/chat/completions", "/v1/embeddings"), ("url_mismatch", 2, "url")),
    (chat_line("b", "x", stream=True), ("streaming_unsupported", 2, "body.stream")),
    (chat_line("b", "x", model="gpt-unknown"), ("model_not_found", 2, "body.model")),
]


@pytest.mark.parametrize(("line", "fault"), BAD_LINES, ids=[fault[0] for _, fault in BAD_LINES])
def test_validation_fails(client: OpenAI, line: str, fault: tuple[str, int | None, str | None]) -> None:
    """An invalid line makes the batch fail before anything is sent, with code, line and parameter."""
    done = finish(client, start(client, f"{chat_line('a', 'x')}\n{line}\n".encode()))
    assert done.status == "failed"
    assert done.failed_at
    assert _faults(done) == [fault]
    assert done.errors is not None
    assert (done.errors.data or [])[0].message
    assert (done.output_file_id, done.error_file_id) == (None, None)


def test_many_faults(client: OpenAI) -> None:
    """Up to 100 errors of all kinds are reported together, in the order of the lines."""
    content = "{nope\n" + chat_line("a", "x", model="other") + "\n" + "[]\n" * 200
    faults = _faults(finish(client, start(client, content.encode())))
    assert len(faults) == 100
    assert [f[1] for f in faults] == list(range(1, 101))
    assert faults[1][0] == "model_not_found"


def test_empty_and_overfull_files(client: OpenAI) -> None:
    """A file without requests fails, and so does one with too many."""
    assert _faults(finish(client, start(client, b"\n\n"))) == [("empty_file", None, None)]
    assert _faults(finish(client, start(client, chat_file(["x"] * 5001)))) == [("too_many_tasks", None, None)]


def test_the_length_of_lines_is_the_one_of_the_settings(tmp_path: Path, echo: EchoUpstream) -> None:
    """The server runs on when a client has another OBATCH_MAX_LINE_BYTES, so its own variable does not count."""
    env = {"OBATCH_MAX_LINE_BYTES": "2000"}
    server = local_server(tmp_path, upstream=echo.base_url, env=env, max_line_bytes=4000)
    with server as running, running.client() as client:
        assert finish(client, start(client, chat_file(["x" * 3000]))).status == "completed"
        assert _faults(finish(client, start(client, chat_file(["x" * 5000])))) == [("line_too_long", 1, None)]


def test_model_names_of_upstreams(client: OpenAI) -> None:
    """A model name is valid with or without the default tag of the upstream."""
    content = chat_line("a", "x", model="llama") + "\n" + chat_line("b", "y")
    assert finish(client, start(client, content.encode())).status == "completed"


def test_a_model_added_since_the_start(tmp_path: Path) -> None:
    """A model that was added to the upstream after the server has started is accepted."""
    with echo_upstream() as echo, local_server(tmp_path, upstream=echo.base_url) as server, server.client() as client:
        assert "new-model" not in {model.id for model in client.models.list()}
        assert finish(client, start(client, chat_file(["x"], model="new-model"))).status == "failed"
        echo.add_model("new-model")
        assert finish(client, start(client, chat_file(["x"], model="new-model"))).status == "completed"


def test_upstream_without_a_list(tmp_path: Path) -> None:
    """If the upstream does not list its models, every name is accepted."""
    with echo_upstream(models=False) as echo, local_server(tmp_path, upstream=echo.base_url) as server:
        with server.client() as client:
            done = finish(client, start(client, chat_file(["x"], model="anything")))
        assert done.status == "completed"


def test_errors_of_rows(client: OpenAI, echo: EchoUpstream) -> None:
    """A request that the upstream refuses is in the error file with status and body, and is not retried."""
    done = finish(client, start(client, chat_file(["fine", "!status=400 refused", "also fine"])))
    assert done.status == "completed"
    assert _counts(done) == (3, 2, 1)
    assert [line["custom_id"] for line in lines(client, done.output_file_id)] == ["r0", "r2"]
    (error,) = lines(client, done.error_file_id)
    assert (error["custom_id"], error["error"], error["response"]["status_code"]) == ("r1", None, 400)
    assert error["response"]["body"]["error"]["message"] == "asked to fail with 400"
    assert echo.calls()["!status=400 refused"] == 1


def test_no_success_at_all(client: OpenAI) -> None:
    """A batch without a success is completed, and has only an error file."""
    done = finish(client, start(client, chat_file(["!status=404 a"])))
    assert (done.status, done.output_file_id) == ("completed", None)
    assert len(lines(client, done.error_file_id)) == 1


@pytest.mark.parametrize("directive", ["!status=429,2", "!status=503,1", "!status=408,1", "!status=425,1", "!drop=1"])
def test_retries(client: OpenAI, echo: EchoUpstream, directive: str) -> None:
    """Temporary errors are retried, and the success is the result."""
    done = finish(client, start(client, chat_file([directive])))
    assert _counts(done) == (1, 1, 0)
    assert echo.calls()[directive] == int(directive[-1]) + 1


def test_retries_end(client: OpenAI, echo: EchoUpstream) -> None:
    """After the last try, the error file has the last error."""
    done = finish(client, start(client, chat_file(["!status=500 always"])))
    (error,) = lines(client, done.error_file_id)
    assert error["response"]["status_code"] == 500
    assert echo.calls()["!status=500 always"] == 2


ODD = ("empty", "html", "text", "events", "string", "array", "null", "cut", "bytes")


@pytest.mark.parametrize("odd", ODD)
def test_success_without_an_object(client: OpenAI, echo: EchoUpstream, odd: str) -> None:
    """A successful answer that is not a JSON object is retried, and in the end it is an error."""
    passing, lasting = f"!raw={odd},1 passing", f"!raw={odd} lasting"
    done = finish(client, start(client, chat_file([passing, lasting])))
    assert (done.status, _counts(done)) == ("completed", (2, 1, 1))
    assert [line["custom_id"] for line in lines(client, done.output_file_id)] == ["r0"]
    (error,) = lines(client, done.error_file_id)
    assert (error["custom_id"], error["response"], error["error"]["code"]) == ("r1", None, "invalid_response")
    assert "HTTP 200" in error["error"]["message"]
    assert (echo.calls()[passing], echo.calls()[lasting]) == (2, 2)


def test_json_that_only_python_reads(client: OpenAI, echo: EchoUpstream) -> None:
    """Answers with NaN, half of a surrogate pair or a byte order mark are kept, and not requested again."""
    texts = ["!raw=nan", "!raw=half", "!raw=bom"]
    done = finish(client, start(client, chat_file(texts)))
    assert _counts(done) == (3, 3, 0)
    bodies = [line["response"]["body"] for line in lines(client, done.output_file_id)]
    assert [body["choices"] for body in bodies] == [[], [], []]
    assert str(bodies[0]["score"]) == "nan"
    assert bodies[1]["text"] == "\ud83d"
    assert done.usage is not None
    assert done.usage.total_tokens == 7
    assert {echo.calls()[text] for text in texts} == {1}


def test_the_reason_for_waiting_is_shown(tmp_path: Path) -> None:
    """A batch shows why it waits for its upstream, until it continues."""
    with echo_upstream() as echo, local_server(tmp_path, upstream=echo.base_url) as server, server.client() as client:
        batch = start(client, chat_file(["!later=2 a"]))
        wait_until(lambda: client.batches.retrieve(batch.id).errors, "the reason")
        assert finish(client, batch).errors is None
        batch = wait_for_successes(client, start(client, chat_file(["c", "!sleep=60 d"])), 1)
        assert batch.errors is None
        echo.kill()

        def look() -> bool:
            found = client.batches.retrieve(batch.id)
            return found.errors is not None and "could not be reached" in str(found.errors)

        wait_until(look, "the reason")
        (listed,) = [found for found in client.batches.list() if found.id == batch.id]
        assert (listed.status, _faults(listed)) == ("in_progress", [("upstream_unavailable", None, None)])


def test_no_answer_at_all(client: OpenAI) -> None:
    """When the connection breaks each time, each request says so in the error file, without a response."""
    done = finish(client, start(client, chat_file(["!drop=9 x", "!drop=9 y"])))
    errors = lines(client, done.error_file_id)
    assert _counts(done) == (2, 0, 2)
    assert [(e["response"], e["error"]["code"]) for e in errors] == [(None, "connection_error")] * 2


def test_timeout(tmp_path: Path, echo: EchoUpstream) -> None:
    """A call that takes too long is aborted."""
    with (
        local_server(tmp_path, upstream=echo.base_url, timeout_seconds=3, max_tries=1) as server,
        server.client() as client,
    ):
        done = finish(client, start(client, chat_file(["!sleep=20 too long", "quick"])))
        (error,) = lines(client, done.error_file_id)
        assert error["error"]["code"] == "timeout"
        assert _counts(done) == (2, 1, 1)


def test_second_upstream(tmp_path: Path, echo: EchoUpstream) -> None:
    """If one of two upstreams is killed, the other runs all requests."""
    with echo_upstream() as mortal, local_server(tmp_path, upstream=[mortal.base_url, echo.base_url]) as server:
        with server.client() as client:
            assert len(client.models.list().data) == 3
            mortal.kill()
            done = finish(client, start(client, chat_file(f"second {i}" for i in range(100))))
        assert _counts(done) == (100, 100, 0)


def test_cancel(tmp_path: Path, echo: EchoUpstream) -> None:
    """A cancelled batch keeps its results and the requests in flight; the others are in the error file."""
    texts = [f"cancel {i}" for i in range(10)] + [f"!sleep=3 in flight {i}" for i in range(20)]
    with local_server(tmp_path, upstream=echo.base_url, concurrency=4) as server, server.client() as client:
        batch = wait_for_successes(client, start(client, chat_file(texts)), 10)
        wait_until(lambda: sum("in flight" in text for text in echo.calls()) == 4, "four requests at the upstream")
        assert client.batches.cancel(batch.id).status == "cancelling"
        done = finish(client, batch)
        assert done.status == "cancelled"
        assert done.cancelling_at
        assert done.cancelled_at
        assert _counts(done) == (30, 14, 16)
        assert [line["custom_id"] for line in lines(client, done.output_file_id)] == [f"r{i}" for i in range(14)]
        errors = lines(client, done.error_file_id)
        assert [e["custom_id"] for e in errors] == [f"r{i}" for i in range(14, 30)]
        assert {e["error"]["code"] for e in errors} == {"batch_cancelled"}
        assert sum("in flight" in text for text in echo.calls()) == 4
        assert client.batches.cancel(batch.id).status == "cancelled"


@pytest.mark.parametrize("text", ["!later=3600 cancelled", "!status=503 cancelled"])
def test_cancel_between_two_tries(tmp_path: Path, echo: EchoUpstream, text: str) -> None:
    """A request that waits for a retry is not sent again after its batch is cancelled."""
    with local_server(tmp_path, upstream=echo.base_url) as server, server.client() as client:
        batch = start(client, chat_file([text]))
        wait_until(lambda: echo.calls().get(text), "the first try")
        client.batches.cancel(batch.id)
        done = finish(client, batch)
    assert (done.status, _counts(done)) == ("cancelled", (1, 0, 1))
    assert echo.calls()[text] == 1


def test_cancel_at_any_moment(client: OpenAI, echo: EchoUpstream) -> None:
    """A batch that is cancelled at any moment has an answer for each request that was sent."""
    batches = []
    for pause in range(20):
        texts = [f"!sleep=0.5 moment {pause} {i}" for i in range(100)]
        batch = start(client, chat_file(texts))
        time.sleep(pause / 500)
        client.batches.cancel(batch.id)
        batches.append((batch, texts))
    for batch, texts in batches:
        done = finish(client, batch)
        assert done.status == "cancelled"
        answers = lines(client, done.output_file_id)
        assert len(answers) == sum(echo.calls().get(text, 0) for text in texts)
        assert _counts(done)[1:] == (len(answers), len(lines(client, done.error_file_id)))


def test_cancel_after_the_end(client: OpenAI) -> None:
    """A batch that has ended cannot be cancelled."""
    done = finish(client, start(client, chat_file(["x"])))
    with pytest.raises(openai.ConflictError, match="completed"):
        client.batches.cancel(done.id)
    with pytest.raises(openai.NotFoundError):
        client.batches.cancel("batch_nobody")
    assert client.batches.retrieve(done.id).status == "completed"


def test_expiry(client: OpenAI) -> None:
    """When the window ends, results are kept, and every other request has a batch_expired line."""
    done = finish(client, start(client, chat_file(["quick", "!sleep=60 slow", "quick too"]), window="4s"))
    assert done.status == "expired"
    assert done.expired_at
    assert done.expires_at == done.created_at + 4
    assert _counts(done) == (3, 2, 1)
    assert [line["custom_id"] for line in lines(client, done.output_file_id)] == ["r0", "r2"]
    (error,) = lines(client, done.error_file_id)
    assert (error["custom_id"], error["response"], error["error"]["code"]) == ("r1", None, "batch_expired")


def test_retry_after_beyond_the_window(tmp_path: Path, echo: EchoUpstream) -> None:
    """A request whose retry would be after the window expires at the end of the window."""
    text = "!later=3600 beyond"
    with local_server(tmp_path, upstream=echo.base_url) as server, server.client() as client:
        done = finish(client, start(client, chat_file(["paid", text]), window="4s"))
        assert (done.status, _counts(done)) == ("expired", (2, 1, 1))
        assert [line["custom_id"] for line in lines(client, done.output_file_id)] == ["r0"]
        (error,) = lines(client, done.error_file_id)
    assert (error["response"], error["error"]["code"]) == (None, "batch_expired")
    assert done.expired_at is not None
    assert done.expired_at >= done.created_at + 4
    assert echo.calls()[text] == 1


def test_input_lost_during_the_batch(tmp_path: Path, echo: EchoUpstream) -> None:
    """If the input file is deleted, the batch fails and keeps its results."""
    with local_server(tmp_path, upstream=echo.base_url) as server:
        with server.client() as client:
            batch = wait_for_successes(client, start(client, chat_file(["paid", "!sleep=60 lost"])), 1)
        server.kill()
        (tmp_path / "local" / "files" / batch.input_file_id).unlink()
        server.start()
        with server.client() as client:
            done = finish(client, batch)
            assert (done.status, _counts(done)) == ("failed", (2, 1, 1))
            assert _faults(done) == [("internal_error", None, None)]
            assert [line["custom_id"] for line in lines(client, done.output_file_id)] == ["r0"]
            assert [line["error"]["code"] for line in lines(client, done.error_file_id)] == ["batch_failed"]


def test_nothing_starts_after_the_window(tmp_path: Path, echo: EchoUpstream) -> None:
    """Requests that are still waiting when the window ends are not sent."""
    texts = [f"!sleep=60 waits {i}" for i in range(100)]
    with local_server(tmp_path, upstream=echo.base_url, concurrency=4) as server, server.client() as client:
        done = finish(client, start(client, chat_file(texts), window="3s"))
        assert done.status == "expired"
        assert len(lines(client, done.error_file_id)) == 100
    assert sum(echo.calls().get(text, 0) for text in texts) == 4


def test_a_window_is_at_least_an_hour(tmp_path: Path, echo: EchoUpstream) -> None:
    """By default, a window is at least an hour."""
    with (
        local_server(tmp_path, upstream=echo.base_url, min_window_seconds=3600) as server,
        server.client() as client,
    ):
        with pytest.raises(openai.BadRequestError, match="1h to 14d"):
            start(client, chat_file(["x"]), window="59m")
        assert start(client, chat_file(["x"]), window="14d").completion_window == "14d"


def test_output_expiry(client: OpenAI) -> None:
    """The result files expire after the requested time."""
    done = finish(
        client,
        start(client, chat_file(["x"]), output_expires_after={"anchor": "created_at", "seconds": 7200}),
    )
    file = client.files.retrieve(str(done.output_file_id))
    assert file.expires_at == file.created_at + 7200
    assert file.filename == f"{done.id}_output.jsonl"
    assert file.purpose == "batch_output"


def test_several_batches_share(tmp_path: Path, echo: EchoUpstream) -> None:
    """A small batch does not wait for a large one."""
    with local_server(tmp_path, upstream=echo.base_url, concurrency=4) as server, server.client() as client:
        large = start(client, chat_file(f"!sleep=0.05 large {i}" for i in range(2000)))
        wait_for_successes(client, large, 1)
        small = finish(client, start(client, chat_file(f"small {i}" for i in range(10))))
        assert small.status == "completed"
        assert client.batches.retrieve(large.id).status == "in_progress"
        client.batches.cancel(large.id)
        finish(client, large)


def test_concurrency_bound(tmp_path: Path) -> None:
    """The number of concurrent requests reaches the limit, and does not exceed it."""
    with echo_upstream() as own, local_server(tmp_path, upstream=own.base_url, concurrency=5) as server:
        with server.client() as client:
            finish(client, start(client, chat_file(f"!sleep=0.2 {i}" for i in range(20))))
        assert own.most() == 5


def test_keys_go_to_the_upstream_only(tmp_path: Path) -> None:
    """The upstream's key is read from a variable, and is in no file and no log."""
    secret = "sk-very-secret-0123456789"
    with echo_upstream(key=secret) as echo:
        settings: dict[str, Any] = {"upstream": echo.base_url, "upstream_key_env": "TEST_UPSTREAM_KEY"}
        with local_server(tmp_path, env={"TEST_UPSTREAM_KEY": secret}, **settings) as server:
            with server.client() as client:
                done = finish(client, start(client, chat_file(["x", "!status=500,1"])))
            assert done.status == "completed"
            assert _counts(done) == (2, 2, 0)
        found = [p for p in tmp_path.rglob("*") if p.is_file() and secret.encode() in p.read_bytes()]
        assert found == []


def test_finished_batches_leave_no_rows(tmp_path: Path, echo: EchoUpstream) -> None:
    """After a batch has ended its journal is deleted, and its files are kept."""
    with local_server(tmp_path, upstream=echo.base_url) as server, server.client() as client:
        finish(client, start(client, chat_file(["x"] * 50)))
        journals = tmp_path / "local" / "journals"
        wait_until(lambda: not list(journals.iterdir()), "the end of the journal")
        assert len(list((tmp_path / "local" / "files").iterdir())) == 2
