"""Options, schemas, unusual frames, progress and errors of `map` and `start`, with the fake provider."""

from __future__ import annotations

import asyncio
import io
import logging
import sys
from types import ModuleType, SimpleNamespace
from typing import TYPE_CHECKING, Any, cast

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from PIL import Image
from pydantic import BaseModel, Field

import openai_batch
from openai_batch import Jobs, Reporter
from openai_batch.errors import BatchError, CostError, IncompleteError, InputError, UsageError
from openai_batch.testing import Failure, Refusal, fake_provider

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from openai_batch.testing import FakeProvider


def answer(request: dict[str, Any]) -> Any:
    """Answer as the prompt says."""
    text = str(request["body"]["messages"][-1]["content"])
    words = {"fail": Failure(429, "slow"), "refuse": Refusal("no"), "json": '{"error": "x", "theId": 3}'}
    return words.get(text, f"re: {text}")


@pytest.fixture
def fake() -> Iterator[FakeProvider]:
    """A provider that answers as the prompts say."""
    with fake_provider(answer) as made:
        yield made


@pytest.mark.parametrize(
    ("options", "told", "hint"),
    [
        ({"modle": "m"}, "there is no option 'modle'", "there is model"),
        ({"max_tokens": 3}, "there is no option 'max_tokens'", "params={'max_tokens': …}"),
        ({"timeout": "10m"}, "timeout= is '10m'", "a number of seconds"),
        ({"sample": -1}, "sample= is -1", "a whole number"),
        ({"retries": "2"}, "retries= is '2'", "a whole number"),
        ({"retries": True}, "retries= is True", "a whole number"),
        ({"params": "temperature=0"}, "params= is", "a dict"),
        ({"prompt": ["{{ prompt }}"]}, "prompt= is", "a text"),
        ({"metadata": {"a": 1}}, "metadata 'a' is 1", "give texts"),
        ({"name": 3}, "name= is 3", "a text"),
        ({"state": "/proc/nope"}, "/proc/nope", ""),
    ],
)
def test_a_wrong_option_is_an_error_before_anything_is_sent(
    fake: FakeProvider, options: dict[str, Any], told: str, hint: str
) -> None:
    """An unknown option, or one of the wrong type, is a clear error, and nothing is sent."""
    with pytest.raises(BatchError, match=told) as caught:
        openai_batch.map(["one"], **({"model": "m"} | options))
    assert hint in caught.value.hint
    assert fake.batches == []


def test_options_of_map_are_not_those_of_start(fake: FakeProvider) -> None:
    """`start` refuses the options that only `map` has, and `wait` refuses an invalid timeout."""
    options, timeout = {"retries": 3}, "10m"  # what a program without a type checker may pass
    with pytest.raises(UsageError, match="no option 'retries'"):
        openai_batch.start(["one"], model="m", **cast("Any", options))
    run = openai_batch.start(["one"], model="m")
    with pytest.raises(UsageError, match="timeout is '10m'"):
        run.wait(timeout=cast("Any", timeout))
    assert len(fake.batches) == 1


class WithError(BaseModel):
    """A schema whose field has the name of a result column."""

    error: str


class WithAlias(BaseModel):
    """A schema whose fields have other names in the answers."""

    reason: str = Field(alias="error")
    number: int = Field(alias="theId")


def test_a_field_never_shares_a_column(fake: FakeProvider) -> None:
    """A field with the name of a result column is an error; with an alias it gets its own column."""
    frame = pd.DataFrame({"text": ["json"]})
    with pytest.raises(UsageError, match="the schema has a field 'error'"):
        openai_batch.map(frame, model="m", schema=WithError)
    assert fake.batches == []
    out = openai_batch.map(frame, model="m", schema=WithAlias)
    assert (out["reason"][0], out["number"][0], out["outcome"][0]) == ("x", 3, "success")


def test_a_column_of_a_later_row_is_never_replaced(fake: FakeProvider) -> None:
    """A result column that only a later dict has is an error too."""
    with pytest.raises(UsageError, match="the rows have 'answer' already"):
        openai_batch.map([{"text": "a"}, {"text": "b", "answer": "mine"}], model="m")
    assert fake.batches == []


