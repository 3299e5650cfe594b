"""Check this machine and a provider. A real batch is created only if that is asked for, and then it is a job."""

from __future__ import annotations

import os
import platform
import shutil
import urllib.request
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from openai_batch.errors import BatchError, ConfigError, UsageError, count_text
from openai_batch.files import paths
from openai_batch.providers.doctor import Finding, ServerReport, check_server, echoes_metadata
from openai_batch.requests.build import request_line
from openai_batch.requests.endpoints import path_among
from openai_batch.requests.source import Source

from .cancel import cancel
from .job_spec import SubmitOptions, make_spec
from .store.registry import Registry
from .submit import submit

if TYPE_CHECKING:
    from pathlib import Path

    from openai_batch.providers.provider import Provider

    from .store.records import JobRecord
    from .workflow import Workflow

_ROOM = 100 * 1024 * 1024  # bytes that should be free for the jobs' files

_ENDPOINT = "/v1/chat/completions"


def check_machine(program: str) -> list[Finding]:
    """Check this machine: the configuration, the folder of the jobs, the registry and the proxies.

    `program` names the program and its version.
    """
    version = f"{program}, Python {platform.python_version()}, {platform.system()}"
    return [Finding("version", "ok", version), _config(), *_state(), _registry(), *_proxies()]


def check_provider(workflow: Workflow, provider: Provider, *, short: bool = False) -> ServerReport:
    """Ask a provider what it supports; nothing is created (`providers/doctor`)."""
    return check_server(workflow.connections.to(provider), short=short)


def check_create(
    workflow: Workflow, provider: Provider, folder: Path, report: ServerReport, model: str | None = None
) -> JobRecord:
    """Submit a job of one short request, see how the provider shows its batch, cancel it, and return the job.

    It is an ordinary job: it is in the registry before anything is sent, and it can cost as much as one request.
    `folder` is a work folder. The findings are added to the report, in place of that on metadata.
    """
    chosen = model or provider.default_chat_model or report.profile.get("chat_model")
    if not chosen:
        raise UsageError(f"which model? {provider} has no default for {_ENDPOINT}", hint="name it with -m")
    body = {"model": chosen, "messages": [{"role": "user", "content": "Hi"}], "max_tokens": 1}
    path = folder / "doctor.jsonl"
    path.write_bytes(request_line("doctor", path_among(provider.endpoints, _ENDPOINT), body))
    spec = make_spec(Source(path, "doctor", None), folder, provider)
    submitted = submit(workflow, spec, folder, SubmitOptions(again=True))
    job = submitted.job
    report.findings = [found for found in report.findings if found.name != "metadata"]
    try:
        report.add("create", "ok", f"job {job.id}, {', '.join(job.batch_ids)}")
        _check_echo(workflow, job, report)
    finally:
        job = cancel(workflow, job)
    report.add("cancel", "ok", job.status)
    return job


def _check_echo(workflow: Workflow, job: JobRecord, report: ServerReport) -> None:
    """See whether a batch shows the metadata that it was created with, and whether the list shows it."""
    api, (batch_id, *_) = workflow.api(job), job.batch_ids
    shown = echoes_metadata([api.get(batch_id)]) is not None
    try:
        listed = [batch for batch in api.batches(max_pages=1) if batch.id == batch_id]
    except BatchError as exc:
        report.failed("list", exc)
        return
    if not listed:
        report.add("list", "warning", "a new batch is not in the list yet", "`obatch recover` may have to run later")
    elsewhere = "shown in the list" if echoes_metadata(listed) else "shown by the batch, and not in the list"
    text = elsewhere if shown else "not shown: a lost batch is found by its file"
    report.add("metadata", "ok" if shown else "warning", text)


def _config() -> Finding:
    from openai_batch.providers.config import load

    try:
        settings = load()
    except BatchError as exc:
        return Finding("config", "failed", exc.message, exc.hint, exc)
    there = "" if settings.path.exists() else " (does not exist)"
    return Finding("config", "ok", f"{settings.path}{there}")


def _state() -> list[Finding]:
    try:
        folder = paths.state_dir()
        paths.check_folder(folder)
    except BatchError as exc:
        return [Finding("state", "failed", exc.message, exc.hint, exc)]
    there = next((each for each in (folder, *folder.parents) if each.is_dir()), folder)
    if not os.access(there, os.W_OK | os.X_OK):
        error = BatchError(f"{there} cannot be written to", hint="OBATCH_STATE_DIR can name another folder")
        return [Finding("state", "failed", error.message, error.hint, error)]
    free = shutil.disk_usage(there).free
    found = [Finding("state", "ok", str(folder))]
    room = "ok" if free >= _ROOM else "warning"
    found.append(Finding("space", room, f"{free // 1_000_000:,} MB free", "" if room == "ok" else "obatch prune"))
    if (kind := paths.network_filesystem(folder)) is not None:
        hint = "OBATCH_STATE_DIR can name another folder"
        found.append(Finding("state", "warning", f"a network file system ({kind}), where locks may fail", hint))
    return found


def _registry() -> Finding:
    try:
        return Finding("registry", "ok", count_text(Registry().count(), "job"))
    except BatchError as exc:
        return Finding("registry", "failed", exc.message, exc.hint, exc)


def _proxies() -> list[Finding]:
    """Name the proxies in use, without the passwords in their URLs."""
    found = []
    for scheme, url in sorted(urllib.request.getproxies().items()):
        if scheme != "no":
            try:
                parts = urlsplit(url if "://" in url else f"//{url}")
                place = f"{parts.hostname}:{parts.port}" if parts.port else str(parts.hostname)
            except ValueError:
                error = ConfigError(f"the {scheme} proxy is not a URL", hint=f"correct or unset {scheme.upper()}_PROXY")
                return [Finding("proxies", "failed", error.message, error.hint, error)]
            found.append(f"{scheme}: {place}")
    return [Finding("proxies", "ok", ", ".join(found))] if found else []
