"""`obatch providers`: list the providers and whether their keys are set, and add one."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import typer

from openai_batch.cli.help_format import HelpCommand
from openai_batch.cli.option_groups import with_groups
from openai_batch.cli.options import JsonOpt, QuietOpt
from openai_batch.cli.output import Output, errors
from openai_batch.cli.table import Column

if TYPE_CHECKING:
    from openai_batch.providers.provider import Provider

EPILOG = """Examples:

  $ obatch providers

  $ obatch providers add acme --base-url https://api.acme.example/v1 \\
      --api-key-env ACME_API_KEY"""


def _human(value: Any) -> str:
    return f"{value:,}" if isinstance(value, int) else str(value or "")


COLUMNS = tuple(
    Column.of(
        heading,
        key,
        _human,
        lambda value: str(value or ""),
        cut=key == "base_url",
        optional=key in ("base_url", "max_requests", "max_bytes", "origin"),
    )
    for heading, key in (
        ("name", "name"),
        ("base url", "base_url"),
        ("key", "key"),
        ("requests", "max_requests"),
        ("bytes", "max_bytes"),
        ("origin", "origin"),
    )
)


GROUP = typer.Typer(invoke_without_command=True, epilog=EPILOG, no_args_is_help=False)


@GROUP.callback()
def providers(context: typer.Context, json: JsonOpt = False, quiet: QuietOpt = False) -> None:
    """List the providers: built in, and from the configuration file."""
    if context.invoked_subcommand is not None:
        return
    from openai_batch.providers.config import load
    from openai_batch.providers.lookup import known_providers

    own = load().own
    records = [_record(profile, profile.name in own) for profile in known_providers().values()]
    Output(as_json=json, quiet=quiet).listing(records, COLUMNS, lambda r: str(r["name"]), "")


@GROUP.command("add", cls=HelpCommand, epilog=EPILOG)
@with_groups
def add(
    name: Annotated[str, typer.Argument(metavar="NAME", help="Name for --provider.")],
    base_url: Annotated[str, typer.Option("--base-url", metavar="URL", help="For example https://api.example.com/v1.")],
    api_key_env: Annotated[
        str | None, typer.Option("--api-key-env", metavar="NAME", help="Environment variable with the key.")
    ] = None,
    model: Annotated[
        list[str] | None,
        typer.Option("--models", metavar="PATTERN", help="Models that it serves, such as acme/*; repeatable."),
    ] = None,
    max_requests: Annotated[
        int | None, typer.Option("--max-requests", metavar="N", help="Most requests per file.")
    ] = None,
    max_bytes: Annotated[int | None, typer.Option("--max-bytes", metavar="N", help="Most bytes per file.")] = None,
    json: JsonOpt = False,
) -> None:
    """Add a provider to the configuration file; the rest of the file stays unchanged."""
    from openai_batch.providers.config import add_profile

    table: dict[str, Any] = {
        "base_url": base_url,
        "api_key_env": api_key_env,
        "models": model,
        "max_requests": max_requests,
        "max_bytes": max_bytes,
    }
    path = add_profile(name, {key: value for key, value in table.items() if value})
    if json:
        Output(as_json=True).record({"name": name, "config": str(path)}, "", [])
        return
    errors.note(f"added [providers.{name}] to {path}")
    errors.hint(f"obatch submit FILE -p {name}")


def _record(profile: Provider, own: bool) -> dict[str, Any]:
    if not profile.needs_key:
        key = "not needed"
    elif profile.api_key:
        key = f"{profile.api_key_env_var} is set"
    elif profile.api_key_command:
        key = "by command"
    else:
        key = f"{profile.api_key_env_var} is not set"
    return {
        "name": profile.name,
        "display_name": profile.display_name,
        "base_url": profile.base_url,
        "key": key,
        "api_key_env": profile.api_key_env_var,
        "max_requests": profile.batch_input_max_requests,
        "max_bytes": profile.batch_input_max_bytes,
        "models": list(profile.models),
        "endpoints": list(profile.endpoints),
        "origin": "configuration" if own else "built in",
    }