@pytest.mark.parametrize(
    ("rows", "told", "hint"),
    [
        (pd.DataFrame([["a", "b"]], columns=["text", "text"]), "the column 'text' 2 times", "rename"),
        ("splits", "several splits", 'rows["test"]'),
        (["a", " "], "the prompt is empty", "skip_empty=True"),
    ],
)
def test_rows_that_cannot_be_sent_say_why_in_python(fake: FakeProvider, rows: Any, told: str, hint: str) -> None:
    """The error and the hint name Python arguments, not options of the command."""
    if isinstance(rows, str):
        import datasets  # not at the top: it needs POSIX modules on the simulated Windows

        rows = datasets.DatasetDict({"test": datasets.Dataset.from_dict({"text": ["a"]})})
    with pytest.raises(InputError, match=told) as caught:
        openai_batch.map(rows, model="m")
    assert hint in caught.value.hint
    assert "--" not in f"{caught.value}{caught.value.hint}"
    assert fake.batches == []


def test_batches_and_arrays_of_arrow_are_rows(fake: FakeProvider) -> None:
    """Record batches and arrays of Arrow give tables; numpy values can be parameters."""
    out = openai_batch.map(pa.record_batch({"text": ["a"]}), model="m", params={"top_p": np.float64(0.5)})
    assert out["answer"].to_pylist() == ["re: a"]
    assert openai_batch.map(pa.array(["a"]), model="m")["answer"].to_pylist() == ["re: a"]
    assert fake.requests[0]["body"]["top_p"] == 0.5


@pytest.mark.usefixtures("fake")
def test_images_of_pil_and_of_a_dataset(fake: FakeProvider) -> None:
    """A cell may be an image in memory; `images` accepts the name of one column."""
    import datasets

    picture = Image.new("RGB", (2, 2))
    features = datasets.Features({"pic": datasets.Image()})
    for rows in ([{"pic": picture}], datasets.Dataset.from_dict({"pic": [picture]}, features=features)):
        out = openai_batch.map(rows, "What is this?", images="pic", model="m", again=True)
        assert next(iter(out))["outcome"] == "success"
        url = fake.requests[-1]["body"]["messages"][0]["content"][1]["image_url"]["url"]
        assert url.startswith("data:image/")


class Terminal(io.StringIO):
    """A stream that is a terminal."""

    def isatty(self) -> bool:
        """Return True."""
        return True


class ZMQInteractiveShell:
    """The name of IPython's shell in a notebook."""


def test_a_notebook_shows_a_bar(monkeypatch: pytest.MonkeyPatch, recwarn: pytest.WarningsRecorder) -> None:
    """A notebook shows a progress bar, also without ipywidgets, and no warning."""
    shown: list[str] = []

    class Output:
        def update(self, bars: Any) -> None:
            shown.append(bars._repr_mimebundle_([], [])["text/html"])

    notebook = ModuleType("IPython")
    display = SimpleNamespace(display=lambda _, display_id: display_id and Output())
    vars(notebook).update(get_ipython=ZMQInteractiveShell, display=display)
    monkeypatch.setitem(sys.modules, "IPython", notebook)
    with fake_provider(answer, polls=1):
        openai_batch.start(["one"], model="m").wait(progress=True)
    assert "job 1: completed" in shown[-1]
    assert "1/1" in shown[-1]
    assert not recwarn.list


@pytest.mark.usefixtures("fake")
def test_progress_goes_to_the_log(caplog: pytest.LogCaptureFixture) -> None:
    """Each change of the status is logged once, with the counts, and so are transfers."""
    with caplog.at_level(logging.INFO, "openai_batch"), Jobs() as jobs:
        openai_batch.start(["one", "two"], model="m").wait()
        jobs.submit([{"model": "m", "messages": [{"role": "user", "content": "three"}]}]).wait()
    told = [record.getMessage() for record in caplog.records if record.name == "openai_batch"]
    assert [line for line in told if line.endswith("requests")] == [
        "job 1: completed, 2 of 2 requests",
        "job 2: completed, 1 of 1 requests",
    ]
    assert any(line.startswith("upload: ") for line in told)


