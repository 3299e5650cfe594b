"""`map` and `embed`: rows in, answers out, in the order of the rows and of the same kind."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
from typing import TYPE_CHECKING, Any, Protocol, TypeVar, cast, overload

from openai_batch.errors import BatchError, IncompleteError, InputError
from openai_batch.inputs.prepare import NoPromptError
from openai_batch.jobs.async_version import AsyncInput

from .columns import new_cells, new_columns
from .options import MapOptions, checked_options
from .progress import BarReporter
from .run import library
from .schema import AnswerSchema
from .start import start_rows
from .tables import open_rows

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from typing import Unpack

    import numpy as np

    from openai_batch.results.result import Result

    from .run import Run
    from .tables import Row

_Frame = TypeVar("_Frame")
_Made_co = TypeVar("_Made_co", covariant=True)


class _Series(Protocol[_Made_co]):
    """A series of pandas or polars, which becomes a frame."""

    def to_frame(self) -> _Made_co:
        """Return it as a frame."""


@overload
def map(  # noqa: A001
    rows: Sequence[str], prompt: str | None = ..., **options: Unpack[MapOptions]
) -> list[Result]: ...
@overload
def map(  # noqa: A001
    rows: Sequence[Mapping[str, Any]], prompt: str | None = ..., **options: Unpack[MapOptions]
) -> list[dict[str, Any]]: ...
@overload
def map(  # noqa: A001
    rows: Iterator[str], prompt: str | None = ..., **options: Unpack[MapOptions]
) -> Iterator[Result]: ...
@overload
def map(  # noqa: A001
    rows: Iterator[Mapping[str, Any]], prompt: str | None = ..., **options: Unpack[MapOptions]
) -> Iterator[dict[str, Any]]: ...
@overload
def map(rows: _Series[_Made_co], prompt: str | None = ..., **options: Unpack[MapOptions]) -> _Made_co: ...  # noqa: A001
@overload
def map(rows: _Frame, prompt: str | None = ..., **options: Unpack[MapOptions]) -> _Frame: ...  # noqa: A001
def map(rows: Any, prompt: str | None = None, **options: Unpack[MapOptions]) -> Any:  # noqa: A001
    """Send one request for each row, wait for the answers, and return the rows with them.

        labelled = map(frame, "Label this review: {{ text }}", model="gpt-4o-mini", schema=Label)

    `rows` and `prompt` are as for `start`; MapOptions lists the other `options`. A frame, a dataset and a list of dicts
    come back in the same order, and a pandas frame with the same index, with these new columns: `answer`, or the fields
    of the schema; `outcome` (success, refused, cut, error or missing); `error`, a text; `finish_reason`;
    `prompt_tokens` and `completion_tokens`. A series becomes a frame. A list of texts becomes a list of `Result`. Any
    other iterable becomes an iterator, which needs little memory. A list of `Result` and an iterator leave out the rows
    that are not sent. Without rows nothing is sent, and the result is an empty object of the same kind, with the new
    columns.

    A request that failed does not raise: its `outcome` says so, and its answer is empty. Run the same call again after
    an interruption: it continues, and nothing is paid twice.

    Raises the errors of `start`, ApiError if the provider refuses the whole input, and WaitTimeoutError.
    """
    return _mapped(*_run(rows, prompt, options))


def embed(rows: Any, prompt: str | None = None, **options: Unpack[MapOptions]) -> np.ndarray[Any, Any]:
    """Return the embedding of each row: an array of float32 of shape (rows, dimensions).

        vectors = embed(frame["text"], model="text-embedding-3-small")

    The arguments are those of `map`. The vector of a row that failed or was not sent is NaN. If no row is sent, the
    shape is (rows, 0). Raises the errors of `map`, MissingExtraError without numpy, and IncompleteError if there is no
    vector at all.
    """
    library("numpy")
    return _matrix(*_run(rows, prompt, options, embeddings=True))


async def map_async(rows: Any, prompt: str | None = None, **options: Unpack[MapOptions]) -> Any:
    """Do what `map` does, without blocking the event loop.

        results = await map_async(texts, model="gpt-4o-mini")

    If the task is cancelled, the run continues.
    """
    run, source = await _run_async(rows, prompt, options)
    return await asyncio.to_thread(_begun, run, source)


async def embed_async(rows: Any, prompt: str | None = None, **options: Unpack[MapOptions]) -> np.ndarray[Any, Any]:
    """Do what `embed` does, without blocking the event loop.

        vectors = await embed_async(texts, model="text-embedding-3-small")

    If the task is cancelled, the run continues.
    """
    library("numpy")
    return await asyncio.to_thread(_matrix, *await _run_async(rows, prompt, options, embeddings=True))


def _run(rows: Any, prompt: str | None, options: MapOptions, *, embeddings: bool = False) -> tuple[Run | None, _Source]:
    """Start a run, wait until it has ended, and return it with its rows. If no row is to be sent, there is no run."""
    options = checked_options(options, MapOptions, prompt)
    source, reporter, run = _Source(rows, options), BarReporter(), None
    if source.empty:
        return None, source
    with reporter.shown(wanted=options.get("progress", True)), contextlib.suppress(NoPromptError):
        run = _start(source, prompt, reporter, options, embeddings=embeddings)
        run.wait(options.get("timeout"), retries=options.get("retries", 0))
    return run, source


async def _run_async(
    rows: Any, prompt: str | None, options: MapOptions, *, embeddings: bool = False
) -> tuple[Run | None, _Source]:
    options = checked_options(options, MapOptions, prompt)
    reporter, run = BarReporter(), None
    with AsyncInput() as given:
        source = await asyncio.to_thread(_Source, given.iterable(rows), options)
        if source.empty:
            return None, source
        with reporter.shown(wanted=options.get("progress", True)), contextlib.suppress(NoPromptError):
            run = await asyncio.to_thread(_start, source, prompt, reporter, options, embeddings=embeddings)
            await run.wait_async(options.get("timeout"), retries=options.get("retries", 0))
    return run, source


def _start(source: _Source, prompt: str | None, reporter: BarReporter, options: MapOptions, *, embeddings: bool) -> Run:
    prefix = None if embeddings else options.get("prefix", "")
    timeout = options.get("timeout")
    return start_rows(source.rows, prompt, reporter, options, embeddings=embeddings, prefix=prefix, timeout=timeout)


def _mapped(run: Run | None, source: _Source) -> Any:
    """Return the rows with the answers of a run that has ended."""
    join = source.join
    if run is None:
        names = source.new_names()
        if join is None or source.texts:
            return iter(()) if join is None else []
        return join([dict.fromkeys(names) for _ in range(source.count)], names)
    run.raise_if_failed()
    if source.texts:
        return run.results() if join is None else list(run.results())
    if join is None:
        return ({**row, **source.cells(run, result)} for row, result in run.answered_rows())
    return join([source.cells(run, result) for result in source.results(run)], ())


def _begun(run: Run | None, source: _Source) -> Any:
    """Return the same as `_mapped`. The first result of an iterator is read here, which downloads all of them."""
    made = _mapped(run, source)
    return itertools.chain(list(itertools.islice(made, 1)), made) if source.join is None else made


def _matrix(run: Run | None, source: _Source) -> np.ndarray[Any, Any]:
    """Return the embeddings of a run that has ended."""
    numpy = library("numpy")
    if run is None:
        return cast("np.ndarray[Any, Any]", numpy.empty((source.count, 0), dtype=numpy.float32))
    run.raise_if_failed()
    vectors = [
        None if result is None or result.embedding is None else numpy.asarray(result.embedding, dtype=numpy.float32)
        for result in source.results(run)
    ]
    length = next((len(vector) for vector in vectors if vector is not None), None)
    if length is None:
        raise IncompleteError(f"{run!r} has no vectors", hint="its `errors` say why", outcomes=run.outcomes)
    if any(vector is not None and len(vector) != length for vector in vectors):
        raise BatchError(f"{run!r} has vectors of several lengths", hint="look at its results one by one")
    made: np.ndarray[Any, Any] = numpy.full((len(vectors), length), numpy.nan, dtype=numpy.float32)
    for number, vector in enumerate(vectors):
        if vector is not None:
            made[number] = vector
    return made


class _Source:
    """The given rows, and how the answers are added to them. The first row is read at once."""

    def __init__(self, given: Any, options: MapOptions) -> None:
        opened = open_rows(given, options.get("sample"))
        self.join, self.texts = opened.join, opened.texts
        first = list(itertools.islice(opened.rows, 1))
        self.empty = not first
        self.rows = self._noted(itertools.chain(first, opened.rows))
        self._id_column = options.get("id")
        self._skips = options.get("skip_empty", False)
        self._prefix = options.get("prefix", "")
        self._schema = options.get("schema")
        self._ids: list[str] = []  # those of a column
        self.count = 0  # of the rows that were read

    def _noted(self, rows: Iterator[Row]) -> Iterator[Row]:
        """Yield the rows. Raises InputError if a row that is skipped may have the id of another one (`results`)."""
        seen: set[str] = set()
        for row in rows:
            self.count += 1
            if self._id_column is not None:
                found = row.get(self._id_column)
                self._ids.append("" if found is None else str(found))  # no request has an empty id
                if self._skips and self._ids[-1] in seen:
                    message = f"row {self.count} has the id {self._ids[-1][:80]!r} of an earlier row; nothing was sent"
                    raise InputError(message, hint="give each row its own id")
                if self._skips and self._ids[-1]:
                    seen.add(self._ids[-1])
            yield row

    def results(self, run: Run) -> Iterator[Result | None]:
        """Yield the result of each row; None for one that was not sent."""
        results = run.results()
        current = next(results, None)
        for custom_id in self._ids or (f"line-{number}" for number in range(1, self.count + 1)):
            if current is not None and current.custom_id == custom_id:
                yield current
                current = next(results, None)
            else:
                yield None

    def new_names(self) -> list[str]:
        """Return the names of the new columns. Raises the errors of a schema that does not fit."""
        schema = None if self._schema is None else AnswerSchema(self._schema)
        return [f"{self._prefix}{name}" for name in new_columns(schema)]

    def cells(self, run: Run, result: Result | None) -> dict[str, Any]:
        """Return the new cells of a row."""
        return {f"{self._prefix}{name}": value for name, value in new_cells(result, run.schema).items()}
