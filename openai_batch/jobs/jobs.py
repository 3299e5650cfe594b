"""Jobs from Python: the durable workflow of the command, where the same input is the same job.

    with Jobs() as jobs:
        job = jobs.submit("input.jsonl").wait()
        for result in job.results():
            ...

A program that was killed at any moment goes on when it is run again: nothing is sent or paid twice. Jobs are
those of `obatch ls`, and either way of working takes over from the other.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Self, TypeVar

from openai_batch.files.atomic import as_path
from openai_batch.providers.lookup import askable_providers
from openai_batch.requests.from_python import open_input

from .async_methods import async_method
from .job import Job
from .job_spec import make_spec
from .reporter import Reporter
from .session import Session

if TYPE_CHECKING:
    import os
    from collections.abc import Callable, Mapping

    from openai_batch.providers.lookup import Provider
    from openai_batch.requests.from_python import JobInput


_T = TypeVar("_T")


class Jobs:
    """The jobs of this user on this machine, the same ones that `obatch ls` shows.

    `state` keeps them in another folder instead: the registry, the files of jobs and the local provider's server, as
    `OBATCH_STATE_DIR` does for the command. `reporter` hears what is being done, in the thread that does it; the
    default one is silent. Use it as a context manager, or `close` it. One object belongs to one thread; others make
    their own, and see the same jobs.
    """

    def __init__(self, state: str | os.PathLike[str] | None = None, *, reporter: Reporter | None = None) -> None:
        folder = None if state is None else as_path(state).absolute()
        self._session = Session(folder, reporter or Reporter(), {})

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Close the connections; the jobs go on, and using the object again opens new ones."""
        self._session.close()

    def submit(
        self,
        input: JobInput,  # noqa: A002 - its name everywhere
        *,
        provider: str | Provider | None = None,
        name: str | None = None,
        metadata: Mapping[str, str] | None = None,
        window: str | None = None,
        dedup: bool = False,
        reuse: bool = False,
        again: bool = False,
        resubmit_uncertain: bool = False,
    ) -> Job:
        """Check the input whole, and start its job; or go on with the job that the same input started before.

        `input` is a batch file, a list of several, which are one job, or requests: each a dict with `custom_id`, `url`
        and `body`, or the parameters of a call (`model=…, messages=…`). Requests without an id are called line-1,
        line-2, … by their place. Without `provider` the default one is taken, else the one that serves the first
        model. `dedup` sends identical requests once; `reuse` sends only what no earlier job of the same file, grown
        or changed since, has answered, and waits for one that runs. `again` starts a new job in any case;
        `resubmit_uncertain` sends once more what may have been created before (and may be paid twice).

        Raises InputError with every problem, and nothing is sent; AuthError without a key; what the provider refuses
        with; UncertainError where it is unknown whether a batch was created.
        """
        from openai_batch.files.workspace import workspace

        from .submit import SubmitOptions
        from .submit import submit as submit_job

        with self._session.work() as workflow, workspace() as folder:
            order = make_spec(
                open_input(input, folder),
                folder,
                self._session.given(provider),
                name=name,
                metadata=metadata,
                window=window,
                dedup=dedup or None,
                on_warning=self._session.reporter.note,
            )
            options = SubmitOptions(dedup=dedup, reuse=reuse, again=again, resubmit_uncertain=resubmit_uncertain)
            row = submit_job(workflow, order, folder, options).job
        return Job(self._session, row)

    submit_async = async_method(submit)

    def get(self, reference: int | str | None = None, *, provider: str | Provider | None = None) -> Job:
        """Return a job by its number, its name or a batch id; the latest one for None.

        A batch that was made elsewhere becomes a job: it is looked for at `provider`, or for an id that begins with
        `batch` at every provider whose key is set. Raises NotFoundError.
        """
        from .recover import find_job

        with self._session.work() as workflow:
            known = None if reference is None else str(reference)
            row = find_job(workflow, known, self._session.given(provider))
        return Job(self._session, row)

    get_async = async_method(get)

    def recover(self, provider: str | Provider | None = None) -> list[Job]:
        """Take in the batches of ours that this machine does not know, and return the jobs that changed.

        For a lost registry, or another machine with the same key; done twice it changes nothing. Without `provider`
        every one with a key is asked. Raises AuthError if there is none.
        """
        from .recover import recover

        with self._session.work() as workflow:
            asked = [self._session.provider(provider)] if provider else askable_providers()
            return [Job(self._session, row) for row in recover(workflow, asked)]

    recover_async = async_method(recover)

    def list(self, limit: int | None = None, *, provider: str | None = None) -> list[Job]:
        """Return the jobs as last seen, the newest first, at most `limit` of them; nobody is asked."""
        with self._session.work() as workflow:
            return [Job(self._session, row) for row in workflow.registry.jobs(limit, provider)]

    def _apart(self, act: Callable[[Self], _T]) -> _T:
        """Do something in the thread that calls, with connections of its own; its jobs become ours."""
        with type(self)() as other:
            other._session = self._session.twin()  # noqa: SLF001 - one of us
            found = act(other)
        for job in found if isinstance(found, list) else [found]:
            if isinstance(job, Job):
                job._session = self._session  # noqa: SLF001 - one of ours
        return found
