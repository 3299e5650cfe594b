"""An attempt to create a batch: what is sent, and the marks by which its batch is found."""

from __future__ import annotations

import uuid
from dataclasses import dataclass
from typing import TYPE_CHECKING

from .marks import JOBLESS_TOKEN, MAX_METADATA, has_token

if TYPE_CHECKING:
    from collections.abc import Mapping

    from .batch_info import BatchInfo
    from .marks import Marks


@dataclass(frozen=True, slots=True)
class Attempt:
    """One attempt to create a batch, as the registry has it before the request is sent."""

    file_id: str  # the uploaded input, which no other attempt uses
    endpoint: str  # the path that the requests are for, such as `/v1/chat/completions`
    window: str  # the completion window, such as `24h`
    token: str  # the random id of this attempt, from `new_token`
    at: float  # when the attempt was made, in Unix seconds by this machine's clock
    metadata: Mapping[str, str] | None = None  # the user's own metadata
    marks: Marks | None = None  # the marks of the job's part; None if the batch belongs to no job
    # For how many seconds the provider keeps the files of results; None for its own time.
    output_seconds: int | None = None

    def marked_metadata(self) -> dict[str, str]:
        """Return the metadata to send: our marks, then the user's own.

        A batch without a job has only a token, under another key, and only if there is room for it.
        """
        own = dict(self.metadata or {})
        if self.marks is not None:
            return self.marks.metadata(self.token) | own
        return own if len(own) >= MAX_METADATA else {JOBLESS_TOKEN: self.token} | own

    def made(self, batch: BatchInfo) -> bool:
        """Return whether this attempt created `batch`: it has the attempt's file or its token."""
        return batch.input_file_id == self.file_id or has_token(batch.metadata, self.token)


def new_token() -> str:
    """Return a new random id: 32 hexadecimal digits."""
    return uuid.uuid4().hex
