"""`obatch config`: print the paths in use and the settings, and change them."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Annotated, Any

import typer

from openai_batch.cli.config_format import setting_lines, setting_record
from openai_batch.cli.help_format import HelpCommand, examples
from openai_batch.cli.option_groups import with_groups
from openai_batch.cli.options import JsonOpt, ProviderOpt, argument
from openai_batch.cli.output import Output, errors
from openai_batch.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from openai_batch.providers.config import Settings

EPILOG = examples(
    "obatch config path",
    "obatch config show --json",
    "obatch config set provider parasail",
    "obatch config set providers.acme.models 'acme/*' 'other/*'",
    "obatch config unset providers.acme.models",
)

KeyArg = Annotated[str, argument("KEY", "The setting, such as provider or providers.acme.max_requests.")]

GROUP = typer.Typer(no_args_is_help=True, epilog=EPILOG, help="Show and change the settings, and the paths in use.")


@GROUP.command("path", cls=HelpCommand, epilog=examples("obatch config path", "obatch config path --json"))
def path(json: JsonOpt = False) -> None:
    """Print the paths of the configuration, the registry and the cache."""
    from openai_batch.files import paths

    record = {
        "config": str(paths.config_file()),
        "registry": str(paths.registry_file()),
        "cache": str(paths.cache_dir()),
    }
    Output(as_json=json).record(record, record["config"], list(record.items()))


@GROUP.command("show", cls=HelpCommand, epilog=examples("obatch config show", "obatch config show -p parasail --json"))
@with_groups
def show(provider: ProviderOpt = None, json: JsonOpt = False) -> None:
    """Print the settings, and where each is from.

    Keys are never printed. Of the providers, those in the configuration file are shown; `obatch providers show NAME`
    shows any other.
    """
    from openai_batch.providers.config import load
    from openai_batch.providers.lookup import get_provider_by_name

    settings = load()
    default, origin = settings.default_provider, settings.default_origin
    if provider:
        default, origin = get_provider_by_name(provider).name, "option"
    values = [
        setting_record(key, value, where)
        for key, value, where in _values(settings, default, origin if default else "built in")
    ]
    record: dict[str, Any] = {
        "path": str(settings.path),
        "exists": settings.path.exists(),
        "provider": {"value": default, "origin": origin if default else "default"},
        "profiles": sorted(settings.own),
        "local": settings.local,
        "values": values,
    }
    lines = [("file", f"{settings.path}" + ("" if record["exists"] else " (does not exist)"))]
    lines += setting_lines(values, settings)
    Output(as_json=json).record(record, str(settings.path), lines)


@GROUP.command(
    "set",
    cls=HelpCommand,
    epilog=examples(
        "obatch config set provider parasail",
        "obatch config set providers.acme.models 'acme/*' 'other/*'",
        "obatch config set notify bell env:TEAM_CHAT",
    ),
)
@with_groups
def set_(
    key: KeyArg,
    value: Annotated[list[str], argument("VALUE", "The value; several are a list.")],
    json: JsonOpt = False,
) -> None:
    """Set one value in the configuration file.

    The rest of the file stays unchanged, with its comments.
    """
    from openai_batch.providers.config_edit import set_value

    _changed(key, "set {} in {}", set_value(key, value), as_json=json)


@GROUP.command(
    "unset",
    cls=HelpCommand,
    epilog=examples("obatch config unset provider", "obatch config unset providers.acme.models"),
)
@with_groups
def unset(key: KeyArg, json: JsonOpt = False) -> None:
    """Remove one value from the configuration file.

    The rest of the file stays unchanged.
    """
    from openai_batch.providers.config_edit import unset_value

    _changed(key, "removed {} from {}", unset_value(key), as_json=json)


@GROUP.command("edit", cls=HelpCommand, epilog=examples("obatch config edit", "obatch config path"))
def edit() -> None:
    """Edit the configuration file in your editor (VISUAL or EDITOR).

    The file is replaced only if the new text is valid.
    """
    from openai_batch.files import paths
    from openai_batch.files.workspace import workspace
    from openai_batch.providers.config_edit import replace_text
    from openai_batch.providers.config_file import read_text

    target = paths.config_file()
    text = read_text(target)
    with workspace() as folder:
        copy = folder / "config.toml"
        copy.write_text(text, encoding="utf-8")
        while True:
            _run_editor(str(copy))
            try:
                edited = read_text(copy)
                if edited == text:
                    errors.note("nothing was changed")
                    return
                replace_text(text, edited)
                break
            except ConfigError as exc:
                problem = exc.message.replace(str(copy), str(target))
                errors.line("error:", problem, "bold red")
                if not sys.stdin.isatty() or not typer.confirm("Edit it again?", default=True, err=True):
                    raise ConfigError("the file was not changed", hint="obatch config edit") from None
    errors.note(f"changed {target}")


def _changed(key: str, text: str, path: Path, *, as_json: bool) -> None:
    """Say what was changed in the configuration file."""
    if as_json:
        Output(as_json=True).record({"key": key, "config": str(path)}, "", [])
    else:
        errors.note(text.format(key, path))


def _run_editor(path: str) -> None:
    """Run the user's editor on a file. Raises ConfigError if there is none."""
    import os
    import subprocess

    from openai_batch.jobs.notify import command_words

    usual = "notepad" if os.name == "nt" else "vi"
    command = os.environ.get("VISUAL") or os.environ.get("EDITOR") or usual
    try:
        subprocess.run([*command_words(command), path], check=True)  # noqa: S603 - the user's own editor
    except (OSError, ValueError, subprocess.CalledProcessError) as exc:
        raise ConfigError(f"the editor {command!r} failed: {exc}", hint="set VISUAL or EDITOR") from exc


def _values(settings: Settings, default: str | None, origin: str) -> Iterator[tuple[str, Any, str]]:
    """Yield each setting with its value and where that is from."""
    import os

    from openai_batch.files import paths
    from openai_batch.providers.config import values_of

    yield "provider", default, origin
    yield "notify", list(settings.notify), str(settings.path) if settings.notify else "built in"
    for name, place in (("STATE_DIR", paths.state_dir()), ("CACHE_DIR", paths.cache_dir())):
        variable = f"OBATCH_{name}"
        yield name.lower(), str(place), variable if os.environ.get(variable) else "built in"
    for name in sorted(settings.own):
        for key, (value, where) in values_of(settings, name).items():
            yield f"providers.{name}.{key}", value, where
