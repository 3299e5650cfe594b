"""The connections of one workflow: one for each provider, made when it is first needed."""

from __future__ import annotations

from typing import TYPE_CHECKING

from openai_batch.errors import NotFoundError
from openai_batch.providers.api import BatchApi
from openai_batch.providers.lookup import get_provider_by_name

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from openai_batch.providers.provider import Provider

    from .store.records import JobRecord


class Connections:
    """Open connections by base URL. `starting` is called with the progress of starting the local server."""

    def __init__(self, starting: Callable[[str, int, int | None], None] | None = None) -> None:
        self._starting = starting
        self._apis: dict[str, BatchApi] = {}

    def of(self, job: JobRecord) -> BatchApi:
        """Return the connection to a job's provider.

        Raises UnknownProviderError if its profile is gone, and NotFoundError if the profile now has another base URL.
        """
        if job.base_url not in self._apis:
            provider = get_provider_by_name(job.provider)
            if not provider.is_at(job.base_url):
                # The batch is still at the old URL, and the profile's key must not be sent there.
                raise NotFoundError(
                    f"job {job.id} runs at {job.base_url}, and provider {job.provider} is now {provider.base_url}",
                    hint=f"give {job.base_url} a profile of its own",
                )
            self._apis[job.base_url] = self._open(provider)
        return self._apis[job.base_url]

    def to(self, provider: Provider) -> BatchApi:
        """Return the connection to a provider."""
        url = str(provider.base_url)
        if url not in self._apis:
            self._apis[url] = self._open(provider)
        return self._apis[url]

    def renew(self, provider: Provider) -> BatchApi:
        """Replace the connection to a provider, so that its key is read again, and return the new one."""
        self.drop(str(provider.base_url))
        return self.to(provider)

    def drop(self, base_url: str) -> None:
        """Close the connection to a base URL, if there is one; the next use opens a new one."""
        api = self._apis.pop(base_url, None)
        if api is not None:
            api.close()

    def add(self, given: Mapping[str, Provider]) -> None:
        """Connect to these providers, by base URL. Another thread may have added some since the last call."""
        for provider in tuple(given.values()):
            self.to(provider)

    def close(self) -> None:
        """Close every connection."""
        for url in tuple(self._apis):
            self.drop(url)

    def _open(self, provider: Provider) -> BatchApi:
        return BatchApi(provider, starting=self._starting)
