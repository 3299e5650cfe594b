"""`obatch serve`: the local provider's server by hand."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from openai_batch.cli.output import errors
from openai_batch.cli.progress import make_reporter
from openai_batch.errors import UsageError

EPILOG = """Examples:

  $ obatch serve

  $ obatch serve --upstream http://127.0.0.1:8000/v1

  $ obatch serve --stop

Any OpenAI client works against the address that it prints, with the token that it prints as the key."""


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command(epilog=EPILOG)(serve)


def serve(
    upstream: Annotated[
        list[str] | None, typer.Option("--upstream", metavar="URL", help="What runs the requests; repeatable.")
    ] = None,
    upstream_key_env: Annotated[
        str | None, typer.Option("--upstream-key-env", metavar="NAME", help="Environment variable of its key.")
    ] = None,
    model_file: Annotated[
        str | None, typer.Option("--model-file", metavar="FILE", help="A GGUF file for the engine.")
    ] = None,
    concurrency: Annotated[int | None, typer.Option("--concurrency", help="Requests at once to each upstream.")] = None,
    host: Annotated[str, typer.Option("--host", help="Address to listen at.")] = "127.0.0.1",
    port: Annotated[int, typer.Option("--port", help="Port; 0 takes a free one.")] = 0,
    token_env: Annotated[
        str | None, typer.Option("--token-env", metavar="NAME", help="Environment variable of the token to ask for.")
    ] = None,
    stop: Annotated[bool, typer.Option("--stop", help="Stop the server that runs.")] = False,
) -> None:
    """Serve an OpenAI-compatible Batch API on this machine, until interrupted."""
    import os

    from openai_batch import local
    from openai_batch.local import launch
    from openai_batch.local.model import ensure_model
    from openai_batch.providers.config import load

    if stop:
        errors.note("stopped" if launch.stop() else "no server runs")
        return
    given: dict[str, Any] = {
        "upstream": upstream,
        "upstream_key_env": upstream_key_env,
        "model_path": model_file,
        "concurrency": concurrency,
    }
    settings = local.LocalSettings.from_mapping(load().local | {k: v for k, v in given.items() if v is not None})
    token = os.environ.get(token_env or "") or None
    if token_env and token is None:
        raise UsageError(f"{token_env} is not set", hint=f"export {token_env}=…")
    if not settings.upstream and not settings.model_path:
        reporter = make_reporter()
        try:
            ensure_model(reporter.progress)
        finally:
            reporter.close()

    def say(endpoint: Any) -> None:
        key = f"the one in {token_env}" if token else endpoint.token
        errors.note(f"base URL  {endpoint.base_url}\nkey       {key}\nCtrl-C stops it; batches go on when it is back")

    local.serve(settings, host=host, port=port, token=token, on_ready=say)
