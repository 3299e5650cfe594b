"""`map`, `embed`, `start` and `attach` with real data frames and the fake provider."""

from __future__ import annotations

import asyncio
import dataclasses
import gc
import json
import os
import subprocess
import sys
from collections.abc import AsyncIterator, Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pytest
from pydantic import BaseModel
from typing_extensions import TypedDict

import openai_batch
from openai_batch import Jobs, Result
from openai_batch.errors import IncompleteError, InputError, NotFoundError, UsageError, WaitTimeoutError
from openai_batch.testing import Cut, Failure, Refusal, fake_provider

if TYPE_CHECKING:
    from openai_batch.testing import FakeProvider


class Label(BaseModel):
    """The schema of the answers."""

    sentiment: Literal["good", "bad"]
    score: int


def said(request: dict[str, Any]) -> str:
    """Return the prompt of a request."""
    return str(request["body"]["messages"][-1]["content"])


def answer(request: dict[str, Any]) -> Any:
    """Answer as the prompt says."""
    if request["url"].endswith("/embeddings"):
        return (
            Failure(400, "no")
            if request["body"]["input"] == "fail"
            else [1.0, 2.0, float(len(request["body"]["input"]))]
        )
    text = said(request)
    words: dict[str, Any] = {
        "refuse": Refusal("no, thanks"),
        "cut": Cut("half an"),
        "fail": Failure(429, "slow down", "rate_limit_exceeded"),
        "silent": None,
        "prose": "I think that it is good",
        "fence": 'Sure:\n```json\n{"sentiment": "bad", "score": 1}\n```',
        "fenced": '```json\n{"sentiment": "bad", "score": 1}\n```',
        "wrong": {"sentiment": "so so", "score": 1},
    }
    made = words.get(text.split()[0], f"re: {text}")
    if text.startswith("wrong"):
        return '{"sentiment": "so so", "score": 1}'
    if "response_format" in request["body"] and text.startswith("good"):
        return '{"sentiment": "good", "score": 7}'
    return made


@pytest.fixture
def fake() -> Iterator[FakeProvider]:
    """A provider that answers as the prompts say."""
    with fake_provider(answer) as made:
        yield made


NEW = ["answer", "outcome", "error", "finish_reason", "prompt_tokens", "completion_tokens"]


@pytest.mark.usefixtures("fake")
def test_a_pandas_frame_keeps_its_order_its_index_and_its_types() -> None:
    """Repeated index labels, missing cells and the types of columns are kept."""
    frame = pd.DataFrame(
        {
            "text": ["one", "refuse", "fail", "cut", "silent"],
            "n": np.array([1, 2, 3, 4, 5], dtype="int32"),
            "when": pd.Series(["2026-01-01", None, "2026-01-03", None, None]).astype("datetime64[us]").to_numpy(),
            "list": [[1], None, [], [2, 3], [4]],
        },
        index=["a", "a", "c", "d", "e"],
    )
    out = openai_batch.map(frame, "{{ text }} {{ n }}", model="m")
    pd.testing.assert_frame_equal(out[list(frame.columns)], frame)
    assert list(out.columns) == [*frame.columns, *NEW]
    assert list(out["outcome"]) == ["success", "refused", "error", "cut", "missing"]
    assert list(out["answer"])[:1] + list(out["answer"])[3:4] == ["re: one 1", "half an"]
    assert out["answer"].isna().tolist() == [False, False, True, False, True]
    assert "slow down" in out["error"].iloc[2]
    assert out["prompt_tokens"].dtype == "Int64"
    assert "answer" not in frame.columns


@pytest.mark.usefixtures("fake")
@pytest.mark.parametrize("kind", ["polars", "arrow", "dataset"])
def test_other_frames_keep_their_class(kind: str) -> None:
    """The result has the class of the input, and empty text columns keep their type."""
    import datasets  # not at the top: without `fcntl`, as on Windows, it warns

    columns = {"text": ["one", "two"], "n": [1, None]}
    made: Any = {"polars": pl.DataFrame, "arrow": pa.table, "dataset": datasets.Dataset.from_dict}[kind](columns)
    out = openai_batch.map(made, model="m")
    assert type(out) is type(made)
    rows = out.to_dicts() if kind == "polars" else out.to_pylist() if kind == "arrow" else list(out)
    about = {"outcome": "success", "error": None, "finish_reason": "stop", "prompt_tokens": 1, "completion_tokens": 1}
    assert rows == [
        {"text": "one", "n": 1, "answer": "re: one", **about},
        {"text": "two", "n": None, "answer": "re: two", **about},
    ]
    if kind == "polars":
        assert out.schema["error"] == pl.String


