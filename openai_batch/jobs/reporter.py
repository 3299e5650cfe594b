"""How the library tells what it is doing: it never prints, it calls these methods, which do nothing here."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from .store.records import JobRecord


class Reporter:
    """Silent. The command line has reporters for terminals and for logs; write your own for anything else."""

    def note(self, text: str) -> None:
        """Hear one remark, on one line."""

    def warn(self, text: str) -> None:
        """Hear one remark that the user should act on."""

    def progress(self, what: str, done: int, total: int | None) -> None:
        """Hear that `done` of `total` bytes (None: unknown) are through; `what` names the transfer."""

    def polled(self, job: JobRecord) -> None:
        """Hear how a job stands, each time that the provider was asked."""
