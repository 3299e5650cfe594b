"""Our marks: with them a batch is found without the registry, after a kill, or on another machine with the same key.

A batch has them in its metadata. Its uploaded file has them in the name, since some servers drop metadata, or leave it
out of their lists.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

from openai_batch.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Mapping

TOKEN = "obatch_token"  # noqa: S105 - a key of metadata
"""The metadata key of an attempt's token, a random id."""

JOBLESS_TOKEN = "openai_batch_token"  # noqa: S105 - a key of metadata
"""The same for a batch without a job, so that it is never taken for a part of a job."""

JOB = "obatch_job"  # the metadata key of the other marks
OURS = "obatch"  # every metadata key of ours and every name of a file of ours begins with this
MAX_METADATA = 16  # pairs of metadata that a batch may have (OpenAI's API specification)
MAX_OWN_METADATA = MAX_METADATA - len((TOKEN, JOB))  # pairs of metadata that a user may add to them

_TEXT = re.compile(r"([0-9a-f]{32})-([0-9a-f]{32})-p(\d{1,9})of(\d{1,9})(?:-r(\d{1,15})of(\d{1,15}))?", re.ASCII)

_NAME = re.compile(rf"{OURS}-[0-9a-f]{{8}}")
"""What the name of a file of ours contains, even if the provider has put something before it or cut its end."""


@dataclass(frozen=True, slots=True)
class Marks:
    """The content of the marks of a batch."""

    job: str  # the random id of its job: 32 hexadecimal digits
    order: str  # the identity of its job, a hash of what was asked for: 32 hexadecimal digits
    part: int = 1  # the number of its part, from 1
    parts: int = 1  # how many parts the job had when it was sent
    sent: int = 0  # how many of the job's rows are sent; 0 if all are
    rows: int = 0  # how many rows the job has, if some are not sent; else 0

    def __str__(self) -> str:
        """Return the marks as one text, such as `JOB-ORDER-p2of20-r3of5`."""
        rows = f"-r{self.sent}of{self.rows}" if self.rows else ""
        return f"{self.job}-{self.order}-p{self.part}of{self.parts}{rows}"

    def metadata(self, token: str) -> dict[str, str]:
        """Return the metadata of a batch that is created with this token. It comes before the user's own."""
        return {TOKEN: token, JOB: str(self)}

    def filename(self, token: str) -> str:
        """Return the name under which a part's file is uploaded; the token makes it unique."""
        return f"{OURS}-{self}-{token}.jsonl"


def is_ours(metadata: Mapping[str, str], filename: str | None = None) -> bool:
    """Return whether a batch with this metadata, or with an input file of this name, was created by this program."""
    return (
        any(map(_is_own_key, metadata))
        or read_marks(metadata, filename) is not None
        or _NAME.search((filename or "").lower()) is not None
    )


def read_marks(metadata: Mapping[str, str], filename: str | None = None) -> Marks | None:
    """Return the marks in a batch's metadata, else those in the name of its file; None if there are none.

    Some servers change keys and the letter case, so every value is searched.
    """
    for text in (*metadata.values(), filename or ""):
        if found := _TEXT.search(text.lower()):
            return Marks(found[1], found[2], *(int(number or 0) for number in found.groups()[2:]))
    return None


def has_token(metadata: Mapping[str, str], token: str) -> bool:
    """Return whether a batch's metadata has the token of an attempt, under any key."""
    return any(value.lower() == token for value in metadata.values())


def token_of(metadata: Mapping[str, str]) -> str | None:
    """Return the token in a batch's metadata, or None."""
    return next((value.lower() for key, value in metadata.items() if _plain(key) == TOKEN), None)


def own_metadata(metadata: Mapping[str, str]) -> dict[str, str]:
    """Return the user's own part of a batch's metadata."""
    return {
        key: value
        for key, value in metadata.items()
        if not _is_own_key(key) and key != JOBLESS_TOKEN and not _TEXT.search(value.lower())
    }


def _is_own_key(key: str) -> bool:
    return _plain(key).startswith(f"{OURS}_")


def _plain(key: str) -> str:
    """Return a key of metadata as we wrote it: some servers change its letter case or its underscores."""
    return key.lower().replace("-", "_")


def check_metadata(metadata: Mapping[str, str]) -> None:
    """Raise UsageError if a user's metadata leaves no room for our marks, uses their names, or is not text."""
    if len(metadata) > MAX_OWN_METADATA:
        raise UsageError(
            f"{len(metadata)} pairs of metadata: a batch may have {MAX_METADATA}, and obatch needs"
            f" {MAX_METADATA - MAX_OWN_METADATA} of them to find it again",
            hint=f"give at most {MAX_OWN_METADATA}",
        )
    for key, value in metadata.items():
        if not isinstance(key, str) or not isinstance(value, str):
            raise UsageError(f"metadata {key!r} is {value!r}: keys and values are texts", hint="give texts")
        if any("\ud800" <= char <= "\udfff" for char in key + value):
            raise UsageError(f"metadata {key!r} holds half of a surrogate pair, which is not a character")
        if _is_own_key(key):
            raise UsageError(f"metadata keys that begin with {OURS}_ are obatch's own: {key}", hint="use another key")