@pytest.mark.usefixtures("fake")
def test_lists_and_iterables() -> None:
    """Texts give results, dicts give dicts, and an iterator gives an iterator."""
    texts = openai_batch.map(["one", "refuse"], model="m")
    assert [(result.text, result.ok) for result in texts] == [("re: one", True), (None, False)]
    assert repr(texts[0]) == "<Result 'line-1' success: 're: one'>"
    dicts = openai_batch.map([{"q": "one", "k": (1, 2)}], "{{ q }}?", model="m")
    assert dicts[0]["k"] == (1, 2)
    assert dicts[0]["answer"] == "re: one?"
    rows = openai_batch.map(({"q": f"number {n}"} for n in range(3)), model="m")
    assert isinstance(rows, Iterator)
    assert [row["answer"] for row in rows] == ["re: number 0", "re: number 1", "re: number 2"]
    results = openai_batch.map(iter(["one"]), model="m")
    assert [result.text for result in results] == ["re: one"]
    framed: Any = openai_batch.map(pd.Series(["one"], name="review", index=[9]), model="m")
    assert framed["answer"].to_dict() == {9: "re: one"}
    assert list(framed.columns) == ["review", *NEW]
    assert openai_batch.map(("one",), model="m")[0].text == "re: one"
    assert openai_batch.map(np.array(["one"]), model="m")[0].text == "re: one"


@pytest.mark.parametrize(
    ("rows", "told"),
    [
        ("one text", "the rows are one text"),
        ({"text": "x"}, "the rows are one dict"),
        (3, "the rows are a int"),
        ([3], "row 1 is not a dict or a text but int"),
        (["a", 3], "row 2 is not a text like the first row but int"),
        ([{"text": "a"}, "b"], "row 2 is not a dict but str"),
        (pl.DataFrame({"text": ["a"]}).lazy(), "the rows are a lazy frame"),
        (pd.DataFrame({"text": ["a", None]}), "the prompt is empty"),
        (pd.DataFrame({"a": ["x"], "b": ["y"]}), "no column is called prompt or text"),
    ],
)
def test_rows_that_cannot_be_sent(fake: FakeProvider, rows: Any, told: str) -> None:
    """Invalid rows are an error, and nothing is sent."""
    with pytest.raises(InputError, match=told):
        openai_batch.map(rows, model="m")
    assert fake.batches == []


def test_new_columns_never_replace_old_ones(fake: FakeProvider) -> None:
    """A frame that already has a result column is an error; `prefix` renames the new columns."""
    frame = pd.DataFrame({"text": ["one"], "answer": ["mine"]})
    with pytest.raises(UsageError, match="the rows have 'answer' already") as caught:
        openai_batch.map(frame, model="m")
    assert "prefix=" in caught.value.hint
    assert fake.batches == []
    out = openai_batch.map(frame, model="m", prefix="llm_")
    assert list(out.columns) == ["text", "answer", *(f"llm_{name}" for name in NEW)]
    assert out["answer"][0] == "mine"


def test_values_of_numpy_and_pandas_are_converted(fake: FakeProvider) -> None:
    """A template gets plain values, and nothing for missing ones."""
    row = {
        "i": np.int64(3),
        "f": np.float32(0.5),
        "b": np.bool_(True),
        "s": np.str_("text"),
        "a": np.array([1, 2]),
        "t": pd.Timestamp("2026-01-02 03:04:05"),
        "d": np.datetime64("2026-01-02"),
        "n": np.nan,
        "na": pd.NA,
        "nat": pd.NaT,
        "u": datetime(2026, 1, 2, tzinfo=UTC),
    }
    prompt = "|".join(f"{{{{ {name} }}}}" for name in row)
    openai_batch.map([row], prompt, model="m")
    assert said(fake.requests[0]) == (
        "3|0.5|true|text|[1,2]|2026-01-02 03:04:05|2026-01-02 00:00:00||||2026-01-02 00:00:00+00:00"
    )


