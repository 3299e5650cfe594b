"""`Jobs`: the durable workflow of `obatch` for programs. The same input is the same job.

    with Jobs() as jobs:
        job = jobs.submit("input.jsonl").wait()
        for result in job.results():
            ...

A program that was killed continues when it is run again: nothing is sent or paid twice. `obatch ls` shows the same
jobs, and the command and programs can continue each other's jobs.
"""

from __future__ import annotations

import os
from collections.abc import Iterable
from typing import TYPE_CHECKING, Self

from openai_batch.costs.usd import as_usd
from openai_batch.errors import UsageError
from openai_batch.files.atomic import as_file, as_path
from openai_batch.providers.lookup import askable_providers, get_provider_by_name
from openai_batch.providers.provider import Provider
from openai_batch.requests.from_python import open_input

from .arguments import check_arguments
from .async_version import async_version
from .input_name import name_of_input, name_of_rows
from .job import Job
from .job_spec import SubmitOptions, make_spec
from .session import Session

if TYPE_CHECKING:
    from collections.abc import Mapping
    from decimal import Decimal

    from openai_batch.costs.estimate import Estimate
    from openai_batch.requests.from_python import JobInput

    from .receipt import Spending
    from .reporter import Reporter
    from .sample import Sample


class Jobs:
    """The jobs of this user on this machine, the same ones that `obatch ls` shows.

    `state` is another folder for the registry, the files of jobs and the local provider's server, like
    `OBATCH_STATE_DIR` for the command. The methods of `reporter` are called to report progress; the default one writes
    to the logger `openai_batch`. Several threads and event loops can use the object; each thread has its own
    connections. Use it as a context manager, `with` or `async with`, or call `close` to close them early. Each method
    but `list` and `close` has an async version with the suffix `_async`. Every method may raise RegistryError.
    """

    def __init__(self, state: str | os.PathLike[str] | None = None, *, reporter: Reporter | None = None) -> None:
        self._session = Session(state, reporter)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Close the connections.

            jobs.close()

        The jobs keep running, and the object can be used again.
        """
        self._session.close()

    def submit(
        self,
        input: JobInput,  # noqa: A002 - its name everywhere
        *,
        provider: str | Provider | None = None,
        name: str | None = None,
        metadata: Mapping[str, str] | None = None,
        window: str | None = None,
        output_expires_after: str | None = None,
        output: str | os.PathLike[str] | None = None,
        dedup: bool = False,
        reuse: bool = False,
        again: bool = False,
        resubmit_uncertain: bool = False,
        check_remote: bool = False,
        max_cost: float | Decimal | None = None,
    ) -> Job:
        """Check the whole input and start its job, or continue the job that the same input started before.

            job = jobs.submit("input.jsonl", name="weekly")

        `input` is a batch file (a path, or an address such as "s3://bucket/input.jsonl"), a list of several, which
        become one job, or requests: each a dict with `custom_id`,
        `url` and `body`, or the parameters of a call (`model=…, messages=…`). Requests without an id get
        line-1, line-2, … by their place. Without `provider` the default provider is used, else the one that
        serves the first model. `name` is another way to refer to the job; a later job of the same file, or of
        requests given under the same name, takes over the name; `metadata` is added to each batch; `window` is the
        completion window, such as "24h" (None: the provider's own); `output_expires_after` is how long the provider
        keeps the results, from "1h" to "30d" (None: what the profile says). `output` is the path that the results will
        be downloaded to: if a file exists there, this is an error before anything is paid.

        `dedup` sends identical requests once. `reuse` sends only the rows that no earlier job of the same file has
        answered, also if the file has grown or changed since (for a list: no earlier job of a list); it waits for an
        earlier job that still runs. `again` starts a new job in any case. `resubmit_uncertain` sends a part again if it
        is unknown whether its batch was created; it may be paid twice. `check_remote` first looks for batches that
        another machine has started from the same input; without it, this is done once for each account. `max_cost` is
        the most that the job may cost, in US dollars, its retries included.

        Raises InputError with every problem, and nothing is sent; CostError if it can cost more than `max_cost`, or if
        its cost is unknown; UnknownProviderError; AuthError without a key; ApiError if the provider refuses the job;
        UncertainError if it is unknown whether a batch was created; OutputExistsError if `output` exists; RegistryError
        if another job has the name.
        """
        check_arguments(locals())
        from openai_batch.files.workspace import workspace

        from .output_file import check_ending
        from .submit import submit as submit_job

        target = None if output is None else as_file(output)
        if target is not None:
            check_ending(target)
        with self._session.work() as workflow, workspace() as folder:
            source = open_input(input, folder)
            named = source.address or source.origin
            spec = make_spec(
                source,
                folder,
                self._session.given(provider),
                name=name,
                metadata=metadata,
                window=window,
                input_name=name_of_rows(name) if named is None else name_of_input([str(named)]),
                output_expires_after=output_expires_after,
                dedup=dedup or None,
                on_warning=self._session.reporter.note,
            )
            options = SubmitOptions(
                dedup=dedup,
                reuse=reuse,
                again=again,
                output=target,
                resubmit_uncertain=resubmit_uncertain,
                check_remote=check_remote,
                max_cost=None if max_cost is None else as_usd(max_cost, "max_cost="),
            )
            row = submit_job(workflow, spec, folder, options).job
        return Job(self._session, row)

    submit_async = async_version(submit)

    def estimate(
        self,
        input: JobInput,  # noqa: A002 - its name everywhere
        *,
        provider: str | Provider | None = None,
        dedup: bool = False,
    ) -> Estimate:
        """Check the whole input, and return what it can cost; nothing is sent.

            print(jobs.estimate("input.jsonl").at_most)

        The arguments are those of `submit`. Answers of earlier jobs are not taken into account. Raises InputError with
        every problem, and UnknownProviderError.
        """
        check_arguments(locals())
        from openai_batch.files.workspace import workspace

        from .dry_run import cost_of_input

        with self._session.work() as workflow, workspace() as folder:
            source = open_input(input, folder)
            spec = make_spec(source, folder, self._session.given(provider), on_warning=self._session.reporter.note)
            return cost_of_input(workflow, spec, folder, dedup=dedup)

    estimate_async = async_version(estimate)

    def sample(
        self,
        input: JobInput,  # noqa: A002 - its name everywhere
        count: int = 5,
        *,
        provider: str | Provider | None = None,
        dedup: bool = False,
    ) -> Sample:
        """Send the first `count` requests at once, outside of a batch and at the full price, and return the answers.

            for row in jobs.sample("input.jsonl", 2).rows: print(row.prompt, row.result.text)

        The other arguments are those of `submit`. Nothing is recorded: a job of the same input sends and pays these
        requests again. A request that fails is a result. Raises InputError with every problem, and nothing is sent;
        UnknownProviderError; AuthError if the key is missing or refused; ApiError if the first request gets no answer.
        """
        check_arguments(locals())
        from openai_batch.files.workspace import workspace

        from .sample import sample

        with self._session.work() as workflow, workspace() as folder:
            source = open_input(input, folder)
            spec = make_spec(source, folder, self._session.given(provider), on_warning=self._session.reporter.note)
            return sample(workflow, spec, folder, count, dedup=dedup)

    sample_async = async_version(sample)

    def spending(self) -> list[Spending]:
        """Return what the jobs have cost by month, provider and model, the latest month first.

            total = sum(row.cost.amount or 0 for row in jobs.spending())

        This includes the jobs of this machine whose results were read, except removed ones. No provider is asked.
        """
        from .receipt import spending

        with self._session.work() as workflow:
            return spending(workflow.registry.jobs(None))

    spending_async = async_version(spending)

    def get(self, reference: int | str | None = None, *, provider: str | Provider | None = None) -> Job:
        """Return a job; `reference` is its number, its name or a batch id, and None is the job used last.

            job = jobs.get("nightly")

        A batch that is in no job becomes a new job: it is looked for at `provider`, or, if the id begins with `batch`,
        at every provider whose key is set. Raises NotFoundError if there is no such job or batch, or if it is at
        another provider.
        """
        from .recover import find_job

        check_arguments({"reference": reference if isinstance(reference, str) else None})
        with self._session.work() as workflow:
            text = None if reference is None else str(reference)
            row = find_job(workflow, text, self._session.given(provider))
            workflow.registry.touch(row.id)
        return Job(self._session, row)

    get_async = async_version(get)

    def recover(self, provider: str | Provider | None = None) -> list[Job]:
        """Find our batches that this machine does not know, add them, and return the jobs that changed.

            found = jobs.recover()

        This helps after the registry was lost, or on another machine with the same key. A second call changes nothing.
        Without `provider` every provider whose key is set is asked. Raises AuthError if there is none.
        """
        from .recover import recover

        with self._session.work() as workflow:
            asked = [self._session.provider(provider)] if provider else askable_providers()
            return [Job(self._session, row) for row in recover(workflow, asked)]

    recover_async = async_version(recover)

    def import_results(
        self,
        results: str | os.PathLike[str] | Iterable[str | os.PathLike[str]],
        input: JobInput,  # noqa: A002 - its name everywhere
        *,
        name: str | None = None,
        answer: str = "answer",
    ) -> Job:
        """Make a job of results that were made elsewhere, such as by `vllm run-batch` or Ray Data. Nothing is sent.

            job = jobs.import_results("output.jsonl", "input.jsonl")

        `results` is a file, a folder of files, or several: lines like OpenAI's, or tables with the columns `custom_id`
        and `response`, `body` or `answer`; `answer` is another name of the last one. `input` is what they answer, as
        for `submit`, and `name` another way to refer to the job. Of several results for a request the best one counts.
        More results of the same input are added to the same job.

        Raises InputError if the input is not valid, or if none of the results is for it.
        """
        check_arguments({"name": name})
        if not isinstance(results, str | os.PathLike | Iterable) or isinstance(results, bytes):
            raise UsageError(f"results= is {results!r}", hint="give the path of a file, or a list of paths")
        from openai_batch.files.workspace import workspace

        from .import_results import import_results

        paths = [results] if isinstance(results, str | os.PathLike) else results
        with self._session.work() as workflow, workspace() as folder:
            source = open_input(input, folder)
            named = name_of_rows(name) if source.origin is None else name_of_input([str(source.origin)])
            files = [str(as_path(path)) for path in paths]
            row = import_results(workflow, files, source, folder, input_name=named, name=name, answer=answer)
        return Job(self._session, row)

    import_results_async = async_version(import_results)

    def list(self, limit: int | None = None, *, provider: str | Provider | None = None) -> list[Job]:
        """Return the jobs as last seen, the newest first, at most `limit` of them (None: all).

            running = [job for job in jobs.list() if not job.ended]

        With `provider`, those of this one. No provider is asked. Raises UnknownProviderError if there is no provider of
        that name, and no job of it.
        """
        check_arguments(locals())
        name = provider.name if isinstance(provider, Provider) else provider
        with self._session.work() as workflow:
            if isinstance(provider, str) and not workflow.registry.count(name):
                get_provider_by_name(provider)
            return [Job(self._session, row) for row in workflow.registry.jobs(limit, name)]
