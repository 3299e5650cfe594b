"""The docstrings of public functions and methods describe their arguments and errors, and their examples run."""

from __future__ import annotations

import ast
import asyncio
import inspect
import json
import re
import textwrap
from datetime import datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import pandas as pd
import pytest
from PIL import Image
from pydantic import BaseModel

import openai_batch
from openai_batch import Batch, Jobs, testing
from openai_batch.testing import fake_provider

if TYPE_CHECKING:
    from collections.abc import Iterator

_SEEN_IN_THEIR_CLASS = {"Reporter"}
"""Classes with one example for all of their methods."""


def _documented() -> Iterator[tuple[str, Any]]:
    """Yield the public functions, and the methods of the public classes, including those of `testing`."""
    for name in [*openai_batch.__all__, "map", *testing.__all__]:
        value = getattr(testing if name in testing.__all__ else openai_batch, name)
        if inspect.isfunction(value) or name in _SEEN_IN_THEIR_CLASS:
            yield name, value
        elif inspect.isclass(value) and not issubclass(value, Exception):
            for member in vars(value):
                if inspect.isroutine(getattr(value, member)) and not member.startswith("_"):
                    yield f"{name}.{member}", getattr(value, member)


_RAISES_NO_MORE_THAN_ITS_CLASS = re.compile(
    r"Reporter|Jobs\.(close|list|spending)|Job\.refresh|Report\.(lines|record)|Result\.missing"
    r"|Provider\.(placed|serves|is_at)|FakeProvider\.fail|fake_provider"
)
_ALL = {name: value for name, value in _documented() if not name.endswith("_async") or name == "map_async"}


class Label(BaseModel):
    """A schema."""

    sentiment: Literal["good", "bad"]


@pytest.mark.parametrize("name", sorted(_ALL))
def test_the_docstring_has_arguments_and_errors(name: str) -> None:
    """The docstring, that of the class, or that of a function it refers to has the arguments and errors."""
    owner = getattr(openai_batch, name.partition(".")[0], None) if "." in name else None
    own = inspect.getdoc(_ALL[name]) or ""
    told = own + (inspect.getdoc(owner) or "" if owner else "")
    if inspect.isroutine(_ALL[name]) and not re.search(r"(those of|as for|what) `", own):
        parameters = [each for each in inspect.signature(_ALL[name]).parameters.values() if each.name != "self"]
        named = [each.name for each in parameters if each.kind is not each.VAR_KEYWORD]
        missing = [each for each in named if f"`{each}" not in told]
        assert len(named) == 1 or not missing, missing
    assert re.search(r"\bRaises?\b|(as for|what) `", own) or _RAISES_NO_MORE_THAN_ITS_CLASS.fullmatch(name)


@pytest.mark.filterwarnings("ignore:The wait")
@pytest.mark.parametrize("name", sorted(_ALL))
def test_the_example_runs(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The example of each docstring runs unchanged."""
    found = re.search(r"\n\n((?:    .*\n+)+)", f"{inspect.getdoc(_ALL[name])}\n")
    assert found is not None, f"{name} has no example"
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("OPENAI_API_KEY", "sk-not-a-key")
    Image.new("RGB", (2, 2)).save("photo.png")
    with fake_provider(lambda request: '{"sentiment": "good"}' if "chat" in request["url"] else [1.0, 2.0]) as fake:
        names = {name: getattr(openai_batch, name) for name in dir(openai_batch) if not name.startswith("_")}
        texts = ["fine", "broken"]
        names |= {
            "frame": pd.DataFrame({"text": texts}),
            "texts": texts,
            "Label": Label,
            "provider": fake.provider,
            "Path": Path,
            "datetime": datetime,
            "timedelta": timedelta,
            "fake": fake,
            "fake_provider": fake_provider,
        }
        run = openai_batch.start(texts, model="m", name="nightly").wait()
        with fake.provider.get_client(), Jobs() as jobs, Batch(provider=fake.provider) as batch:
            request = {"model": "gpt-4o-mini", "messages": [{"role": "user", "content": "x"}]}
            job = jobs.submit([request]).wait()
            job.download("output.jsonl")
            ready = {"custom_id": "line-1", "method": "POST", "url": "/v1/chat/completions", "body": request}
            Path("input.jsonl").write_text(f"{json.dumps(ready)}\n", encoding="utf-8")
            batch.add_to_batch(**request)
            if name in ("Batch.status", "Batch.download", "Batch.cancel", "Batch.results"):
                batch.submit()
            if name in ("Batch.download", "Batch.results"):
                batch.status()
            made = {"run": run, "jobs": jobs, "job": job, "batch": batch, "batch_id": fake.batches[0]["id"]}
            _run(textwrap.dedent(found[1]).replace("batch_abc123", fake.batches[0]["id"]), names | made)


def _run(code: str, names: dict[str, Any]) -> None:
    """Run an example, which may use `await`."""
    compiled = compile(code, "the example", "exec", flags=ast.PyCF_ALLOW_TOP_LEVEL_AWAIT)
    waited = eval(compiled, names)  # noqa: S307 - it is what is tested
    if inspect.iscoroutine(waited):
        asyncio.run(waited)
