"""Every end that a batch can come to, and what it leaves."""

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
    """A line that cannot run makes the batch fail before anything runs, with code, line and parameter."""
    done = finish(client, start(client, f"{chat_line('a', 'x')}\n{line}\n".encode()))
    assert done.status == "failed"
    assert done.failed_at
    assert _faults(done) == [fault]
    assert done.errors is not None
    assert (done.errors.data or [])[0].message
    assert (done.output_file_id, done.error_file_id) == (None, None)


def test_many_faults(client: OpenAI) -> None:
    """Faults of different kinds are told together, in the order of the lines, up to a hundred."""
    content = "{nope\n" + chat_line("a", "x", model="other") + "\n" + "[]\n" * 200
    faults = _faults(finish(client, start(client, content.encode())))
    assert len(faults) == 100
    assert [f[1] for f in faults] == list(range(1, 101))
    assert faults[1][0] == "model_not_found"


def test_empty_and_overfull_files(client: OpenAI) -> None:
    """A file without requests fails, and one with more than the limit."""
    assert _faults(finish(client, start(client, b"\n\n"))) == [("empty_file", None, None)]
    assert _faults(finish(client, start(client, chat_file(["x"] * 5001)))) == [("too_many_tasks", None, None)]


def test_model_names_of_upstreams(client: OpenAI) -> None:
    """A name that the upstream lists with its default tag is known, and so is each of several models."""
    content = chat_line("a", "x", model="llama") + "\n" + chat_line("b", "y")
    assert finish(client, start(client, content.encode())).status == "completed"


def test_upstream_without_a_list(tmp_path: Path) -> None:
    """Where the upstream does not list its models, every name is sent."""
    with echo_upstream(models=False) as echo, local_server(tmp_path, upstream=echo.base_url) as server:
        with server.client() as client:
            done = finish(client, start(client, chat_file(["x"], model="anything")))
        assert done.status == "completed"


def test_errors_of_rows(client: OpenAI, echo: EchoUpstream) -> None:
    """A request that the upstream refuses goes to the error file with status and body, and is not tried again."""
    done = finish(client, start(client, chat_file(["fine", "!status=400 refused", "also fine"])))
    assert done.status == "completed"
    assert _counts(done) == (3, 2, 1)
    assert [line["custom_id"] for line in lines(client, done.output_file_id)] == ["r0", "r2"]
    (error,) = lines(client, done.error_file_id)
    assert (error["custom_id"], error["error"], error["response"]["status_code"]) == ("r1", None, 400)
    assert error["response"]["body"]["error"]["message"] == "asked to fail with 400"
    assert echo.calls()["!status=400 refused"] == 1


def test_no_success_at_all(client: OpenAI) -> None:
    """A batch without a success is completed, with an error file only."""
    done = finish(client, start(client, chat_file(["!status=404 a"])))
    assert (done.status, done.output_file_id) == ("completed", None)
    assert len(lines(client, done.error_file_id)) == 1


@pytest.mark.parametrize("directive", ["!status=429,2", "!status=503,1", "!status=408,1", "!status=425,1", "!drop=1"])
def test_retries(client: OpenAI, echo: EchoUpstream, directive: str) -> None:
    """What may pass is tried again, and the success is what counts."""
    done = finish(client, start(client, chat_file([directive])))
    assert _counts(done) == (1, 1, 0)
    assert echo.calls()[directive] == int(directive[-1]) + 1


def test_retries_end(client: OpenAI, echo: EchoUpstream) -> None:
    """When all tries are used up, the last error is what the error file holds."""
    done = finish(client, start(client, chat_file(["!status=500 always"])))
    (error,) = lines(client, done.error_file_id)
    assert error["response"]["status_code"] == 500
    assert echo.calls()["!status=500 always"] == 2


def test_no_answer_at_all(tmp_path: Path) -> None:
    """When the upstream is away for good, each request says so in the error file, without a response."""
    with echo_upstream() as echo, local_server(tmp_path, upstream=echo.base_url, max_tries=1) as server:
        with server.client() as client:
            echo.kill()
            done = finish(client, start(client, chat_file(["x", "y"])))
            errors = lines(client, done.error_file_id)
        assert _counts(done) == (2, 0, 2)
        assert [(e["response"], e["error"]["code"]) for e in errors] == [(None, "connection_error")] * 2


def test_timeout(tmp_path: Path, echo: EchoUpstream) -> None:
    """A call that takes too long is broken off."""
    with (
        local_server(tmp_path, upstream=echo.base_url, timeout_seconds=3, max_tries=1) as server,
        server.client() as client,
    ):
        done = finish(client, start(client, chat_file(["!sleep=20 too long", "quick"])))
        (error,) = lines(client, done.error_file_id)
        assert error["error"]["code"] == "timeout"
        assert _counts(done) == (2, 1, 1)


def test_second_upstream(tmp_path: Path, echo: EchoUpstream) -> None:
    """With two upstreams, work goes on at the other when one dies."""
    with echo_upstream() as mortal, local_server(tmp_path, upstream=[mortal.base_url, echo.base_url]) as server:
        with server.client() as client:
            assert len(client.models.list().data) == 3
            mortal.kill()
            done = finish(client, start(client, chat_file(f"second {i}" for i in range(100))))
        assert _counts(done) == (100, 100, 0)