@dataclasses.dataclass
class LabelData:
    """The same schema as a dataclass."""

    sentiment: Literal["good", "bad"]
    score: int


class LabelDict(TypedDict):
    """The same schema as a TypedDict."""

    sentiment: Literal["good", "bad"]
    score: int


@pytest.mark.parametrize("schema", [Label, LabelData, LabelDict, Label.model_json_schema()])
def test_fields_of_a_schema_become_columns(fake: FakeProvider, schema: Any) -> None:
    """Each field is a column, which is empty if the answer does not match, is refused or is cut."""
    frame = pl.DataFrame({"text": ["good one", "fenced", "prose", "refuse", "cut", "fail"]})
    out = openai_batch.map(frame, model="m", schema=schema)
    assert out["sentiment"].to_list() == ["good", "bad", None, None, None, None]
    assert out["score"].to_list() == [7, 1, None, None, None, None]
    assert out["outcome"].to_list() == ["success", "success", "error", "refused", "cut", "error"]
    assert "invalid_answer: the answer is not a JSON object" in out["error"][2]
    sent = fake.requests[0]["body"]["response_format"]["json_schema"]
    assert sent["strict"] is True
    assert sent["schema"]["additionalProperties"] is False
    assert sent["schema"]["required"] == ["sentiment", "score"]


@pytest.mark.usefixtures("fake")
def test_typed_results_of_a_run() -> None:
    """A run yields objects of the schema; an invalid answer is an error that names the field."""
    run = openai_batch.start(["good one", "wrong", "refuse"], model="m", schema=Label).wait()
    first, wrong, refused = run
    assert first.parsed == Label(sentiment="good", score=7)
    assert (wrong.outcome, wrong.parsed) == ("error", None)
    assert wrong.error is not None
    assert wrong.error.code == "invalid_answer"
    assert wrong.error.message.startswith('sentiment: "so so" is not one of "good" or "bad"')
    assert (refused.outcome, refused.refusal) == ("refused", "no, thanks")
    assert [result.custom_id for result in run.errors] == ["line-2", "line-3"]
    assert run["line-1"] == first
    with pytest.raises(KeyError):
        run["line-4"]
    assert run.usage == {"prompt_tokens": 3, "completion_tokens": 3, "total_tokens": 6}
    assert run.counts.completed + run.counts.failed == 3
    for frame in (
        run.to_pandas(),
        run.to_polars().to_pandas(),
        run.to_arrow().to_pandas(),
        run.to_dataset().to_pandas(),
    ):
        assert list(frame["prompt"]) == ["good one", "wrong", "refuse"]
        assert list(frame["outcome"]) == ["success", "error", "refused"]


def test_a_cut_answer_has_no_value_even_if_it_fits_the_schema() -> None:
    """A cut answer is not parsed, even if it matches the schema."""
    with fake_provider(lambda _: Cut('{"sentiment": "good", "score": 7}')):
        (result,) = openai_batch.map(["one"], model="m", schema=Label)
        (row,) = openai_batch.map([{"text": "one"}], model="m", schema=Label)
    assert (result.outcome, result.parsed, result.ok) == ("cut", None, False)
    assert (row["outcome"], row["sentiment"], row["score"]) == ("cut", None, None)


@pytest.mark.parametrize("schema", [3, int, list[str], {"type": "array"}])
def test_an_invalid_schema(fake: FakeProvider, schema: Any) -> None:
    """An unsupported schema is an error before anything is sent."""
    with pytest.raises((UsageError, InputError)):
        openai_batch.map(["good"], model="m", schema=schema)
    assert fake.batches == []


NESTED = {
    "type": "object",
    "properties": {"people": {"type": "array", "items": {"$ref": "#/$defs/person"}}},
    "$defs": {
        "person": {"type": "object", "properties": {"name": {"type": "string"}, "age": {"type": ["integer", "null"]}}}
    },
}


