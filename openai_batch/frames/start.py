"""`start` and `attach`: a durable run over rows, without waiting for its answers."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from openai_batch.costs.usd import as_usd
from openai_batch.errors import UsageError
from openai_batch.jobs.arguments import check_arguments
from openai_batch.jobs.async_version import async_version
from openai_batch.jobs.input_name import name_of_rows
from openai_batch.jobs.session import Session

from .columns import new_columns
from .options import RowOptions, checked_options
from .progress import BarReporter
from .run import Run
from .schema import AnswerSchema
from .tables import open_rows

if TYPE_CHECKING:
    import os
    from collections.abc import Iterator
    from typing import Unpack

    from openai_batch.inputs.request_spec import RequestSpec
    from openai_batch.jobs.reporter import Reporter
    from openai_batch.providers.provider import Provider

    from .tables import Row

_NAME = "the rows"


def start(
    rows: Any, prompt: str | None = None, *, reporter: Reporter | None = None, **options: Unpack[RowOptions]
) -> Run:
    """Send one request for each row, and return the run without waiting for the answers.

        run = start(frame, "Label this review: {{ text }}", model="gpt-4o-mini", name="labels")

    `rows` is a pandas, polars or Arrow frame or series, a Hugging Face dataset, a list of dicts or texts, or another
    iterable of them, which is read once. `prompt` is a template with the columns of a row; without it the column
    `prompt`, `text` or `messages` is sent, or the only one. RowOptions lists the other `options`. Without `reporter`
    progress goes to the logger `openai_batch`.

    Rows that an earlier run has answered are not sent again, in any order; equal rows are sent once. If an earlier run
    of some of these rows has not ended, this waits for it first.

    Raises InputError with every row that cannot be sent, and nothing is sent; UsageError for options that do not fit,
    and the errors of `Jobs.submit`.
    """
    options = checked_options(options, RowOptions, prompt)
    return start_rows(open_rows(rows, options.get("sample")).rows, prompt, reporter, options)


def start_rows(
    rows: Iterator[Row],
    prompt: str | None,
    reporter: Reporter | None,
    options: RowOptions,
    *,
    embeddings: bool = False,
    prefix: str | None = None,
    timeout: float | None = None,
) -> Run:
    """Start a run over dicts. With `prefix`, none may have a column of that prefix and the name of a new column.

    `timeout` is how many seconds to wait for an earlier run of some of these rows; None: until it ends.
    """
    from openai_batch.files.workspace import workspace
    from openai_batch.inputs.formats import Table
    from openai_batch.jobs.job_spec import SubmitOptions, make_spec
    from openai_batch.jobs.make_requests import requests_of_rows
    from openai_batch.jobs.submit import submit
    from openai_batch.providers.lookup import pick_provider

    schema = None if options.get("schema") is None else AnswerSchema(options["schema"])
    new = new_columns(schema)
    session = Session(options.get("state"), reporter or BarReporter())
    given, name = session.given(options.get("provider")), options.get("name")
    max_cost = options.get("max_cost")
    most = None if max_cost is None else as_usd(max_cost, "max_cost=")
    rows = rows if prefix is None else _checked(rows, {f"{prefix}{name}" for name in new})
    with session.work() as workflow, workspace() as folder:
        request = _request(prompt, options, schema, embeddings=embeddings)
        provider = pick_provider(given, request.model) if given is None or isinstance(given, str) else given
        table = Table(_NAME, "jsonl", enumerate(rows, 1), None)
        skip_empty = options.get("skip_empty", False)
        made = requests_of_rows([table], _NAME, folder, request, provider, skip_empty=skip_empty)
        spec = make_spec(
            made.source,
            folder,
            provider,
            name=name,
            metadata=options.get("metadata"),
            window=options.get("window"),
            output_expires_after=options.get("output_expires_after"),
            input_name=name_of_rows(name),
            columns=made.columns,
            on_warning=session.reporter.note,
        )
        again, remote = options.get("again", False), options.get("check_remote", False)
        how = SubmitOptions(dedup=True, reuse=True, again=again, timeout=timeout, check_remote=remote, max_cost=most)
        row = submit(workflow, spec, folder, how).job
    return Run(session, row, schema)


def _request(prompt: str | None, options: RowOptions, schema: AnswerSchema | None, *, embeddings: bool) -> RequestSpec:
    from openai_batch.inputs.request_spec import RequestSpec

    images = options.get("images") or ()
    return RequestSpec(
        options.get("model") or "",
        endpoint=options.get("endpoint"),
        prompt=prompt,
        system=options.get("system"),
        embeddings=embeddings,
        params=options.get("params") or {},
        schema=None if schema is None else schema.param,
        images=(images,) if isinstance(images, str) else tuple(images),
        id_column=options.get("id"),
    )


def _checked(rows: Iterator[Row], new: set[str]) -> Iterator[Row]:
    """Yield the rows. Raises UsageError if one has a column that will be added."""
    for row in rows:
        if taken := sorted(new & row.keys()):
            raise UsageError(
                f"the rows have {', '.join(map(repr, taken))} already; nothing was sent",
                hint='choose another prefix for the new columns, such as prefix="new_"',
            )
        yield row


def attach(
    name: int | str | None = None,
    *,
    schema: Any = None,
    provider: str | Provider | None = None,
    state: str | os.PathLike[str] | None = None,
    reporter: Reporter | None = None,
) -> Run:
    """Return a run that was started before; `name` is its name, job number or batch id, and None the job used last.

        run = attach("nightly")

    `schema` is needed again for parsed answers; `provider` is asked for a batch that is in no job; `state` and
    `reporter` are as for `start`. Raises NotFoundError if there is none.
    """
    from openai_batch.jobs.recover import find_job

    check_arguments({"name": name if isinstance(name, str) else None})
    session = Session(state, reporter or BarReporter())
    answers = None if schema is None else AnswerSchema(schema)
    with session.work() as workflow:
        row = find_job(workflow, None if name is None else str(name), session.given(provider))
        workflow.registry.touch(row.id)
    return Run(session, row, answers)


start_async = async_version(start)
attach_async = async_version(attach)
