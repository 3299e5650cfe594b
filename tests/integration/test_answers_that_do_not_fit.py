"""Answers that do not match the schema of their requests are errors in tables, in `Jobs` and in `map`."""

from __future__ import annotations

import cProfile
import csv
import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from pydantic import BaseModel
from support.command import inside, see, write

import openai_batch
from openai_batch import Jobs
from openai_batch.testing import Cut, Refusal, fake_provider

if TYPE_CHECKING:
    from collections.abc import Iterator

    from openai_batch.testing import FakeProvider

SCHEMA = {"type": "object", "properties": {"grade": {"type": "integer"}}}
CAUSE = 'invalid_answer: grade: "A" is not of type "integer"; it is \'{"grade": "A"}\''


class Grade(BaseModel):
    """The schema of the answers."""

    grade: int


def text_of(request: dict[str, Any]) -> str:
    """Return the prompt of a request."""
    body = request["body"]
    return str(body["messages"][-1]["content"] if "messages" in body else body["input"])


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Work in a temporary folder."""
    monkeypatch.chdir(tmp_path)


@pytest.fixture
def fake() -> Iterator[FakeProvider]:
    """A provider whose first answer to `wrong` does not match the schema."""
    asked: list[str] = []

    def answer(request: dict[str, Any]) -> Any:
        text = text_of(request)
        asked.append(text)
        if text == "refused":
            return Refusal("no")
        if text == "cut":
            return Cut('{"grade": ')
        if text == "call":
            call = {"id": "c", "type": "function", "function": {"name": "f", "arguments": "{}"}}
            message = {"role": "assistant", "content": None, "tool_calls": [call]}
            return {"object": "chat.completion", "choices": [{"message": message, "finish_reason": "tool_calls"}]}
        good = text != "wrong" or asked.count(text) > 1
        return '{"grade": 3}' if good else '{"grade": "A"}'

    with fake_provider(answer) as made:
        yield made


@pytest.fixture
def run(fake: FakeProvider) -> list[str]:
    """Return a `run` command for a table with such an answer."""
    Path("rows.csv").write_text("text\nfine\nwrong\nrefused\ncut\ncall\n", encoding="utf-8")
    Path("grade.json").write_text(json.dumps(SCHEMA), encoding="utf-8")
    assert not fake.batches
    return ["run", "rows.csv", "-m", "m", "--prompt", "{{ text }}", "--schema", "grade.json", "-o", "out.csv"]


def table() -> list[tuple[str, str, str]]:
    """Return the outcome, the error code and the answer of each row."""
    with Path("out.csv").open(encoding="utf-8", newline="") as handle:
        return [(row["outcome"], row["error_code"], row["answer"]) for row in csv.DictReader(handle)]


def test_the_command_reports_the_answer_and_retries_it(run: list[str], fake: FakeProvider) -> None:
    """The answer is an error in every view, and `retry` sends its request again."""
    ended = inside(*run)
    assert ended.code == 5
    assert CAUSE in ended.err
    outcomes = [("success", "", '{"grade": 3}'), ("error", "invalid_answer", '{"grade": "A"}')]
    others = [("refused", "", "no"), ("cut", "", '{"grade": ')]
    assert table()[:4] == outcomes + others
    assert table()[4][0] == "success"  # a tool call has no text to check
    assert "invalid_answer" in see("results").out
    report = inside("report", "--json").json
    assert report["outcomes"]["error"] == 1
    assert inside("download", "--json").code == 5
    assert inside("retry").code == 0
    inside("wait")
    assert [text_of(request) for request in fake.requests[5:]] == ["wrong"]
    assert inside("download", "-o", "out.csv").code == 0
    assert table()[1] == ("success", "", '{"grade": 3}')


def test_a_later_run_sends_it_again(run: list[str], fake: FakeProvider) -> None:
    """A later run does not reuse the answer, and sends the request again."""
    inside(*run)
    with Path("rows.csv").open("a", encoding="utf-8") as handle:
        handle.write("new\n")
    inside(*run)
    assert [text_of(request) for request in fake.requests[5:]] == ["wrong", "new"]
    assert table()[1][0] == "success"


def test_prepared_files_and_jobs_are_checked_too(fake: FakeProvider) -> None:
    """Requests of chat completions and responses that contain a schema are checked too."""
    chats = [{"model": "m", "messages": [{"role": "user", "content": text}]} for text in ("fine", "wrong")]
    form = {"type": "json_schema", "name": "grade", "schema": SCHEMA, "strict": False}
    asked: list[list[dict[str, Any]]] = [
        [{**chat, "response_format": Grade} for chat in chats],
        [
            {"custom_id": text, "url": "/v1/responses", "body": {"model": "m", "input": text, "text": {"format": form}}}
            for text in ("fine", "wrong")
        ],
    ]
    for requests in asked:
        fake.requests.clear()
        with Jobs() as jobs:
            job = jobs.submit(requests, again=True).wait()
            told = [str(result.error) for result in job.results() if not result.ok]
            assert told in ([CAUSE], [])  # the second answer matches
            assert job.report().tally.answered == 2 - len(told)
    assert told == []


def test_requests_with_several_schemas_are_not_checked(fake: FakeProvider) -> None:
    """Answers are not checked if requests have different schemas, or an invalid one."""
    first, second = ({"type": "json_schema", "json_schema": {"name": name, "schema": SCHEMA}} for name in "ab")
    third = {"type": "json_schema", "json_schema": {"name": "c", "schema": {"type": 3}}}
    for number, (one, other) in enumerate([(first, second), (third, third)]):
        lines = [
            {"custom_id": text, "method": "POST", "url": "/v1/chat/completions", "body": body}
            for text, form in (("wrong", one), ("fine", other))
            for body in [{"model": "m", "messages": [{"role": "user", "content": text}], "response_format": form}]
        ]
        write(f"in-{number}.jsonl", lines)
        with Jobs() as jobs:
            assert all(result.ok for result in jobs.submit(f"in-{number}.jsonl").wait().results())
    assert len(fake.batches) == 2


@pytest.mark.parametrize("schema", [SCHEMA, Grade])
def test_map_sends_it_again_with_retries(fake: FakeProvider, schema: Any) -> None:
    """`map(retries=1)` sends only that request again."""
    rows = [{"text": "fine"}, {"text": "wrong"}]
    out = openai_batch.map(rows, "{{ text }}", model="m", schema=schema)
    assert [row["outcome"] for row in out] == ["success", "error"]
    out = openai_batch.map(rows, "{{ text }}", model="m", schema=schema, retries=1)
    assert [row["grade"] for row in out] == [3, 3]
    assert len(fake.requests) == 3


@pytest.mark.usefixtures("fake")
def test_without_a_schema_plain_successes_are_not_parsed() -> None:
    """Only results that are not plain successes are parsed one by one, which is slow."""
    profile = cProfile.Profile()
    with Jobs() as jobs:
        prompts = ["good", "good as well", "refused"]
        job = jobs.submit({"model": "m", "messages": [{"role": "user", "content": each}]} for each in prompts)
        job.wait()
        profile.runcall(job.download, "output.jsonl")
    read = [entry for entry in profile.getstats() if getattr(entry.code, "co_qualname", "") == "Result.of"]
    assert [entry.callcount for entry in read] == [2]  # to index the refusal, and to count it