def test_cancel(client: OpenAI, echo: EchoUpstream) -> None:
    """Cancelling keeps what is there, breaks off what runs, and names every request that has no answer."""
    texts = [f"cancel {i}" for i in range(10)] + ["!sleep=60 never"] * 70
    batch = wait_for_successes(client, start(client, chat_file(texts)), 10)
    assert client.batches.cancel(batch.id).status in {"cancelling", "cancelled"}
    done = finish(client, batch)
    assert done.status == "cancelled"
    assert done.cancelling_at
    assert done.cancelled_at
    assert _counts(done) == (80, 10, 0)
    assert [line["custom_id"] for line in lines(client, done.output_file_id)] == [f"r{i}" for i in range(10)]
    errors = lines(client, done.error_file_id)
    assert [e["custom_id"] for e in errors] == [f"r{i}" for i in range(10, 80)]
    assert {e["error"]["code"] for e in errors} == {"batch_cancelled"}
    assert echo.calls()["!sleep=60 never"] <= 64
    assert client.batches.cancel(batch.id).status == "cancelled"


def test_cancel_at_any_moment(client: OpenAI) -> None:
    """Whenever it is cancelled, a batch ends soon: none of its calls is waited for."""
    batches = []
    for pause in range(20):
        batch = start(client, chat_file(["!sleep=100 moment"] * 20))
        time.sleep(pause / 500)
        client.batches.cancel(batch.id)
        batches.append(batch)
    assert {finish(client, batch).status for batch in batches} == {"cancelled"}


def test_cancel_after_the_end(client: OpenAI) -> None:
    """A batch that has ended cannot be cancelled."""
    done = finish(client, start(client, chat_file(["x"])))
    with pytest.raises(openai.ConflictError, match="completed"):
        client.batches.cancel(done.id)
    with pytest.raises(openai.NotFoundError):
        client.batches.cancel("batch_nobody")
    assert client.batches.retrieve(done.id).status == "completed"


def test_expiry(client: OpenAI) -> None:
    """When the window ends, what is there is kept, and every other request has a batch_expired line."""
    done = finish(client, start(client, chat_file(["quick", "!sleep=60 slow", "quick too"]), window="4s"))
    assert done.status == "expired"
    assert done.expired_at
    assert done.expires_at == done.created_at + 4
    assert _counts(done) == (3, 2, 0)
    assert [line["custom_id"] for line in lines(client, done.output_file_id)] == ["r0", "r2"]
    (error,) = lines(client, done.error_file_id)
    assert (error["custom_id"], error["response"], error["error"]["code"]) == ("r1", None, "batch_expired")


def test_nothing_starts_after_the_window(tmp_path: Path, echo: EchoUpstream) -> None:
    """Requests that had to wait are not started once the window has ended."""
    texts = [f"!sleep=60 waits {i}" for i in range(100)]
    with local_server(tmp_path, upstream=echo.base_url, concurrency=4) as server, server.client() as client:
        done = finish(client, start(client, chat_file(texts), window="3s"))
        assert done.status == "expired"
        assert len(lines(client, done.error_file_id)) == 100
    assert sum(echo.calls().get(text, 0) for text in texts) == 4


def test_short_windows_are_for_tests(tmp_path: Path, echo: EchoUpstream) -> None:
    """Unless the settings say otherwise, a window is an hour or longer."""
    with (
        local_server(tmp_path, upstream=echo.base_url, min_window_seconds=3600) as server,
        server.client() as client,
    ):
        with pytest.raises(openai.BadRequestError, match="1h to 14d"):
            start(client, chat_file(["x"]), window="59m")
        assert start(client, chat_file(["x"]), window="14d").completion_window == "14d"


def test_output_expiry(client: OpenAI) -> None:
    """The result files live as long as was asked for."""
    done = finish(
        client,
        start(client, chat_file(["x"]), output_expires_after={"anchor": "created_at", "seconds": 7200}),
    )
    file = client.files.retrieve(str(done.output_file_id))
    assert file.expires_at == file.created_at + 7200
    assert file.filename == f"{done.id}_output.jsonl"
    assert file.purpose == "batch_output"


def test_several_batches_share(tmp_path: Path, echo: EchoUpstream) -> None:
    """A small batch that comes later does not wait for a large one to end, and the limit holds over both."""
    with local_server(tmp_path, upstream=echo.base_url, concurrency=4) as server, server.client() as client:
        large = start(client, chat_file(f"!sleep=0.05 large {i}" for i in range(2000)))
        wait_for_successes(client, large, 1)
        small = finish(client, start(client, chat_file(f"small {i}" for i in range(10))))
        assert small.status == "completed"
        assert client.batches.retrieve(large.id).status == "in_progress"
        client.batches.cancel(large.id)
        finish(client, large)


def test_concurrency_bound(tmp_path: Path) -> None:
    """No more requests are under way at once than the settings allow, and as many as that."""
    with echo_upstream() as own, local_server(tmp_path, upstream=own.base_url, concurrency=5) as server:
        with server.client() as client:
            finish(client, start(client, chat_file(f"!sleep=0.2 {i}" for i in range(20))))
        assert own.most() == 5


def test_keys_go_to_the_upstream_only(tmp_path: Path) -> None:
    """The upstream's key comes from the variable that the settings name, and stands in no file and no log."""
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
    """After its end a batch's journal is gone, and only its files stay."""
    with local_server(tmp_path, upstream=echo.base_url) as server, server.client() as client:
        finish(client, start(client, chat_file(["x"] * 50)))
        journals = tmp_path / "local" / "journals"
        wait_until(lambda: not list(journals.iterdir()), "the end of the journal")
        assert len(list((tmp_path / "local" / "files").iterdir())) == 2
