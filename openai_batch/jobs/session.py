"""What the `Jobs` and `Job` objects of one thread share: a workflow with its registry and connections."""

from __future__ import annotations

import contextlib
import threading
from typing import TYPE_CHECKING

from openai_batch.errors import UsageError
from openai_batch.files import paths
from openai_batch.providers.lookup import get_provider_by_name

from .workflow import Workflow

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from openai_batch.providers.provider import Provider

    from .reporter import Reporter


class Session:
    """A workflow for the objects of one thread, opened at its first use.

    `state` is the folder of the jobs, None for the user's own. `given` are the providers that the program has made, by
    account.
    """

    def __init__(self, state: Path | None, reporter: Reporter, given: dict[str, Provider]) -> None:
        self.reporter = reporter
        self._state = state
        self._given = given
        self._thread = threading.get_ident()
        self._workflow: Workflow | None = None

    @contextlib.contextmanager
    def work(self) -> Iterator[Workflow]:
        """Use the workflow, in the folder of these jobs. Raises UsageError in another thread."""
        if threading.get_ident() != self._thread:
            raise UsageError("these Jobs belong to another thread", hint="make a Jobs() in each thread")
        with paths.state_at(self._state):
            if self._workflow is None:
                from .store.registry import Registry

                self._workflow = Workflow(Registry(), self.reporter)
            self._workflow.connections.add(self._given)
            yield self._workflow

    def provider(self, provider: str | Provider) -> Provider:
        """Return a provider by its name, or remember one that the program has made for the jobs that run there.

        Raises UnknownProviderError.
        """
        if isinstance(provider, str):
            return get_provider_by_name(provider)
        self._given[provider.account] = provider
        return provider

    def given(self, provider: str | Provider | None) -> str | Provider | None:
        """Return the argument; a provider that the program has made is remembered."""
        return provider if provider is None or isinstance(provider, str) else self.provider(provider)

    def twin(self) -> Session:
        """Return a session for the calling thread, with the same folder, reporter and providers."""
        return Session(self._state, self.reporter, self._given)

    def close(self) -> None:
        """Close the connections; the next use opens new ones."""
        if self._workflow is not None:
            with self.work() as workflow:
                workflow.close()
            self._workflow = None