@pytest.mark.parametrize(
    ("answer", "problem"),
    [
        ('{"people": [{"name": "Ann", "age": null}]}', None),
        ('{"people": [{"name": "Ann", "age": "old"}]}', 'people.0.age: "old" is not of types'),
        ('{"people": [{"name": "Ann"}]}', 'people.0: "age" is a required property'),
        ('{"people": [{"name": "Ann", "age": 3, "x": 1}]}', "people.0: Additional properties"),
        ('{"people": {}}', "people: {} is not of type"),
        ("{}", '"people" is a required property'),
    ],
)
def test_a_json_schema_is_checked_at_every_depth(answer: str, problem: str | None) -> None:
    """An answer that does not match the JSON schema is an error that names the place."""
    with fake_provider(lambda _: answer):
        (row,) = openai_batch.map([{"text": "x"}], model="m", schema=NESTED)
        (result,) = openai_batch.start([{"text": "x"}], model="m", schema=NESTED).wait()
    assert row["people"] == (json.loads(answer)["people"] if problem is None else None)
    assert (result.parsed is None) == (problem is not None)
    assert row["outcome"] == ("success" if problem is None else "error")
    assert problem is None or str(row["error"]).startswith(f"invalid_answer: {problem}")


@pytest.mark.parametrize("pattern", ["((", 3])
def test_a_json_schema_that_is_not_valid(fake: FakeProvider, pattern: object) -> None:
    """An invalid JSON schema is an error before anything is sent."""
    schema = {"type": "object", "properties": {"name": {"type": "string", "pattern": pattern}}}
    with pytest.raises(InputError, match="the schema is not valid"):
        openai_batch.map(["a"], model="m", schema=schema)
    assert fake.batches == []


ABOUT = ["outcome", "error", "finish_reason", "prompt_tokens", "completion_tokens"]


def test_zero_rows_are_not_an_error(fake: FakeProvider) -> None:
    """An empty input gives an empty result of the same class with all columns, and nothing is sent."""
    import datasets

    given = pd.DataFrame({"text": []}, dtype="str")
    made = openai_batch.map(given, "Label {{ text }}", model="m", schema=Label, prefix="a_")
    assert list(made.columns) == ["text", *(f"a_{name}" for name in ("sentiment", "score", *ABOUT))]
    assert (len(made), list(given.columns)) == (0, ["text"])
    for frame in (pl.from_pandas(given), pa.Table.from_pandas(given), datasets.Dataset.from_pandas(given)):
        empty: Any = openai_batch.map(frame, model="m")
        assert type(empty) is type(frame)
        names = empty.column_names if hasattr(empty, "column_names") else empty.columns
        assert (list(names), len(empty)) == (["text", "answer", *ABOUT], 0)
    assert openai_batch.map(list[str](), model="m") == []
    assert list(openai_batch.map(iter(list[str]()), model="m")) == []
    assert asyncio.run(openai_batch.map_async([], model="m")) == []
    vectors = openai_batch.embed([], model="m")
    assert (vectors.shape, str(vectors.dtype)) == ((0, 0), "float32")
    assert asyncio.run(openai_batch.embed_async([], model="m")).shape == (0, 0)
    with pytest.raises(InputError, match="the schema is not valid"):
        openai_batch.map(
            [], model="m", schema={"type": "object", "properties": {"a": {"type": "string", "pattern": 1}}}
        )
    with pytest.raises(InputError, match="the rows: there is no row"):
        openai_batch.start([], model="m")
    assert fake.batches == []


def test_rows_are_never_paid_twice(fake: FakeProvider) -> None:
    """Rows that were answered before are not sent again, in any order and under any name."""
    openai_batch.map(["a", "b", "a"], model="m")
    assert len(fake.requests) == 2
    openai_batch.map(["b", "a"], model="m")
    frame = openai_batch.map(pd.DataFrame({"text": ["c", "b", "a"]}), model="m", name="third")
    assert list(frame["answer"]) == ["re: c", "re: b", "re: a"]
    assert [said(request) for request in fake.requests] == ["a", "b", "c"]
    openai_batch.map([{"text": "d"}, {"text": "c"}], model="m", name="fourth")
    assert len(fake.requests) == 4
    openai_batch.map(["a"], model="m", again=True)
    assert len(fake.requests) == 5


