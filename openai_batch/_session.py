"""What the jobs of one thread share: the workflow over their folder, and the connections that it holds."""

from __future__ import annotations

import contextlib
import threading
from typing import TYPE_CHECKING

from . import _paths
from ._workflow import Workflow
from .errors import UsageError
from .providers import get_provider_by_name

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

    from ._api import BatchApi
    from ._profile import Provider
    from ._report import Reporter


class Session:
    """What the jobs of one thread share: a workflow, opened when it is first asked for, and providers given."""

    def __init__(self, state: Path | None, reporter: Reporter, given: dict[str, Provider]) -> None:
        self.reporter = reporter
        self._state = state
        self._given = given
        self._thread = threading.get_ident()
        self._flow: Flow | None = None

    @contextlib.contextmanager
    def work(self) -> Iterator[Flow]:
        """Have the workflow, over the folder of these jobs. Raises UsageError in another thread."""
        if threading.get_ident() != self._thread:
            raise UsageError("these Jobs belong to another thread", hint="make a Jobs() in each thread")
        with _paths.state_at(self._state):
            if self._flow is None:
                from ._registry import Registry

                self._flow = Flow(Registry(), self.reporter)
            self._flow.know(self._given)
            yield self._flow

    def provider(self, named: str | Provider) -> Provider:
        """Return a provider; one that was made by the program is remembered for the jobs that run there."""
        if isinstance(named, str):
            return get_provider_by_name(named)
        self._given[str(named.base_url)] = named
        return named

    def twin(self) -> Session:
        """Return the same for the thread that calls."""
        return Session(self._state, self.reporter, self._given)

    def close(self) -> None:
        """Close the connections; the next use opens new ones."""
        if self._flow is not None:
            with self.work() as flow:
                flow.close()
            self._flow = None


class Flow(Workflow):
    """A workflow that can be closed, and that holds one connection a provider however long it lives."""

    def close(self) -> None:
        """Close every connection, and the registry."""
        for api in self._apis.values():
            api.close()
        self.registry.close()

    def know(self, given: Mapping[str, Provider]) -> None:
        """Hold a connection to each of these providers, by its base URL; another thread may have brought them."""
        for url, provider in tuple(given.items()):
            if url not in self._apis:
                self.connect(provider)

    def _new_api(self, provider: Provider) -> BatchApi:
        replaced = self._apis.pop(str(provider.base_url), None)
        if replaced is not None:
            replaced.close()
        return super()._new_api(provider)
