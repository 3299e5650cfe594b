"""A program that maps rows, for the type checkers only: they must report no error."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any, assert_type

import openai_batch
from openai_batch import Batch, IncompleteError, Reporter, Result, Run
from openai_batch.testing import Failure, fake_provider

if TYPE_CHECKING:
    import pandas as pd
    import polars as pl


class Shown(Reporter):
    """A reporter that shows warnings."""

    def warn(self, text: str) -> None:
        """Show a warning."""


def lists(texts: list[str], dicts: list[dict[str, object]]) -> None:
    """Lists and iterators."""
    assert_type(openai_batch.map(texts, model="m"), list[Result])
    assert_type(openai_batch.map(tuple(texts), "{{ prompt }}?", model="m", retries=1), list[Result])
    assert_type(openai_batch.map(dicts, "{{ text }}", model="m", params={"temperature": 0}), list[dict[str, Any]])
    assert_type(openai_batch.map(iter(texts), model="m"), Iterator[Result])
    assert_type(openai_batch.map(({"text": text} for text in texts), model="m"), Iterator[dict[str, Any]])


def frames(frame: pd.DataFrame, polars: pl.DataFrame, series: pd.Series[str], other: pl.Series) -> None:
    """A frame has the same type as before, and a series becomes a frame."""
    assert_type(openai_batch.map(frame, "{{ text }}", model="m", schema={"type": "object"}), "pd.DataFrame")
    assert_type(openai_batch.map(polars, model="m", sample=5), "pl.DataFrame")
    assert_type(openai_batch.map(polars, model="m", timeout=3.5, prefix="llm_"), "pl.DataFrame")
    assert_type(openai_batch.map(series, model="m"), "pd.DataFrame")
    assert_type(openai_batch.map(other, model="m"), "pl.DataFrame")
    openai_batch.embed(series, model="e").mean(axis=0)


def runs(texts: list[str]) -> float:
    """A run, its results and its counts."""
    run = openai_batch.start(texts, model="m", name="nightly", reporter=Shown())
    assert_type(run.wait(60, retries=2, progress=True), Run)
    assert_type(openai_batch.attach("nightly", schema=dict), Run)
    assert_type(run["line-1"].text, str | None)
    assert_type(run.outcomes, dict[str, int])
    assert_type([result.custom_id for result in run if not result.ok], list[str])
    try:
        run.download("out.csv")
    except IncompleteError as exc:
        assert_type(exc.outcomes, dict[str, int])
    return run.usage.get("prompt_tokens", 0) * 0.15e-6


async def later(texts: list[str]) -> list[Result]:
    """The async versions."""
    run = await openai_batch.start_async(texts, model="m")
    await run.wait_async(progress=True)
    await openai_batch.map_async(texts, model="m")
    assert_type(await openai_batch.attach_async("nightly"), Run)
    return [result async for result in run]


def paths(batch: Batch) -> str | None:
    """`Batch` returns the paths of its results."""
    _, output_path, error_path = batch.submit_wait_download()
    return output_path or error_path


def tested() -> None:
    """A test with the fake provider."""
    with fake_provider(lambda request: Failure(429) if request["custom_id"] else "good", polls=1) as fake:
        assert_type(fake.batches, list[dict[str, Any]])
