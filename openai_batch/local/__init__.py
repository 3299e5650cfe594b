"""The local provider: the Batch API on this machine, with the embedded engine or any upstream.

Holds: finding or starting the server (`launch`), the server (`server`, `app`, `api_objects`, `security`), its files and
batches (`store`, `uploads`, `chunked_uploads`, `batches`, `publish`, `partial_results`, `result_lines`), what runs the
requests (`executor`, `running_batch`, `upstream`, `targets`, `queue_length`, `engine`, `engine_requests`, `model`), and
the settings (`settings`). Importing this package does not load the server.

May import: `requests`, `net`, `files`, `openai_batch.errors`. Start reading at `launch.py`, then `app.py` and
`executor.py`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from .launch import Endpoint, check_extras, check_system, ensure_running, running, stop
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
    """Serve until SIGINT or SIGTERM; `on_ready` is called with the address and the token.

    Port 0 means any free port. Raises MissingExtraError if a package is missing, UsageError for a host, a port or a
    token that cannot be used, AuthError without the upstream's key, and BatchError if a server is running already, or
    on Windows.
    """
    check_system()
    check_extras(embedded=not settings.upstream)
    from .server import serve as run

    run(settings, host, port, token, on_ready)
