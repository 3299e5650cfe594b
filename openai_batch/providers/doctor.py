"""Check what a server supports: its URL, models, list of batches and files. This only reads, and costs nothing."""

from __future__ import annotations

import itertools
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from openai_batch.errors import ApiError, AuthError, BatchError, NotFoundError, count_text

from .marks import is_ours
from .provider import Provider

if TYPE_CHECKING:
    from .batch_info import BatchInfo
    from .port import BatchApi

_NEWEST = 20  # how many batches are looked at
_CLOCKS = 120.0  # seconds that two clocks may differ
_NO_SUCH_CALL = frozenset({404, 405, 501})  # HTTP statuses of a server that does not have a call

_SETTINGS = {
    "max_requests": "batch_input_max_requests",
    "max_bytes": "batch_input_max_bytes",
    "max_line_bytes": "batch_input_max_line_bytes",
    "one_model": "requires_consistency",
    "completion_window": "completion_window",
    "endpoints": "endpoints",
}
"""The settings that always belong to a profile, with their fields of Provider."""

_UNUSUAL = {
    "headers": "headers",
    "allow_plain_http": "allow_plain_http",
    "file_purpose": "file_purpose",
    "upload_path": "upload_path",
    "upload_fields": "upload_fields",
    "metadata": "sends_metadata",
    "status_map": "status_map",
    "enqueued_tokens": "enqueued_tokens",
    "create_timeout": "create_timeout",
    "create_grace": "create_grace",
    "idempotent_create": "idempotent_create",
    "parallel": "parallel",
    "output_expires_after": "output_expires_after",
}
"""The settings that belong to it if they are not the usual ones."""


@dataclass(frozen=True, slots=True)
class Finding:
    """The result of one check."""

    name: str  # what was checked
    state: str  # `ok`, `failed` (jobs will not work), `warning` (something is missing or unusual), or `unknown`
    text: str  # what was found
    hint: str = ""  # what to do about it
    error: BatchError | None = field(default=None, compare=False)  # why it failed


@dataclass(slots=True)
class ServerReport:
    """What is known about a server."""

    findings: list[Finding] = field(default_factory=list)
    # The settings that fit this server, as the configuration file has them.
    profile: dict[str, Any] = field(default_factory=dict)

    def add(self, name: str, state: str, text: str, hint: str = "") -> None:
        """Add a finding."""
        self.findings.append(Finding(name, state, text, hint))

    def failed(self, name: str, error: BatchError) -> None:
        """Add a check that failed."""
        self.findings.append(Finding(name, "failed", error.message, error.hint, error))


def check_server(api: BatchApi, *, short: bool = False) -> ServerReport:
    """Ask a provider what it supports, and return what was found; nothing is created and nothing is paid.

    With `short`, only the key, the URL and the list of models are checked. The local server is started, unless its
    model would have to be downloaded.
    """
    report, provider = ServerReport(), api.provider
    if provider.is_local and not _can_start(report):
        return report
    try:
        api.make_ready()
        report.add("key", "ok", _key_text(provider))
        if provider.shards is not None:
            report.add("store", "ok", provider.shards.store)
            report.add("launcher", "ok", provider.shards.launcher)
            return report
        answers = _check_models(api, report)
        if answers and not short:
            _check_batches(api, report)
            _add_profile(provider, report)
    except BatchError as exc:
        report.failed("key" if isinstance(exc, AuthError) else "server", exc)
    return report


def echoes_metadata(listed: list[BatchInfo]) -> BatchInfo | None:
    """Return a batch that shows the metadata it was created with; None if there is none."""
    return next((batch for batch in listed if batch.metadata and is_ours(batch.metadata)), None)


def _can_start(report: ServerReport) -> bool:
    """Return whether the local server runs, or can start without a download."""
    from openai_batch.local import launch
    from openai_batch.local.model import is_downloaded

    from .config_file import local_settings

    settings = local_settings()
    if launch.running() is not None or settings.upstream or settings.model_path or is_downloaded():
        return True
    hint = "`obatch run --example -p local` downloads it"
    report.add("server", "unknown", "not started: its model was not downloaded yet", hint)
    return False


def _key_text(provider: Provider) -> str:
    if not provider.needs_key:
        return "not needed"
    kind, _, name = provider.key_source.partition(":")
    if kind == "no-key":
        return f"from {', '.join(provider.key_variables)}"
    return {"key": "given", "command": "from a command", "keyring": f"from the keyring ({name})"}.get(
        kind, f"from {kind.removeprefix('$')}"
    )