def test_a_sample_first(fake: FakeProvider) -> None:
    """`sample` sends the first rows, which are not sent again with the others."""
    frame = pd.DataFrame({"text": [f"row {n}" for n in range(5)]}, index=range(10, 15))
    assert list(openai_batch.map(frame, model="m", sample=2).index) == [10, 11]
    run = openai_batch.start(frame, model="m", sample=3).wait()
    assert [row["text"] for row in run.rows()] == ["row 0", "row 1", "row 2"]
    assert len(fake.requests) == 3
    assert len(openai_batch.map(frame, model="m")) == 5
    assert len(fake.requests) == 5
    import datasets

    for rows in (pl.from_pandas(frame), list(frame.text), iter(list(frame.text)), datasets.Dataset.from_pandas(frame)):
        assert len(list(openai_batch.map(rows, model="m", sample=3))) == (
            3 if not isinstance(rows, pl.DataFrame) else 7
        )
    assert len(fake.requests) == 5


@pytest.mark.usefixtures("fake")
def test_several_runs_can_have_the_same_name() -> None:
    """Several runs can have the same name, which refers to the latest one."""
    first = openai_batch.start(["monday"], model="m", name="nightly").wait()
    second = openai_batch.start(["tuesday"], model="m", name="nightly").wait()
    assert first.id != second.id
    again = openai_batch.attach("nightly")
    assert again.id == second.id
    assert [result.text for result in again] == ["re: tuesday"]
    assert openai_batch.attach(first.id)["line-1"].text == "re: monday"
    assert openai_batch.start(["monday"], model="m", name="nightly").id == first.id
    assert openai_batch.attach("nightly").id == first.id
    with pytest.raises(NotFoundError):
        openai_batch.attach("daily")


def test_ids_of_a_column_and_empty_rows(fake: FakeProvider) -> None:
    """Skipped rows keep their place, and each answer is in its own row."""
    frame = pd.DataFrame({"key": ["x", "y", "z"], "text": ["one", " ", "three"]})
    out = openai_batch.map(frame, model="m", id="key", prompt="{{ text }}", skip_empty=True)
    assert [request["custom_id"] for request in fake.requests] == ["x", "z"]
    assert out["answer"].fillna("").tolist() == ["re: one", "", "re: three"]
    assert out["outcome"].fillna("").tolist() == ["success", "", "success"]
    run = openai_batch.start(frame, "{{ text }}", model="m", id="key", skip_empty=True)
    assert run.wait()["z"].text == "re: three"


def test_no_prompts_are_not_an_error(fake: FakeProvider) -> None:
    """If every row is skipped, the result has the same class and empty cells."""
    import datasets

    rows = [{"text": " "}, {"text": None}]
    options: Any = {"model": "m", "prompt": "{{ text or '' }}", "skip_empty": True}
    assert openai_batch.map(rows, **options)[1] == {"text": None, **dict.fromkeys(["answer", *ABOUT])}
    frame = pd.DataFrame(rows, index=[7, 8])
    out = openai_batch.map(frame, schema=Label, **options)
    assert (list(out.index), list(out.columns)) == ([7, 8], ["text", "sentiment", "score", *ABOUT])
    assert out["outcome"].isna().all()
    for given in (pl.DataFrame(rows), pa.Table.from_pylist(rows), datasets.Dataset.from_list(rows)):
        made: Any = openai_batch.map(given, **options)
        assert (type(made), len(made)) == (type(given), 2)
    assert openai_batch.map([" "], model="m", skip_empty=True) == []
    assert list(openai_batch.map(iter(rows), **options)) == []
    assert asyncio.run(openai_batch.map_async(rows, **options))[0]["outcome"] is None
    assert openai_batch.embed([" ", ""], model="m", skip_empty=True).shape == (2, 0)
    with pytest.raises(InputError, match="every prompt is empty"):
        openai_batch.start(rows, **options)
    assert fake.batches == []


