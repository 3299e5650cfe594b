"""`obatch serve`: run the server of the local provider by hand."""

from __future__ import annotations

import contextlib
import os
from typing import TYPE_CHECKING, Annotated, Any

from openai_batch.cli.help_format import examples
from openai_batch.cli.live import make_reporter
from openai_batch.cli.options import ConcurrencyOpt, UpstreamKeyOpt, UpstreamOpt, flag, hints_of_options, option
from openai_batch.cli.output import errors
from openai_batch.errors import UsageError

if TYPE_CHECKING:
    from openai_batch.local import LocalSettings

EPILOG = examples(
    "obatch serve",
    "obatch serve --upstream http://127.0.0.1:8000/v1",
    "obatch serve --stop",
    note="Any OpenAI client can use the printed address, with the printed token as its key.",
)


def serve(
    upstream: UpstreamOpt = None,
    upstream_key_env: UpstreamKeyOpt = None,
    model_file: Annotated[
        str | None, option("--model-file", "FILE", "GGUF model file for the embedded engine.")
    ] = None,
    concurrency: ConcurrencyOpt = None,
    host: Annotated[str, option("--host", "ADDRESS", "Address to listen at.")] = "127.0.0.1",
    port: Annotated[int, option("--port", "PORT", "Port to listen at; 0 is any free one.", min=0, max=65535)] = 0,
    token_env: Annotated[
        str | None, option("--token-env", "NAME", "Environment variable with the token for clients.")
    ] = None,
    stop: Annotated[bool, flag("--stop", "Stop the running server.")] = False,
) -> None:
    """Serve an OpenAI-compatible Batch API on this machine.

    It runs until Ctrl-C.
    """
    from openai_batch import local
    from openai_batch.local import launch

    options = {
        "upstream": upstream,
        "upstream_key_env": upstream_key_env,
        "model_path": model_file,
        "concurrency": concurrency,
    }
    given = {name: value for name, value in options.items() if value is not None and value != []}
    if stop and (given or token_env is not None):
        raise UsageError("--stop cannot be used with other options", hint="obatch serve --stop")
    if stop:
        errors.note("stopped" if launch.stop() else "no server is running")
        return
    launch.check_system()  # before the model is downloaded
    settings = _settings(given)
    token = _token(token_env)
    if not settings.upstream and not settings.model_path:
        _download_model()

    def show(endpoint: local.Endpoint) -> None:
        key = f"the one in {token_env}" if token else endpoint.token
        errors.note(f"base URL  {endpoint.base_url}")
        errors.note(f"key       {key}")
        errors.note("Ctrl-C stops the server; its batches continue when it starts again")

    local.serve(settings, host=host, port=port, token=token, on_ready=show)


def _settings(given: dict[str, Any]) -> LocalSettings:
    """Return the settings of the configuration file, replaced by the options that were given.

    Raises UsageError for an option that would have no effect.
    """
    from openai_batch.local import LocalSettings
    from openai_batch.providers.config import load

    if "model_path" in given:
        if "upstream" in given:
            raise UsageError("--model-file and --upstream cannot be used together", hint="leave out one of them")
        given = {**given, "upstream": []}  # the one of the configuration file would run the requests instead
    configured = LocalSettings.from_mapping(load().local)
    with hints_of_options("serve"):
        settings = configured.replaced(given)
    if "upstream_key_env" in given and not settings.upstream:
        raise UsageError("--upstream-key-env is for --upstream", hint="name the upstream, or leave it out")
    return settings


def _token(variable: str | None) -> str | None:
    """Return the token in an environment variable. Raises UsageError if the variable is named but not set."""
    from openai_batch.providers.keys import check_variable

    if variable is None:
        return None
    check_variable("--token-env", variable)
    token = os.environ.get(variable) or None
    if token is None:
        raise UsageError(f"{variable} is not set", hint=f"export {variable}=…")
    return token


def _download_model() -> None:
    """Download the default model if it is not on this machine, and show the progress."""
    from openai_batch.local.model import ensure_model

    with contextlib.closing(make_reporter(lambda _: [])) as reporter:
        ensure_model(reporter.progress)
