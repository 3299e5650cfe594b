"""Send notifications when a job has ended: by a bell, a command, or a service that Apprise supports.

A target is one of `bell`, `cmd:COMMAND`, a URL of Apprise such as `slack://…`, or `env:VARIABLE`, whose value is one of
the others. A URL contains a secret, so it is never shown.
"""

from __future__ import annotations

import logging
import os
import re
import shlex
import subprocess
import threading
from concurrent.futures import Future
from typing import TYPE_CHECKING, Any

from openai_batch.errors import BatchError, MissingExtraError, UsageError, count_text
from openai_batch.escapes import escape_newlines
from openai_batch.hidden_keys import hide_key
from openai_batch.providers.keys import check_variable, key_from_environment

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from .store.records import JobRecord

NOBODY = "none"  # the target for no notification, instead of those of the configuration file

_REFERENCE, _COMMAND, _BELL = "env:", "cmd:", "bell"

PATIENCE = 60.0  # seconds that one notification may take


def read_targets(given: Sequence[str] | None, configured: Sequence[str]) -> list[str]:
    """Return the targets to notify: those given, else those of the configuration file. Nothing is sent yet.

    Raises UsageError for an invalid target, MissingExtraError if a URL needs Apprise.
    """
    what = "--notify" if given else "notify in the configuration file:"
    targets = [_resolved(target, what) for target in (given or configured) if target != NOBODY]
    for target in targets:
        if target.startswith(_COMMAND):
            _words(target)
        elif "://" in target:
            for piece in (target, *re.split(r"[/?&=@:,;]+", target)):
                hide_key(piece)
            _service(target)
        elif target != _BELL:
            raise UsageError(f"--notify {target!r} is not known", hint=f"bell, {_COMMAND}COMMAND, or an Apprise URL")
    return targets


def notify(
    targets: Sequence[str],
    job: JobRecord,
    bell: Callable[[], None],
    warn: Callable[[str], None],
    environment: Mapping[str, str],
) -> None:
    """Notify the targets of `read_targets` that a job has ended. If that fails, it is a warning, not an error.

    A command gets `environment`, and the variables that describe the job.
    """
    for target in targets:
        try:
            if target == _BELL:
                bell()
            elif target.startswith(_COMMAND):
                _run(target, {**environment, **variables(job)})
            else:
                _send(target, job)
        except BatchError as exc:
            warn(f"job {job.id}: {exc}")


def message(job: JobRecord) -> str:
    """Return one line that says how a job has ended."""
    named = f" ({job.name})" if job.name else ""
    counts, total = job.counts, count_text(job.counts.total, "request")
    answered = f"{counts.completed:,} of {total} answered" if counts.done else total  # not every provider counts
    return escape_newlines(f"job {job.id}{named} {job.status}: {answered}")


def variables(job: JobRecord) -> dict[str, str]:
    """Return the environment variables that describe a job to a command."""
    values = {
        "OBATCH_JOB": str(job.id),
        "OBATCH_STATUS": job.status,
        "OBATCH_NAME": job.name or "",
        "OBATCH_JOB_PROVIDER": job.provider,
        "OBATCH_REQUESTS": str(job.counts.total),
        "OBATCH_SUCCEEDED": str(job.counts.completed),
        "OBATCH_FAILED": str(job.counts.failed),
        "OBATCH_OUTPUT": job.output_path or "",
        "OBATCH_MESSAGE": message(job),
    }
    return {name: escape_newlines(value) for name, value in values.items()}


def _resolved(target: str, what: str) -> str:
    if not target.startswith(_REFERENCE):
        return target
    variable = target.removeprefix(_REFERENCE)
    check_variable("--notify env:", variable)
    value = key_from_environment(variable)
    if value is None:
        raise UsageError(f"{what} {target}: {variable} is not set", hint=f"export {variable}=…")
    return value


def command_words(text: str, *, windows: bool = os.name == "nt") -> list[str]:
    """Return the words of a command as a user writes it: quotes join words; on Windows, a backslash is one of a path.

    Raises ValueError if a quote has no end.
    """
    words = shlex.split(text, posix=not windows)
    return [word.replace('"', "") for word in words] if windows else words


def _words(target: str) -> list[str]:
    """Return the words of a command. There is no shell, so text from a job cannot become a command."""
    try:
        words = command_words(target.removeprefix(_COMMAND))
    except ValueError:
        raise UsageError(
            f"--notify {target!r}: a quote has no end", hint="close it, or put a backslash before it"
        ) from None
    if not words:
        raise UsageError(f"--notify {target!r} has no command", hint=f"--notify '{_COMMAND}notify-send Done'")
    return words


def _run(target: str, environment: Mapping[str, str]) -> None:
    words = _words(target)
    try:
        done = subprocess.run(  # noqa: S603 - the user's own command
            words,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            env=environment,
            timeout=PATIENCE,
            check=False,
        )
    except (OSError, ValueError, subprocess.TimeoutExpired) as exc:
        reason = exc.strerror if isinstance(exc, OSError) else type(exc).__name__
        raise BatchError(f"the command {words[0]!r} of --notify failed ({reason})") from None
    if done.returncode:
        raise BatchError(f"the command {words[0]!r} of --notify failed (exit code {done.returncode})")


def _service(url: str) -> Any:
    """Return Apprise with this URL. Its own log may quote the URL, so it is not shown."""
    scheme = url.partition("://")[0]
    try:
        import apprise
    except ImportError:
        raise MissingExtraError(
            f"--notify {scheme}://… needs an extra", hint="pip install 'openai-batch[notify]'"
        ) from None
    log = logging.getLogger("apprise")
    log.propagate = False
    if not log.handlers:
        log.addHandler(logging.NullHandler())
    service = apprise.Apprise()
    if not service.add(url):
        raise UsageError(f"--notify {scheme}://… is not a URL that Apprise knows", hint="see its list of services")
    return service


def _send(url: str, job: JobRecord) -> None:
    scheme, done = url.partition("://")[0], Future[bool]()

    def send() -> None:
        try:
            done.set_result(bool(_service(url).notify(title=message(job), body=_body(job), body_format="text")))
        except BaseException as exc:  # noqa: BLE001 - it is raised below
            done.set_exception(exc)

    # A server that sends single bytes could block Apprise forever: then we stop waiting for the thread.
    threading.Thread(target=send, daemon=True).start()
    try:
        sent = done.result(PATIENCE)
    except Exception as exc:  # noqa: BLE001 - a service of others, and no reason to fail
        raise BatchError(f"--notify {scheme}://… failed ({type(exc).__name__})") from None
    if not sent:
        raise BatchError(f"--notify {scheme}://… was not delivered")


def _body(job: JobRecord) -> str:
    lines = {"provider": job.provider, "model": job.model, "results": job.output_path}
    return "\n".join(f"{label}: {escape_newlines(value)}" for label, value in lines.items() if value) or message(job)
