"""`Run`: the durable job behind `start` and `map`, with typed results and data frames."""

from __future__ import annotations

import contextlib
from collections import Counter
from typing import TYPE_CHECKING, Any, Self

from openai_batch.errors import IncompleteError, MissingExtraError
from openai_batch.inputs.source_rows import read_rows
from openai_batch.jobs.advice import advice
from openai_batch.jobs.job import Job
from openai_batch.jobs.store import job_folder
from openai_batch.results.usage import token_count

from .columns import new_cells
from .progress import BarReporter
from .tables import columns_of, dataset_of, in_one_type, without_values

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator

    from openai_batch.jobs.session import Session
    from openai_batch.jobs.store.records import JobRecord
    from openai_batch.results.result import Result

    from .schema import AnswerSchema


class Run(Job):
    """A job whose results are read with a schema, and joined with the rows that they answer.

    Iterate over it for the results in the order of the rows; `run["line-7"]` is the result of one request. `obatch ls`
    shows the job, and it continues when the program ends.
    """

    def __init__(self, session: Session, row: JobRecord, schema: AnswerSchema | None = None) -> None:
        super().__init__(session, row)
        self.schema = schema

    def wait(self, timeout: float | None = None, *, retries: int = 0, progress: bool = False) -> Self:
        """Wait until the run has ended, and return the run itself.

            run.wait(progress=True)

        With `progress` a bar is shown on a terminal or in a notebook. Everything else is as for `Job.wait`.
        """
        with self._bar(wanted=progress):
            return super().wait(timeout, retries=retries)

    async def wait_async(
        self,
        timeout: float | None = None,  # noqa: ASYNC109 - the run continues after it
        *,
        retries: int = 0,
        progress: bool = False,
    ) -> Self:
        """Wait like `wait`, without blocking the event loop. If the task is cancelled, the run continues."""
        with self._bar(wanted=progress):
            return await super().wait_async(timeout, retries=retries)

    def _bar(self, *, wanted: bool) -> contextlib.AbstractContextManager[None]:
        """Return a context that shows the bar, unless the program has a reporter of its own."""
        reporter = self._session.reporter
        return reporter.shown(wanted=wanted) if isinstance(reporter, BarReporter) else contextlib.nullcontext()

    @property
    def usage(self) -> dict[str, int]:
        """The tokens that the provider counted for its batches, by kind.

        Many providers count none for a batch. Then they are added up from the results, once the run has ended.
        """
        if self._row.usage or not self.ended:
            return self._row.usage
        total: Counter[str] = Counter()
        for result in self.results():
            total.update({kind: token_count(count) for kind, count in result.usage.items() if token_count(count)})
        return dict(total)

    def results(self) -> Iterator[Result]:
        """Yield the result of each request in the order of the rows, with `parsed` if the run has a schema.

            labels = {result.custom_id: result.parsed for result in run.results()}

        An answer that does not fit the schema is an error with the code "invalid_answer". Raises the errors of
        `Job.results`.
        """
        for result in super().results():
            yield result if self.schema is None else self.schema.applied(result)

    __iter__ = results

    async def results_async(self) -> AsyncIterator[Result]:
        """Yield the same as `results`, without blocking the event loop."""
        async for result in super().results_async():
            yield result if self.schema is None else self.schema.applied(result)

    __aiter__ = results_async

    def __getitem__(self, custom_id: str) -> Result:
        """Return the result of the request with this id. Raises KeyError if there is none."""
        for result in self.results():
            if result.custom_id == custom_id:
                return result
        raise KeyError(custom_id)

    def __contains__(self, custom_id: object) -> bool:
        """Return whether there is a request with this id."""
        return any(result.custom_id == custom_id for result in self.results())

    @property
    def outcomes(self) -> dict[str, int]:
        """How many requests ended in each way: success, refused, cut, error or missing. Reads all results."""
        return {str(outcome): count for outcome, count in Counter(each.outcome for each in self.results()).items()}

    @property
    def errors(self) -> list[Result]:
        """The results that are not a success: refused, cut, failed, missing, or not fitting the schema."""
        return [result for result in self.results() if not result.ok]

    def rows(self) -> Iterator[dict[str, Any]]:
        """Yield each row with the columns of its answer, in order; only one row is in memory.

            for row in run.rows(): print(row["outcome"])

        The new columns are those of `map`. A new column replaces a column of the row with the same name. Raises the
        errors of `Job.results`.
        """
        for row, result in self.answered_rows():
            yield row | new_cells(result, self.schema)

    def answered_rows(self) -> Iterator[tuple[dict[str, Any], Result]]:
        """Yield each row that was sent, with its result, in order; only one row is in memory.

            texts = [result.text for row, result in run.answered_rows() if row]

        The row is empty if the job was not made from rows. Raises the errors of `Job.results`.
        """
        columns = job_folder.columns_of(self._row)
        with contextlib.ExitStack() as stack:
            known = iter(()) if columns is None else read_rows(stack.enter_context(columns.open("rb")))
            for result in self.results():
                yield next(known, {}), result

    def raise_if_failed(self) -> None:
        """Raise IncompleteError, with the reasons, if every batch failed as a whole, so that there are no answers.

            run.wait().raise_if_failed()

        A run with any answer is not a failure.
        """
        if self.faults and not self._row.skipped and all(part.status == "failed" for part in self._row.parts):
            raise IncompleteError(
                f"job {self.id} failed: {self.faults[0]}",
                hint=f"{advice(self.faults) or 'fix the input'}; retries=1 sends the same rows once more",
                outcomes=self.outcomes,
            )

    def to_pandas(self) -> Any:
        """Return the rows with their answers as a pandas data frame, with a new index.

            run.to_pandas().to_csv("labels.csv")

        Raises MissingExtraError without pandas.
        """
        return library("pandas").DataFrame(self._columns())

    def to_polars(self) -> Any:
        """Return the rows with their answers as a polars data frame.

            run.to_polars().write_parquet("labels.parquet")

        Raises MissingExtraError without polars.
        """
        polars, columns = library("polars"), self._columns()
        texts = dict.fromkeys(without_values(columns), polars.String)
        return polars.DataFrame(columns, schema_overrides=texts, strict=False)

    def to_arrow(self) -> Any:
        """Return the rows with their answers as an Arrow table.

            table = run.to_arrow()

        Raises MissingExtraError without pyarrow.
        """
        arrow, columns = library("pyarrow"), self._columns()
        texts = {name: arrow.array(columns[name], arrow.string()) for name in without_values(columns)}
        return arrow.table({name: in_one_type(arrow.array, values) for name, values in columns.items()} | texts)

    def to_dataset(self) -> Any:
        """Return the rows with their answers as a dataset.

            dataset = run.to_dataset()

        Raises MissingExtraError without the library `datasets`.
        """
        return dataset_of(self._columns(), library("datasets"))

    def _columns(self) -> dict[str, list[Any]]:
        return columns_of(list(self.rows()))


def library(name: str) -> Any:
    """Import a library of data frames. Raises MissingExtraError if it is not installed."""
    from importlib import import_module

    try:
        return import_module(name)
    except ImportError:
        raise MissingExtraError(f"{name} is not installed", hint=f"pip install {name}") from None