@pytest.mark.usefixtures("fake")
def test_a_column_without_values_is_text() -> None:
    """A column without values has the type text, so that the results of several runs can be joined."""
    import datasets

    run = openai_batch.start(["one"], model="m").wait()
    dataset = datasets.Dataset.from_list([{"text": "one"}])
    for features in (run.to_dataset().features, openai_batch.map(dataset, model="m").features):
        assert features["error"].dtype == "string"
    assert run.to_polars().schema["error"] == pl.String
    assert run.to_arrow().schema.field("error").type == pa.string()


@pytest.mark.usefixtures("fake")
def test_embeddings_are_an_array() -> None:
    """`embed` returns one row of float32 for each text, and NaN for a failed one."""
    vectors = openai_batch.embed(pd.Series(["one", "fail", "three"]), model="e")
    assert vectors.dtype == np.float32
    np.testing.assert_array_equal(vectors, [[1, 2, 3], [np.nan] * 3, [1, 2, 5]])
    with pytest.raises(IncompleteError, match="no vectors"):
        openai_batch.embed(["fail"], model="e")
    assert asyncio.run(openai_batch.embed_async(["one"], model="e")).shape == (1, 3)


@pytest.mark.usefixtures("fake")
def test_async_versions() -> None:
    """The async functions return the same as the others, and do not block the event loop."""

    async def main() -> list[Any]:
        run = await openai_batch.start_async(["one"], model="m", name="soon")
        await run.wait_async()
        texts = [result.text async for result in run]
        attached = await openai_batch.attach_async("soon")
        mapped = await asyncio.gather(*(openai_batch.map_async([f"number {n}"], model="m") for n in range(4)))
        return [texts, attached.id == run.id, [results[0].text for results in mapped]]

    assert asyncio.run(main()) == [["re: one"], True, [f"re: number {n}" for n in range(4)]]


@pytest.mark.usefixtures("fake")
def test_async_iterables_are_rows_too() -> None:
    """The async functions accept async generators; the others raise an error that says so."""

    async def texts() -> AsyncIterator[str]:
        for number in range(3):
            await asyncio.sleep(0)
            yield f"number {number}"

    async def requests() -> AsyncIterator[dict[str, Any]]:
        async for text in texts():
            yield {"model": "m", "messages": [{"role": "user", "content": text}]}

    async def main() -> list[Any]:
        mapped = await openai_batch.map_async(texts(), model="m")
        run = await openai_batch.start_async(texts(), "again {{ prompt }}", model="m")
        async with Jobs() as jobs:
            job = await jobs.submit_async(requests())
            await job.wait_async()
            own = [result.text async for result in job.results_async()]
        await run.wait_async()
        return [[result.text for result in mapped], run["line-3"].text, own]

    answers = [f"re: number {number}" for number in range(3)]
    assert asyncio.run(main()) == [answers, "re: again number 2", answers]
    with pytest.raises(InputError, match="async"):
        openai_batch.map(texts(), model="m")
    with Jobs() as jobs, pytest.raises(InputError, match="async") as caught:
        jobs.submit(requests())
    assert "submit_async" in caught.value.hint


@pytest.mark.usefixtures("fake")
@pytest.mark.parametrize("given", [pd.DataFrame({"text": ["a"]}), pl.DataFrame({"text": ["a"]}), ["What is 2 + 2?"], 3])
def test_input_that_jobs_does_not_accept(given: Any) -> None:
    """`Jobs.submit` refuses frames and lists of texts, and the hint is `start`."""
    with Jobs() as jobs, pytest.raises(InputError, match="nothing was sent") as caught:
        jobs.submit(given)
    assert "openai_batch.start" in caught.value.hint


def test_a_refused_input_raises(fake: FakeProvider) -> None:
    """An error of the provider is raised."""
    fake.fail("POST /batches", 400, times=2, message="no such model")
    with pytest.raises(openai_batch.ApiError, match="no such model"):
        openai_batch.map(["one"], model="m")


