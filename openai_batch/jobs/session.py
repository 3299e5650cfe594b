"""What `Jobs` and `Job` objects share: for each thread, a workflow with its registry and connections."""

from __future__ import annotations

import contextlib
import threading
import weakref
from typing import TYPE_CHECKING, Any

from openai_batch.files import paths
from openai_batch.files.atomic import as_path
from openai_batch.providers.check_profile import check_profile
from openai_batch.providers.lookup import get_provider_by_name

from .arguments import check_arguments
from .python_hints import hints_for_programs
from .workflow import Workflow

if TYPE_CHECKING:
    import os
    from collections.abc import Iterator

    from openai_batch.providers.provider import Provider

    from .reporter import Reporter


class Session:
    """A workflow for each thread that uses it, opened at its first use.

    `state` is the folder of the jobs, None for the user's own. Without `reporter` progress goes to `logging`. A
    workflow that was not closed is closed when the thread ends, or when the session is no longer used.
    """

    def __init__(self, state: str | os.PathLike[str] | None, reporter: Reporter | None) -> None:
        check_arguments({"state": state, "reporter": reporter})
        if reporter is None:
            from .logging_reporter import LoggingReporter

            reporter = LoggingReporter()
        self.reporter: Reporter = reporter
        self._state = None if state is None else as_path(state).absolute()
        self._given: dict[str, Provider] = {}  # the providers that the program has made, by account
        self._here = threading.local()
        self._open: weakref.WeakSet[_Owned] = weakref.WeakSet()

    def __getstate__(self) -> dict[str, Any]:
        """Return what another process gets: it opens connections of its own."""
        return {"reporter": self.reporter, "_state": self._state, "_given": self._given}

    def __setstate__(self, kept: dict[str, Any]) -> None:
        vars(self).update(kept, _here=threading.local(), _open=weakref.WeakSet())

    @contextlib.contextmanager
    def work(self) -> Iterator[Workflow]:
        """Use this thread's workflow, in the folder of these jobs. Hints of errors are worded for programs."""
        with paths.state_at(self._state), hints_for_programs():
            owned: _Owned | None = getattr(self._here, "owned", None)
            if owned is None or owned.closed:
                from .store.registry import Registry

                owned = self._here.owned = _Owned(Workflow(Registry(), self.reporter))
                self._open.add(owned)
            owned.workflow.connections.add(self._given)
            yield owned.workflow

    def provider(self, provider: str | Provider) -> Provider:
        """Return a provider by its name, or remember one that the program has made for the jobs that run there.

        Raises UnknownProviderError.
        """
        check_arguments({"provider": provider})
        if isinstance(provider, str):
            return get_provider_by_name(provider)
        check_profile(provider)
        provider = provider.placed()
        self._given[provider.account] = provider
        return provider

    def given(self, provider: str | Provider | None) -> str | Provider | None:
        """Return the argument; a provider that the program has made is remembered."""
        return provider if provider is None or isinstance(provider, str) else self.provider(provider)

    def close(self) -> None:
        """Close the connections of all threads; the next use opens new ones."""
        for owned in list(self._open):
            owned.close()


class _Owned:
    """A thread's workflow, which is closed with the thread."""

    def __init__(self, workflow: Workflow) -> None:
        self.workflow = workflow
        self.closed = False

    def close(self) -> None:
        self.closed = True
        self.workflow.close()

    def __del__(self) -> None:
        with contextlib.suppress(Exception):  # at the end of the program anything may be gone
            self.close()
