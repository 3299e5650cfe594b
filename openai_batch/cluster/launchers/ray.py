"""Start the workers through the Jobs API of a Ray cluster. Ray itself is not needed on this machine.

The API takes a `submission_id`, and refuses a second job with the same one. So a lost answer is settled by asking for
that id: it is there, or the job may be sent again.
"""

from __future__ import annotations

import contextlib
import http.client
import json
import shlex
import urllib.error
import urllib.request
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import msgspec

from openai_batch.errors import ApiError, AuthError, BatchError, NotFoundError, UnreachableError
from openai_batch.net.hosts import is_loopback

from .launcher import State, worker_options

if TYPE_CHECKING:
    from openai_batch.cluster.batches import Start
    from openai_batch.cluster.settings import ShardSettings

_SECONDS = 30.0
_MOST_BYTES = 1 << 20
_ENDED = frozenset({"STOPPED", "SUCCEEDED", "FAILED"})


class RayLauncher:
    """Submits one Ray job for each start; its driver runs a Ray task for each worker."""

    def __init__(self, settings: ShardSettings, token: str | None) -> None:
        self._settings = settings
        self._token = token

    def check(self) -> None:
        """Ask the API for its version. Raises BatchError."""
        self._call("GET", "/api/version")

    def start(self, batch_id: str, number: int) -> None:
        """Submit the job, unless it is there. Raises BatchError."""
        settings = self._settings
        words = ["python", "-m", "openai_batch.cluster.ray_driver", settings.store, batch_id]
        words += ["--workers", str(settings.workers), "--task-options", json.dumps(settings.task_options)]
        words += worker_options(settings)
        job: dict[str, Any] = {
            "entrypoint": shlex.join(words),
            "submission_id": _submission(batch_id, number),
            "metadata": {"obatch": batch_id},
        }
        if settings.runtime_env:
            job["runtime_env"] = settings.runtime_env
        try:
            self._call("POST", "/api/jobs/", job)
        except BatchError:
            # The answer may be lost, or say that there is such a job: Ray 2.60 says that with a 500.
            if not self._exists(batch_id, number):
                raise

    def state(self, batch_id: str, start: Start) -> State:
        """Ask for the job. Raises BatchError."""
        job = self._job(batch_id, start.number)
        if job is None:
            return State.MISSING
        return State.ENDED if job.get("status") in _ENDED else State.RUNNING

    def _exists(self, batch_id: str, number: int) -> bool:
        try:
            return self._job(batch_id, number) is not None
        except BatchError:
            return False  # the error of the submission says more

    def _job(self, batch_id: str, number: int) -> dict[str, Any] | None:
        try:
            return self._call("GET", f"/api/jobs/{_submission(batch_id, number)}")
        except NotFoundError:
            return None

    def _call(self, method: str, path: str, content: Any = None) -> dict[str, Any]:
        """Send one request, and return the JSON object of the answer. Raises NotFoundError, AuthError, BatchError."""
        request = urllib.request.Request(  # noqa: S310 - the settings allow http and https only
            f"{str(self._settings.address).rstrip('/')}{path}",
            data=None if content is None else json.dumps(content).encode(),
            headers={"Content-Type": "application/json"},
            method=method,
        )
        if self._token:
            request.add_unredirected_header("Authorization", f"Bearer {self._token}")
        where = f"Ray at {self._settings.address}"
        handlers: list[Any] = [_NoRedirect]
        if is_loopback(urlsplit(self._settings.address or "").hostname):
            handlers.append(urllib.request.ProxyHandler({}))
        try:
            with urllib.request.build_opener(*handlers).open(request, timeout=_SECONDS) as answer:
                content = answer.read(_MOST_BYTES)
        except urllib.error.HTTPError as exc:
            said = ""
            with contextlib.suppress(OSError, http.client.HTTPException):
                said = exc.read(2000).decode("utf-8", "replace").strip()
            if exc.code == http.client.NOT_FOUND:
                raise NotFoundError(f"{where} has no {path}") from None
            if exc.code in (http.client.UNAUTHORIZED, http.client.FORBIDDEN):
                hint = "api_key_env in the profile names the variable with Ray's token"
                raise AuthError(f"{where} refuses the token ({exc.code})", hint=hint) from None
            raise ApiError(f"{where} answers HTTP {exc.code}: {said[-300:]}", status=exc.code) from None
        except (OSError, http.client.HTTPException, ValueError) as exc:
            hint = "check address, and that Ray runs"
            raise UnreachableError(f"{where} cannot be reached: {exc}", hint=hint) from None
        try:
            return msgspec.json.decode(content, type=dict[str, Any])
        except (msgspec.MsgspecError, UnicodeDecodeError):
            hint = "check address: it is the URL of Ray's dashboard"
            raise UnreachableError(
                f"{where} does not answer as Ray does: {path} is no JSON object", hint=hint
            ) from None


class _NoRedirect(urllib.request.HTTPRedirectHandler):
    """Follows no redirect: the token is for one host."""

    def redirect_request(self, *_: Any) -> None:
        """Return None: the redirect becomes an error."""


def _submission(batch_id: str, number: int) -> str:
    return f"obatch-{batch_id}-{number}"
