"""The connections of one workflow: one for each account, made when it is first needed."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING

from openai_batch.errors import BatchError, NotFoundError
from openai_batch.providers.connect import connect
from openai_batch.providers.lookup import get_provider_by_name, known_providers
from openai_batch.providers.provider import Provider

from .store.records import IMPORTED_URL

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from openai_batch.providers.port import BatchApi

    from .store.records import JobRecord


class Connections:
    """Open connections by account.

    `account` turns a `Provider.account` into the account that it stands for (`Registry.account`). `starting` is called
    with the progress of starting the local server.
    """

    def __init__(
        self, account: Callable[[str], str], starting: Callable[[str, int, int | None], None] | None = None
    ) -> None:
        self._account = account
        self._starting = starting
        self._apis: dict[str, BatchApi] = {}
        self._given: dict[str, Provider] = {}
        self._spare: list[Connections] = []  # what no other thread uses now

    def of(self, job: JobRecord) -> BatchApi:
        """Return the connection to a job's account.

        Raises UnknownProviderError if its profile is gone, and NotFoundError if the profile now has another base URL
        or account.
        """
        account = self._account(job.account)
        if account not in self._apis:
            self._apis[account] = self._open(self._given.get(account) or self._profile(job, account))
        return self._apis[account]

    def profile(self, job: JobRecord) -> Provider:
        """Return the profile of a job's provider; if it is gone, one with only the base URL. Nothing is opened."""
        account = self._account(job.account)
        with contextlib.suppress(BatchError):
            return self._given.get(account) or self._profile(job, account)
        return Provider(name=job.provider, base_url=job.base_url)

    def to(self, provider: Provider) -> BatchApi:
        """Return the connection to a provider."""
        account = self._account(provider.account)
        if account not in self._apis:
            self._apis[account] = self._open(provider)
        return self._apis[account]

    def renew(self, provider: Provider) -> BatchApi:
        """Replace the connection to a provider, so that its key is read again, and return the new one."""
        self.drop(provider.account)
        return self.to(provider)

    def drop(self, account: str) -> None:
        """Close the connection to an account, if there is one; the next use opens a new one."""
        self._close_spare()
        api = self._apis.pop(self._account(account), None)
        if api is not None:
            api.close()

    @contextlib.contextmanager
    def lent(self, account: Callable[[str], str]) -> Iterator[Connections]:
        """Give connections to the same accounts to another thread, and keep them for the next one. No key is read."""
        try:
            others = self._spare.pop()
        except IndexError:
            others = Connections(account)
        others._account, others._given = account, self._given
        others._apis |= {name: api.again() for name, api in self._apis.items() if name not in others._apis}
        yield others
        self._spare.append(others)

    def add(self, given: Mapping[str, Provider]) -> None:
        """Use these providers for their accounts. Another thread may have added some since the last call."""
        self._given = {self._account(source): provider for source, provider in tuple(given.items())}

    def close(self) -> None:
        """Close every connection. The registry is not read: it may be the reason why a command ends."""
        self._close_spare()
        for api in self._apis.values():
            api.close()
        self._apis.clear()

    def _close_spare(self) -> None:
        while self._spare:
            self._spare.pop().close()

    def _open(self, provider: Provider) -> BatchApi:
        return connect(provider, starting=self._starting)

    def _profile(self, job: JobRecord, account: str) -> Provider:
        """Return the profile that reaches a job's account: the job's own, or else one that now has another name."""
        profiles = known_providers()
        found = [profile for profile in profiles.values() if self._account(profile.account) == account]
        if found:
            return next((profile for profile in found if profile.name == job.provider), found[0])
        if job.base_url == IMPORTED_URL:
            message = f"job {job.id} was imported: no provider has it"
            raise NotFoundError(
                message, hint=f"import its results again; `obatch retry {job.id} -p NAME` sends the rest"
            )
        own = get_provider_by_name(job.provider)
        # The key of another account must not be sent for this job.
        if not own.is_at(job.base_url):
            raise NotFoundError(
                f"job {job.id} runs at {job.base_url}, and provider {job.provider} is now {own.base_url}",
                hint=f"add a profile for {job.base_url}",
            )
        raise NotFoundError(
            f"job {job.id} was started with another key source or account header than {job.provider} has now",
            hint=f"`obatch recover -p {job.provider}` takes it over if its batches are in this account too",
        )