def _check_models(api: BatchApi, report: ServerReport) -> bool:
    """Ask for the models; return whether the server can be asked for more."""
    provider = api.provider
    try:
        models, clock = api.models()
    except (AuthError, ApiError, NotFoundError) as exc:
        if getattr(exc, "status", 404) not in _NO_SUCH_CALL or isinstance(exc, AuthError):
            report.failed("key" if isinstance(exc, AuthError) else "url", exc)
            return False
        report.add("models", "warning", "the server does not list its models")
        return True
    report.add("url", "ok", str(provider.placed().base_url if not provider.is_local else "on this machine"))
    default = provider.default_chat_model
    if default and default not in models:
        hint = f"obatch config set providers.{provider.name}.chat_model MODEL"
        report.add("models", "warning", f"{count_text(len(models), 'model')}, without {default}, the default", hint)
    else:
        report.add("models", "ok", f"{count_text(len(models), 'model')}" + (f", with {default}" if default else ""))
    if len(models) == 1:
        report.profile["chat_model"] = models[0]
    if clock is not None:
        away = clock - time.time()
        state = "ok" if abs(away) <= _CLOCKS else "warning"
        text = f"{abs(away):,.0f} s {'ahead of' if away > 0 else 'behind'} this machine's"
        report.add("clock", state, text, "" if state == "ok" else "set this machine's clock")
    return True


def _check_batches(api: BatchApi, report: ServerReport) -> None:
    """Look at the newest batches: their order, their metadata, and a file of one of them."""
    try:
        listed = list(itertools.islice(api.batches(_NEWEST), _NEWEST))
    except (ApiError, NotFoundError) as exc:
        if getattr(exc, "status", 404) not in _NO_SUCH_CALL:
            report.failed("list", exc)
        elif all(found.name != "url" for found in report.findings):
            report.failed("url", exc)
        else:
            lost = "the server does not list batches: if the answer to a create is lost, its batch cannot be found"
            report.add("list", "warning", lost)
        return
    times = [batch.created_at for batch in listed if batch.created_at is not None]
    order = ", newest first" if len(times) > 1 and times == sorted(times, reverse=True) else ""
    report.add("list", "ok", f"{count_text(len(listed), 'batch')} seen{order}")
    _check_metadata(listed, report)
    _check_files(api, listed, report)


def _check_metadata(listed: list[BatchInfo], report: ServerReport) -> None:
    echoed = echoes_metadata(listed)
    if echoed is not None:
        report.add("metadata", "ok", f"shown in the list ({echoed.id})")
    elif listed and all(batch.input_file_id for batch in listed):
        report.add(
            "metadata", "unknown", "not seen; batches show their input file, which is enough", "--create tests it"
        )
    else:
        report.add("metadata", "unknown", "no batch of obatch was seen", "--create tests it")


def _check_files(api: BatchApi, listed: list[BatchInfo], report: ServerReport) -> None:
    """Look at the result file of a batch: its record, and whether a part of it can be read."""
    file_id = next((batch.output_file_id for batch in listed if batch.output_file_id), None)
    if file_id is None:
        report.add("ranges", "unknown", "no batch with results was seen")
        return
    try:
        resumed = api.has_ranges(file_id)
    except BatchError as exc:
        report.add("ranges", "unknown", f"{file_id} cannot be read: {exc.message}")
        return
    begins = "downloads continue where they stopped" if resumed else "an interrupted download starts again"
    report.add("ranges", "ok" if resumed else "warning", begins)


def _add_profile(provider: Provider, report: ServerReport) -> None:
    """Add the limits of the profile, and all the settings that describe this server."""
    requests, size = provider.batch_input_max_requests, provider.batch_input_max_bytes
    report.add("limits", "ok", f"{requests:,} requests and {size:,} bytes in a file (from the profile)")
    settings: dict[str, Any] = {} if provider.is_local else {"base_url": provider.placed().base_url}
    settings["api_key_env"] = provider.api_key_env_var
    settings["api_key_command"] = list(provider.api_key_command)
    settings["api_key_keyring"] = provider.api_key_keyring
    settings |= {key: getattr(provider, name) for key, name in _SETTINGS.items()}
    usual = Provider()
    changed = {key: of for key, of in _UNUSUAL.items() if getattr(provider, of) != getattr(usual, of)}
    settings |= {key: getattr(provider, of) for key, of in changed.items()}
    if provider.is_local:
        settings = {key: settings[key] for key in ("max_requests", "max_bytes")}
    settings["endpoints"] = list(settings.get("endpoints", ()))
    settings["chat_model"] = provider.default_chat_model or report.profile.get("chat_model")
    report.profile = {key: value for key, value in settings.items() if value not in (None, "", [])}
