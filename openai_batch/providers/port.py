"""The calls to a provider that everything else uses, whatever protocol the provider speaks.

Adapters implement them: `openai_api` for the Files and Batches APIs of OpenAI, `shards_api` for batches that run from a
shared store. To add another protocol, write an adapter, and choose it in `connect`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, BinaryIO, Protocol

from openai_batch.errors import BatchError, UsageError
from openai_batch.files.atomic import part_file, publish

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping
    from pathlib import Path
    from typing import Any

    from openai_batch.files.slice import FileSlice

    from .attempt import Attempt
    from .batch_info import BatchInfo
    from .provider import Provider


@dataclass(frozen=True, slots=True)
class RemoteFile:
    """A file's record at the provider; a field is None if the provider does not say it."""

    id: str  # such as "file-…"
    size: int | None = None  # in bytes
    created_at: float | None = None  # Unix seconds, by the provider's clock
    filename: str | None = None  # the name it was uploaded under
    expires_at: float | None = None  # when the provider deletes it, by the provider's clock


class OutcomeUnknown(Exception):  # noqa: N818 - not an error yet: a search may find the batch
    """It is unknown whether a batch was created."""


class BatchApi(Protocol):
    """The calls to one provider. Their only state is the connection.

    They raise only the errors of `openai_batch.errors`; `create` may raise OutcomeUnknown too. Six of them make a
    protocol: `upload`, `create`, `get`, `batches`, `cancel` and `download`. The others have a default, or are about
    the connection.
    """

    provider: Provider  # whose calls these are

    def make_ready(self) -> None:
        """Check what can be checked before work is sent, such as the key. Raises AuthError, BatchError."""
        ...

    def again(self) -> BatchApi:
        """Return the same calls with separate connections, for another thread. The key is not read again."""
        ...

    def close(self) -> None:
        """Close the connections, and let the next call read the key again."""
        ...

    def upload(self, stream: BinaryIO | FileSlice, filename: str) -> RemoteFile:
        """Upload a seekable file, and return its record.

        Raises ApiError if the provider has another number of bytes.
        """
        ...

    def create(self, attempt: Attempt) -> BatchInfo:
        """Create a batch, which costs money; send the request once. `create_once` handles the result.

        Raises ApiError, AuthError or NotFoundError if no batch was created, UnreachableError with `sent` False if the
        request was not sent, OutcomeUnknown in all other cases.
        """
        ...

    def keep_running(self, batch_id: str) -> None:  # noqa: ARG002 - most providers need nothing
        """Let an unfinished batch continue. A provider with a server does that itself; others start workers again."""
        return

    def get(self, batch_id: str, *, once: bool = False) -> BatchInfo:
        """Ask for a batch. `once` turns off retries, for callers that ask again themselves. Raises NotFoundError."""
        ...

    def batches(
        self, page_size: int = 100, max_pages: int = 1000, on_cut: Callable[[int], None] | None = None
    ) -> Iterator[BatchInfo]:
        """Yield the account's batches in the provider's order, most often the newest first.

        If the list cannot be read to its end, `on_cut` is called with the number of batches that it showed.
        """
        ...

    def cancel(self, batch_id: str) -> BatchInfo:
        """Ask the provider to cancel a batch. The requests that it has finished are kept and billed."""
        ...

    def file(self, file_id: str) -> RemoteFile:
        """Ask for a file's record."""
        ...

    def download(
        self,
        file_id: str,
        target: BinaryIO,
        progress: Callable[[int, int | None], None] | None = None,
        *,
        check_record: bool = True,
        on_short: Callable[[int, int], None] | None = None,
    ) -> int:
        """Download a file into `target`, which must be seekable, and return the number of bytes.

        `progress` is called with the bytes done, and the bytes in all or None. Raises DownloadError if the number of
        bytes is not the right one; with `check_record`, the file's record counts too. If that alone is different,
        `on_short` may be called with both numbers instead.
        """
        ...

    def download_to(
        self,
        file_id: str,
        path: Path,
        *,
        replace: bool = False,
        progress: Callable[[int, int | None], None] | None = None,
        check_record: bool = True,
    ) -> int:
        """Download a file to `path`, and return the number of bytes. `path` appears when the file is complete.

        Raises DownloadError as `download` does, and OutputExistsError if `path` exists and `replace` is False.
        """
        with part_file(path) as (handle, part):
            count = self.download(file_id, handle, progress, check_record=check_record)
            publish(handle, part, path, replace=replace)
        return count

    def delete_file(self, file_id: str) -> None:
        """Delete a file. Raises NotFoundError if the provider has no such file."""
        ...

    def models(self) -> tuple[list[str], float | None]:
        """Return the names of the models, and the time by the provider's clock if it is known."""
        raise BatchError(f"{self.provider} has no list of models")

    def has_ranges(self, file_id: str) -> bool:  # noqa: ARG002 - for those that have them
        """Return whether a download of this file could continue where it was interrupted."""
        return False

    def respond(self, url: str, body: Mapping[str, Any]) -> tuple[int, bytes]:  # noqa: ARG002 - likewise
        """Send one request outside of a batch, at the full price; return the HTTP status and the body of the answer."""
        raise UsageError(
            f"{self.provider} runs requests in batches only", hint="use a provider that also answers single requests"
        )