def test_a_limit_of_costs_can_be_tested() -> None:
    """The fake provider has prices, so `max_cost` can accept and refuse a run."""
    options: Any = {"model": "m", "params": {"max_tokens": 1000}}
    with fake_provider() as fake:
        assert openai_batch.map(["one"], max_cost=1, **options)[0].ok
        with pytest.raises(CostError):
            openai_batch.map(["two"], max_cost=0.0001, provider=fake.provider, **options)


@pytest.mark.slow
def test_wait_shows_a_bar_on_a_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    """`wait(progress=True)` shows a progress bar in a terminal; a program's own reporter still gets its calls."""

    class Own(Reporter):
        def __init__(self) -> None:
            self.seen: list[str] = []

        def polled(self, job: Any) -> None:
            self.seen.append(job.status)

    with fake_provider(answer, polls=1):
        shown = []
        for progress in (False, True):
            terminal = Terminal()
            monkeypatch.setattr(sys, "stderr", terminal)
            openai_batch.start([f"row {progress}"], model="m").wait(progress=progress)
            shown.append(terminal.getvalue())
        assert shown[0] == ""
        assert "job 2: completed" in shown[1]
        own = Own()
        openai_batch.start(["own"], model="m", reporter=own).wait(progress=True)
        assert own.seen[-1] == "completed"


@pytest.mark.usefixtures("fake")
def test_counts_by_outcome(tmp_path: Any) -> None:
    """The counts by outcome are in the run, in the error of a download, and in the table of a notebook."""
    run = openai_batch.start(["one", "fail", "refuse"], model="m", name="<b>").wait()
    assert run.outcomes == {"success": 1, "error": 1, "refused": 1}
    assert ("line-2" in run, "line-9" in run) == (True, False)
    with pytest.raises(IncompleteError) as caught:
        run.download(tmp_path / "out.jsonl")
    assert caught.value.outcomes == run.outcomes
    assert f"jobs.get({run.id}).retry()" in caught.value.hint
    html = run._repr_html_()
    assert "<td>&lt;b&gt;</td>" in html
    assert "<td>3</td>" in html
    assert repr(run).startswith("<Run 1 '<b>' at fake: ")
    with Jobs() as jobs:
        assert "<th>Job</th>" in jobs.get(run.id)._repr_html_()


def test_a_run_that_failed_as_a_whole_is_sent_again_with_retries(
    fake: FakeProvider, monkeypatch: pytest.MonkeyPatch
) -> None:
    """If the whole batch fails, the hint is `retries=1`, which sends the rows again."""

    def failed(batch: dict[str, Any]) -> None:
        fault = {"code": "invalid_model", "message": "no such model", "line": 1}
        batch.update(status="failed", errors={"data": [fault]})

    with monkeypatch.context() as patch:
        patch.setattr(fake._server, "_end", failed)
        with pytest.raises(IncompleteError, match="no such model") as caught:
            openai_batch.map(["one"], model="m")
    assert "retries=1 sends the same rows once more" in caught.value.hint
    assert caught.value.outcomes == {"missing": 1}
    assert openai_batch.map(["one"], model="m", retries=1)[0].text == "re: one"


def test_vectors_of_several_lengths_are_an_error() -> None:
    """Vectors of different lengths are an error."""
    with (
        fake_provider(lambda request: [1.0] * len(request["body"]["input"])),
        pytest.raises(BatchError, match="vectors of several lengths"),
    ):
        openai_batch.embed(["a", "bb"], model="e")


def test_plain_failures_are_sent_again_with_retries(tmp_path: Path) -> None:
    """`retries` sends only the failed rows again, also in the async version."""
    failures = 2

    def answer(request: dict[str, Any]) -> Any:
        nonlocal failures
        if request["body"]["messages"][-1]["content"] == "b" and failures:
            failures -= 1
            return Failure(429, "slow down")
        return "done"

    with fake_provider(answer) as fake:
        state = tmp_path / "state"
        rows = [{"text": "a"}, {"text": "b"}]
        assert [row["outcome"] for row in openai_batch.map(rows, model="m", state=state)] == ["success", "error"]
        assert len(fake.requests) == 2
        made = asyncio.run(openai_batch.map_async(rows, model="m", state=state, retries=3))
        assert [row["outcome"] for row in made] == ["success", "success"]
        assert len(fake.requests) == 4
