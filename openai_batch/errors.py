"""The errors that a user can expect, each with its exit code and a hint.

    BatchError                      1    the operation failed; running it again is safe
    ├── UsageError                  2    the call or the options are wrong (also a ValueError)
    │   └── ConfigError             2    the configuration file is wrong
    ├── InputError                  3    the input cannot be used; nothing was sent (also a ValueError)
    ├── CostError                   3    it can cost more than allowed; nothing was sent
    ├── AuthError                   4    the key is missing or was refused
    ├── IncompleteError             5    ended, but not every request succeeded
    ├── NotFoundError               6    no such job, batch, file or provider
    │   └── UnknownProviderError    6    (also a ValueError, as in 0.3.4)
    ├── UncertainError              7    unknown whether a batch was created; nothing was sent twice
    ├── ApiError                    1    the provider answered with an error
    │   └── UnreachableError        1    the provider could not be reached
    ├── DownloadError               1    a file did not arrive as the provider stores it
    ├── OutputExistsError           1    the output file exists already
    ├── RegistryError               1    the job registry cannot be read or written
    ├── MissingExtraError           2    an optional part is not installed
    ├── WaitTimeoutError          124    the timeout has passed; the job keeps running
    └── StoppedError             130    interrupted; the job keeps running (143 for SIGTERM)

Each class has its exit code, and a test compares the table of `obatch help exit-codes` with them. `hint` says what to
do next; the command prints it on its own line.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from .escapes import escape_newlines

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

__all__ = [
    "ApiError",
    "AuthError",
    "BatchError",
    "ConfigError",
    "CostError",
    "DownloadError",
    "IncompleteError",
    "InputError",
    "MissingExtraError",
    "NotFoundError",
    "OutputExistsError",
    "RegistryError",
    "StoppedError",
    "UncertainError",
    "UnknownProviderError",
    "UnreachableError",
    "UsageError",
    "WaitTimeoutError",
]


def did_you_mean(word: str, known: Iterable[str], *, likeness: float = 0.6) -> str:
    """Return a question with the known word that is most similar to `word`; an empty text if none is similar enough."""
    from difflib import get_close_matches

    return "".join(f"did you mean {near}?" for near in get_close_matches(word, list(known), 1, likeness))


_VERBS = {"was": "were", "has": "have", "is": "are"}


def count_text(count: int, noun: str, verb: str = "") -> str:
    """Return a number with a noun, and a verb if given: `1 request was`, `2,000 requests were`, `3 batches`."""
    if count != 1:
        noun = f"{noun}es" if noun.endswith(("ch", "sh", "s", "x")) else f"{noun}s"
        verb = _VERBS.get(verb, verb.removesuffix("s"))
    return f"{count:,} {noun} {verb}".rstrip()


PASSING = frozenset({408, 409, 425, 429})
"""HTTP client errors that may be temporary."""


class BatchError(Exception):
    """The operation failed; running the same command again is safe.

    `hint` says what to do next. `message` is the first line, and `details` are the lines below it, if there are any.
    They may quote servers, models and files, so control characters and newlines in them are escaped.
    """

    exit_code: ClassVar[int] = 1
    remedy: ClassVar[str] = "run the same command again; nothing is paid twice"
    """The hint of errors that are raised without one."""

    def __init__(self, message: str, *, hint: str = "", details: Sequence[str] = ()) -> None:
        self.message: str = escape_newlines(message)
        self.details: tuple[str, ...] = tuple(map(escape_newlines, details))
        self.hint: str = escape_newlines(hint or self.remedy)
        super().__init__(self.message)

    def __str__(self) -> str:
        """Return the message and the details, each on its line."""
        return "\n".join([self.message, *self.details])

    @property
    def code(self) -> int:
        """The exit code of this error; it may not depend on its class only."""
        return self.exit_code


class UsageError(BatchError, ValueError):
    """The call or the options are wrong."""

    exit_code = 2
    remedy = "-h shows the options, with examples"


class ConfigError(UsageError):
    """The configuration file is wrong."""

    remedy = "edit the file; `obatch config path` tells where it is"


class InputError(BatchError, ValueError):
    """The input cannot be used; nothing was sent.

    `problems` are the problems that were found in the lines of a file, in input order.
    """

    exit_code = 3
    remedy = "fix the input"

    def __init__(
        self, message: str, *, hint: str = "", details: Sequence[str] = (), problems: Sequence[Problem] = ()
    ) -> None:
        super().__init__(message, hint=hint, details=details)
        self.problems: tuple[Problem, ...] = tuple(problems)


class CostError(BatchError):
    """It can cost more than is allowed, or it is unknown what it can cost; nothing was sent."""

    exit_code = 3
    remedy = "allow a higher cost, or send fewer requests"


class AuthError(BatchError):
    """The key is missing or was refused."""

    exit_code = 4
    remedy = "`obatch providers` shows which keys are set"


class IncompleteError(BatchError):
    """The job ended, but not every request succeeded.

    `outcomes` says how many requests ended in each way (success, refused, cut, error, missing), in a dict; it is empty
    if the results were not read.
    """

    exit_code = 5
    remedy = "`obatch download` collects what exists"

    def __init__(
        self, message: str, *, hint: str = "", details: Sequence[str] = (), outcomes: Mapping[str, int] | None = None
    ) -> None:
        super().__init__(message, hint=hint, details=details)
        self.outcomes: dict[str, int] = dict(outcomes or {})


class NotFoundError(BatchError):
    """There is no such job, batch, file or provider."""

    exit_code = 6
    remedy = "`obatch ls` shows the jobs, `obatch providers` the providers"


class UnknownProviderError(NotFoundError, ValueError):
    """There is no such provider."""


class UncertainError(BatchError):
    """It is unknown whether a batch was created; nothing was sent twice."""

    exit_code = 7


class ApiError(BatchError):
    """The provider answered with an error.

    `status` is the HTTP status (None if there was no valid answer), `api_code` the provider's own code for the error,
    and `retry_after` the seconds after which the provider asks to try again; each may be None. `lasting` says that
    waiting does not help, for example if the account has no credit, or a certificate is not accepted.
    """

    def __init__(
        self,
        message: str,
        *,
        hint: str = "",
        status: int | None = None,
        api_code: str | None = None,
        retry_after: float | None = None,
        lasting: bool = False,
    ) -> None:
        super().__init__(message, hint=hint)
        self.status = status
        self.lasting = lasting
        self.api_code = api_code
        self.retry_after = retry_after

    @property
    def passes(self) -> bool:
        """Whether the error may be temporary, so that trying again later can help.

        An answer that is not from an API (`status` None) may be temporary: it may come from a gateway or a login page.
        """
        if self.lasting:
            return False
        return self.status is None or self.status in PASSING or self.status >= 500  # noqa: PLR2004 - HTTP's own


class UnreachableError(ApiError):
    """The provider could not be reached.

    `sent` says whether the request may have reached it: False only if it certainly did not.
    """

    remedy = "check the network and the provider's base URL"

    def __init__(self, message: str, *, hint: str = "", sent: bool = True, lasting: bool = False) -> None:
        super().__init__(message, hint=hint, lasting=lasting)
        self.sent = sent


class DownloadError(BatchError):
    """A file did not arrive as the provider stores it."""


class OutputExistsError(BatchError):
    """The output file exists already."""


class RegistryError(BatchError):
    """The job registry cannot be read or written."""


class MissingExtraError(BatchError):
    """An optional part of the package is not installed."""

    exit_code = 2


class WaitTimeoutError(BatchError):
    """The timeout has passed; the job keeps running."""

    exit_code = 124


class StoppedError(BatchError):
    """Interrupted by a signal, whose number is `signum`; the job keeps running."""

    exit_code = 130

    def __init__(self, message: str, *, hint: str = "", signum: int = 2) -> None:
        super().__init__(message, hint=hint)
        self.signum = signum

    @property
    def code(self) -> int:
        """128 plus the signal's number, as in shells."""
        return 128 + self.signum


@dataclass(frozen=True, slots=True)
class Problem:
    """A problem in an input file, and what to do about it."""

    line: int | None  # the number of the line, from 1; None for a problem of the whole file
    code: str  # the code that batch servers use for the same problem, if there is one
    message: str  # what is wrong
    param: str | None = None  # the key in the request that is wrong
    remedy: str = ""  # what to do about it
    warning: bool = False  # whether the file can be sent anyway
    file: str | None = None  # the name of the file, if several files are one input

    def located(self, name: str) -> str:
        """Return `file:line: message: remedy`. `name` is the name of the file if `file` is None."""
        name = self.file or name
        place = f"{name}:{self.line}" if self.line is not None else name
        text = f"{place}: {'warning: ' if self.warning else ''}{self.message}"
        return f"{text}: {self.remedy}" if self.remedy else text
