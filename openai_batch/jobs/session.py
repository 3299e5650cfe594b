"""What the jobs of one thread share: the workflow over their folder, and the connections that it holds."""

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
    """What the jobs of one thread share: a workflow, opened when it is first asked for, and providers given."""

    def __init__(self, state: Path | None, reporter: Reporter, given: dict[str, Provider]) -> None:
        self.reporter = reporter
        self._state = state
        self._given = given
        self._thread = threading.get_ident()
        self._workflow: Workflow | None = None

    @contextlib.contextmanager
    def work(self) -> Iterator[Workflow]:
        """Have the workflow, over the folder of these jobs. Raises UsageError in another thread."""
        if threading.get_ident() != self._thread:
            raise UsageError("these Jobs belong to another thread", hint="make a Jobs() in each thread")
        with paths.state_at(self._state):
            if self._workflow is None:
                from .store.registry import Registry

                self._workflow = Workflow(Registry(), self.reporter)
            self._workflow.connections.add(self._given)
            yield self._workflow

    def provider(self, named: str | Provider) -> Provider:
        """Return a provider; one that was made by the program is remembered for the jobs that run there."""
        if isinstance(named, str):
            return get_provider_by_name(named)
        self._given[str(named.base_url)] = named
        return named

    def given(self, named: str | Provider | None) -> str | Provider | None:
        """Return what a caller named as the provider; one that was made by the program is remembered."""
        return named if named is None or isinstance(named, str) else self.provider(named)

    def twin(self) -> Session:
        """Return the same for the thread that calls."""
        return Session(self._state, self.reporter, self._given)

    def close(self) -> None:
        """Close the connections; the next use opens new ones."""
        if self._workflow is not None:
            with self.work() as workflow:
                workflow.close()
            self._workflow = None