def test_a_timeout_leaves_the_run(fake: FakeProvider) -> None:
    """After a timeout, the same call continues the run."""
    fake._server._polls = 1_000_000
    with pytest.raises(WaitTimeoutError):
        openai_batch.map(["one"], model="m", timeout=0.2)
    fake._server._looks.update(dict.fromkeys(fake._server._looks, 0))
    assert openai_batch.map(["one"], model="m")[0].text == "re: one"
    assert len(fake.batches) == 1


@pytest.mark.usefixtures("fake")
def test_nothing_is_left_open() -> None:
    """A program that closes nothing gets no ResourceWarning."""
    run = openai_batch.start(["one"], model="m").wait()
    assert isinstance(next(iter(run)), Result)
    del run
    gc.collect()


# VmHWM starts at 0 in a new program; getrusage would include the process that started it.
_MANY = """
import re, sys, openai_batch
count = int(sys.argv[1])
rows = ({"text": f"row {n} of {count} " + "x" * 100} for n in range(count))
answers = openai_batch.map(rows, model="m", progress=False)
assert sum(1 for row in answers if row["answer"] == "ok") == count
print(re.search(r"VmHWM:\\s+(\\d+) kB", open("/proc/self/status").read())[1])
"""


@pytest.mark.slow
@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="the peak is read there")
def test_a_generator_of_many_rows_needs_little_memory() -> None:
    """Ten times as many rows need hardly more memory."""
    with fake_provider(lambda _: "ok"):
        peaks = [
            int(subprocess.run([sys.executable, "-c", _MANY, str(count)], capture_output=True, check=True).stdout)
            for count in (20_000, 200_000)
        ]
    assert peaks[1] - peaks[0] < 20_000  # KiB; the rows alone have 25,000, and there are also requests and answers


@pytest.mark.slow
def test_no_frame_library_is_imported_for_lists() -> None:
    """A program without data frames imports none of their libraries."""
    program = (
        "import sys, openai_batch\n"
        "from openai_batch.testing import fake_provider\n"
        "with fake_provider(): openai_batch.map(['one'], model='m')\n"
        "print(sorted({'pandas', 'polars', 'pyarrow', 'numpy', 'datasets'} & set(sys.modules)))\n"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"


def test_a_star_import_leaves_the_builtin() -> None:
    """`from openai_batch import *` does not replace the builtin `map`."""
    assert "map" not in openai_batch.__all__
    assert "map" in dir(openai_batch)
    names: dict[str, Any] = {}
    exec("from openai_batch import *", names)  # noqa: S102 - it is what is tested
    assert "map" not in names
    assert names["embed"] is openai_batch.embed


_WORDS = """
import sys, openai_batch
print(",".join(result.text for result in openai_batch.map(sys.argv[1:], model="m", progress=False)))
"""


@pytest.mark.slow
def test_programs_at_the_same_time_pay_each_row_once() -> None:
    """Several programs with the same rows in different orders send each row once."""
    orders = ["a b c", "c b a", "a b c", "b c a d", "d a"]
    with fake_provider(answer) as fake:
        words = [[sys.executable, "-c", _WORDS, *order.split()] for order in orders]
        programs = [subprocess.Popen(line, stdout=subprocess.PIPE, text=True) for line in words]
        said_each = [program.communicate()[0].strip() for program in programs]
        assert said_each == [",".join(f"re: {word}" for word in order.split()) for order in orders]
        assert sorted(map(said, fake.requests)) == ["a", "b", "c", "d"]


def test_threads_at_the_same_time_pay_each_row_once() -> None:
    """Several threads with the same rows in different orders send each row once."""
    orders = [["a", "b"], ["b", "a"], ["a", "b"], ["a", "c"], ["c", "d"], ["d", "a"]]
    with fake_provider(answer) as fake, ThreadPoolExecutor(len(orders)) as pool:
        mapped = list(pool.map(lambda order: openai_batch.map(order, model="m", name=f"n{order[0]}"), orders))
        assert [[result.text for result in results] for results in mapped] == [
            [f"re: {word}" for word in order] for order in orders
        ]
        assert sorted(map(said, fake.requests)) == ["a", "b", "c", "d"]
        assert len(list((Path(os.environ["OBATCH_STATE_DIR"]) / "jobs").iterdir())) == 5
