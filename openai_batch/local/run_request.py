"""Run one request of a batch, and make its result line. The server and the workers of a cluster use it."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from .api_objects import Refused
from .result_lines import error_line, response_line
from .server_log import log
from .targets import CallError
from .upstream_retry import final_response

if TYPE_CHECKING:
    from .result_lines import ResultRecord
    from .running_requests import RunningRequests
    from .settings import LocalSettings
    from .upstream import Upstream


async def result_of(
    upstream: Upstream, run: RunningRequests, custom_id: str, body: bytes, settings: LocalSettings
) -> ResultRecord | None:
    """Run one request, and return its result line; None if the batch was stopped or is over, and it has no answer.

    Raises CancelledError if the batch is stopped while the request waits for its turn.
    """
    with run.running():
        try:
            answer = await final_response(upstream, run, body, settings)
        except Refused as exc:
            return response_line(custom_id, exc.status, None, bytes(exc.response().body))
        except CallError as exc:
            late = run.stopped or time.time() >= run.expires_at
            return None if late else error_line(custom_id, exc.code, str(exc))
        except Exception as exc:  # noqa: BLE001 - a defect ends this row, not the others
            log(f"{run.name}, {custom_id}: {exc!r}")
            return error_line(custom_id, "internal_error", f"the request failed: {type(exc).__name__}")
    return response_line(custom_id, answer.status, answer.headers.get("x-request-id"), answer.body)
