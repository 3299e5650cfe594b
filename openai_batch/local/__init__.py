"""The local provider: the Batch API on this machine, in front of an engine or of any upstream.

`ensure_running` finds the server or starts it, `serve` runs it in the foreground. Importing this loads none of it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from .launch import Endpoint, check_extras, ensure_running, running, stop
from .settings import LocalSettings

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["Endpoint", "LocalSettings", "ensure_running", "running", "serve", "stop"]


def serve(
    settings: LocalSettings,
    host: str = "127.0.0.1",
    port: int = 0,
    token: str | None = None,
    on_ready: Callable[[Endpoint], None] | None = None,
) -> None:
    """Serve until SIGINT or SIGTERM; `on_ready` hears the address and the token.

    Port 0 means any free port. Raises MissingExtraError, UsageError, AuthError or BatchError.
    """
    check_extras(settings)
    from .server import serve as run

    run(settings, host, port, token, on_ready)
