"""Every error that a user can expect, each with its exit code and its remedy.

    BatchError                      1    the operation failed; running it again is safe
    ├── UsageError                  2    the call or the options are off (also a ValueError)
    │   └── ConfigError             2    the configuration file is off
    ├── InputError                  3    the input is not acceptable; nothing was sent (also a ValueError)
    ├── AuthError                   4    the key is missing or was refused
    ├── IncompleteError             5    ended, but not every request has a success
    ├── NotFoundError               6    no such job, batch, file or provider
    │   └── UnknownProviderError    6    (also a ValueError, as in 0.3.4)
    ├── UncertainError              7    unknown whether a batch was created; nothing was sent twice
    ├── ApiError                    1    the provider answered with an error
    │   └── UnreachableError        1    the provider could not be reached
    ├── DownloadError               1    what arrived is not the file that the provider holds
    ├── OutputExistsError           1    the output file is there already
    ├── RegistryError               1    the job registry cannot be read or written
    ├── MissingExtraError           2    an optional part is not installed
    ├── WaitTimeoutError          124    the time is up; the job goes on
    └── StoppedError             130    interrupted; the job goes on (143 for SIGTERM)

The class carries the exit code, so the table in the README cannot drift from the program.
A hint says what to type next; it is printed on its own line.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

if TYPE_CHECKING:
    from collections.abc import Sequence

__all__ = [
    "ApiError",
    "AuthError",
    "BatchError",
    "ConfigError",
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


_PASSING = frozenset({408, 409, 425, 429})


class BatchError(Exception):
    """The operation failed; running the same command again is safe."""

    exit_code: ClassVar[int] = 1
    remedy: ClassVar[str] = "run the same command again; nothing is paid twice"
    """The hint where none is given."""

    def __init__(self, message: str, *, hint: str = "") -> None:
        super().__init__(message)
        self.hint = hint or self.remedy

    @property
    def code(self) -> int:
        """The exit code of this very error."""
        return self.exit_code


class UsageError(BatchError, ValueError):
    """The call or the options are off."""

    exit_code = 2
    remedy = "-h shows the options, with examples"


class ConfigError(UsageError):
    """The configuration file is off."""

    remedy = "edit the file; `obatch config path` tells where it is"


class InputError(BatchError, ValueError):
    """The input is not acceptable; nothing was sent.

    `problems` holds what is wrong, line by line, in input order, where the input is a file.
    """

    exit_code = 3
    remedy = "mend the input"

    def __init__(self, message: str, *, hint: str = "", problems: Sequence[Problem] = ()) -> None:
        super().__init__(message, hint=hint)
        self.problems = tuple(problems)


class AuthError(BatchError):
    """The key is missing or was refused."""

    exit_code = 4
    remedy = "`obatch providers` shows which keys are set"


class IncompleteError(BatchError):
    """The job ended, but not every request has a success."""

    exit_code = 5
    remedy = "`obatch download` collects what exists"


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

    `status` is the HTTP status (None where there was no answer), `api_code` the provider's own code.
    """

    def __init__(
        self,
        message: str,
        *,
        hint: str = "",
        status: int | None = None,
        api_code: str | None = None,
        retry_after: float | None = None,
    ) -> None:
        super().__init__(message, hint=hint)
        self.status = status
        self.api_code = api_code
        self.retry_after = retry_after

    @property
    def passes(self) -> bool:
        """Whether the error may pass by itself, so that asking again later is right.

        An answer that is no answer of an API (`status` None), as a gateway or a hotel's login page gives, may pass.
        """
        return self.status is None or self.status in _PASSING or self.status >= 500  # noqa: PLR2004 - HTTP's own


class UnreachableError(ApiError):
    """The provider could not be reached.

    `sent` says whether the request may have reached it: False only where it certainly did not. `lasting` is for
    what no waiting mends, such as a certificate that is not accepted.
    """

    remedy = "look at the network and the base URL; then run the same command again, nothing is paid twice"

    def __init__(self, message: str, *, hint: str = "", sent: bool = True, lasting: bool = False) -> None:
        super().__init__(message, hint=hint)
        self.sent = sent
        self.lasting = lasting

    @property
    def passes(self) -> bool:
        """Whether the line may come back."""
        return not self.lasting


class DownloadError(BatchError):
    """What arrived is not the file that the provider holds."""


class OutputExistsError(BatchError):
    """The output file is there already."""


class RegistryError(BatchError):
    """The job registry cannot be read or written."""


class MissingExtraError(BatchError):
    """An optional part of the package is not installed."""

    exit_code = 2


class WaitTimeoutError(BatchError):
    """The time is up; the job goes on."""

    exit_code = 124


class StoppedError(BatchError):
    """Interrupted by a signal; the job goes on."""

    exit_code = 130

    def __init__(self, message: str, *, hint: str = "", signum: int = 2) -> None:
        super().__init__(message, hint=hint)
        self.signum = signum

    @property
    def code(self) -> int:
        """128 plus the signal's number, as shells have it."""
        return 128 + self.signum


@dataclass(frozen=True, slots=True)
class Problem:
    """What is wrong, where, and what to do about it.

    `code` is the code that batch servers use for the same fault where there is one; `line` is 1-based,
    None for a fault of the whole file; `param` names the key at fault; `file` the file where several were joined.
    """

    line: int | None
    code: str
    message: str
    param: str | None = None
    remedy: str = ""
    warning: bool = False
    file: str | None = None

    def located(self, name: str) -> str:
        """Return `file:line: message: remedy` for the file called `name`."""
        name = self.file or name
        place = f"{name}:{self.line}" if self.line is not None else name
        text = f"{place}: {'warning: ' if self.warning else ''}{self.message}"
        return f"{text}: {self.remedy}" if self.remedy else text
