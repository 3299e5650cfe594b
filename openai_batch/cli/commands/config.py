"""`obatch config`: print the paths in use and the settings."""

from __future__ import annotations

from typing import Any

import typer

from openai_batch.cli.help_format import HelpCommand
from openai_batch.cli.options import JsonOpt
from openai_batch.cli.output import Output

EPILOG = """Examples:

  $ obatch config path

  $ obatch config show --json"""


GROUP = typer.Typer(no_args_is_help=True, epilog=EPILOG, help="Show the paths in use and the settings.")


@GROUP.command("path", cls=HelpCommand, epilog=EPILOG)
def path(json: JsonOpt = False) -> None:
    """Print the paths of the configuration file, the registry and the cache."""
    from openai_batch.files import paths

    record = {
        "config": str(paths.config_file()),
        "registry": str(paths.registry_file()),
        "cache": str(paths.cache_dir()),
    }
    Output(as_json=json).record(record, record["config"], list(record.items()))


@GROUP.command("show", cls=HelpCommand, epilog=EPILOG)
def show(json: JsonOpt = False) -> None:
    """Print the settings and where each comes from; keys are never printed."""
    from openai_batch.providers.config import load

    settings = load()
    default, origin = settings.default_provider, settings.default_origin
    record: dict[str, Any] = {
        "path": str(settings.path),
        "exists": settings.path.exists(),
        "provider": {"value": default, "origin": origin if default else "default"},
        "profiles": sorted(settings.own),
        "local": settings.local,
    }
    lines = [
        ("configuration", f"{settings.path}" + ("" if record["exists"] else " (does not exist)")),
        ("provider", f"{default} (from {origin})" if default else "chosen by the model"),
        ("profiles", ", ".join(record["profiles"])),
        ("local", ", ".join(f"{key} = {value}" for key, value in settings.local.items())),
    ]
    Output(as_json=json).record(record, str(settings.path), lines)
