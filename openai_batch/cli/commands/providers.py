"""`obatch providers`: list the providers and whether their keys are set; show, test, add and remove one."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Annotated, Any

import typer

from openai_batch.cli.config_format import setting_lines, setting_record
from openai_batch.cli.doctor_format import fault_of, show_findings
from openai_batch.cli.help_format import HelpCommand, examples
from openai_batch.cli.option_groups import with_groups
from openai_batch.cli.options import JsonOpt, QuietOpt, argument, complete, flag, hints_of_options, option
from openai_batch.cli.output import Output, errors, print_json
from openai_batch.cli.session import session
from openai_batch.cli.table import Column
from openai_batch.errors import ConfigError, UsageError

if TYPE_CHECKING:
    from openai_batch.providers.provider import Provider

ADD_EXAMPLE = """obatch providers add acme --base-url https://api.acme.example/v1 \\
      --api-key-env ACME_API_KEY"""
LIKE_EXAMPLE = """obatch providers add azure-eu --like azure \\
      --base-url https://my-resource.openai.azure.com/openai/v1"""
EPILOG = examples(
    "obatch providers",
    "obatch providers --all",
    ADD_EXAMPLE,
    "obatch providers show parasail",
    "obatch providers test acme",
    "obatch providers rm acme",
)


COLUMNS = (
    Column.of("name", "name", str),
    Column.of("base url", "base_url", lambda url: url or "", cut=True, optional=True),
    Column.of("key", "key", str),
    Column.of("requests", "max_requests", "{:,}".format, str, optional=True),
    Column.of("bytes", "max_bytes", "{:,}".format, str, optional=True),
    Column.of("origin", "origin", str, optional=True),
)


GROUP = typer.Typer(invoke_without_command=True, epilog=EPILOG, no_args_is_help=False)


@GROUP.callback()
def providers(
    context: typer.Context,
    show_all: Annotated[bool, flag("--all", "Also those that are built in and have no key here.")] = False,
    json: JsonOpt = False,
    quiet: QuietOpt = False,
) -> None:
    """List the providers that are configured or have a key."""
    if context.invoked_subcommand is not None:
        if show_all or json or quiet:
            raise UsageError(
                f"options of `providers {context.invoked_subcommand}` belong after it",
                hint=f"`obatch providers {context.invoked_subcommand} -h` shows those it has",
            )
        return
    from openai_batch.providers.config import load
    from openai_batch.providers.lookup import known_providers, providers_in_use

    used = {str(profile.name): profile for profile in providers_in_use()}
    shown = used | known_providers() if show_all else used
    own = load().own
    records = [_record(profile, name in own) for name, profile in shown.items()]
    Output(as_json=json, quiet=quiet).listing(records, COLUMNS, "name", "")
    if sys.stdout.isatty() and not (show_all or quiet or json):
        others = len(load().profiles) - len(used)
        errors.hint(f"`obatch providers --all` shows the {others} other built-in providers")


@GROUP.command(
    "add",
    cls=HelpCommand,
    epilog=examples(ADD_EXAMPLE, LIKE_EXAMPLE, "obatch providers add here --base-url http://127.0.0.1:8000/v1"),
)
@with_groups
def add(
    name: Annotated[str, argument("NAME", "Name for --provider.")],
    base_url: Annotated[str | None, option("--base-url", "URL", "For example https://api.example.com/v1.")] = None,
    like: Annotated[str | None, option("--like", "NAME", "Built-in provider that it is like, such as azure.")] = None,
    api_key_env: Annotated[str | None, option("--api-key-env", "NAME", "Environment variable with the key.")] = None,
    api_key_keyring: Annotated[
        str | None, option("--api-key-keyring", "NAME", "Entry of the system keyring with the key.")
    ] = None,
    model: Annotated[
        list[str] | None, option("--models", "PATTERN", "Models that it serves, such as acme/*; repeatable.")
    ] = None,
    max_requests: Annotated[int | None, option("--max-requests", "N", "Most requests per file.")] = None,
    max_bytes: Annotated[int | None, option("--max-bytes", "N", "Most bytes per file.")] = None,
    json: JsonOpt = False,
) -> None:
    """Add a provider to the configuration file.

    The rest of the file stays unchanged.
    """
    from openai_batch.providers.config_edit import add_profile

    if base_url is None and like is None:
        raise UsageError(f"which base URL has {name}?", hint="name it with --base-url")
    table: dict[str, Any] = {
        "like": like,
        "base_url": base_url,
        "api_key_env": api_key_env,
        "api_key_keyring": api_key_keyring,
        "models": model or None,
        "max_requests": max_requests,
        "max_bytes": max_bytes,
    }
    with hints_of_options("providers add", f"[providers.{name}]"):
        path = add_profile(name, {key: value for key, value in table.items() if value not in (None, [])})
    if json:
        print_json({"name": name, "config": str(path)})
        return
    errors.note(f"added [providers.{name}] to {path}")
    errors.hint(f"obatch submit FILE -p {name}")


NameArg = Annotated[str, argument("NAME", "Name of the provider.", autocompletion=complete("providers"))]


@GROUP.command(
    "show", cls=HelpCommand, epilog=examples("obatch providers show parasail", "obatch providers show parasail --json")
)
@with_groups
def show(provider: NameArg, json: JsonOpt = False) -> None:
    """Show the settings of a provider, and where each is from.

    Keys are never printed.
    """
    from openai_batch.providers.config import load, values_of
    from openai_batch.providers.lookup import get_provider_by_name

    profile, settings = get_provider_by_name(provider), load()
    values = values_of(settings, provider)
    record = _record(profile, provider in settings.own)
    record["values"] = [setting_record(key, *found) for key, found in values.items()]
    lines = [("name", provider), ("key", record["key"]), *setting_lines(record["values"], settings)]
    Output(as_json=json).record(record, provider, lines)


@GROUP.command(
    "test", cls=HelpCommand, epilog=examples("obatch providers test openai", "obatch providers test acme --json")
)
@with_groups
def try_out(provider: NameArg, json: JsonOpt = False) -> None:
    """Check the key, the URL and the models of a provider.

    `obatch doctor NAME` checks more.
    """
    from openai_batch.jobs.doctor import check_provider
    from openai_batch.providers.lookup import get_provider_by_name

    profile = get_provider_by_name(provider)
    with session(busy=True) as current:
        report = check_provider(current.workflow, profile, short=True)
        current.reporter.close()
    show_findings(Output(as_json=json), report.findings, {"provider": provider})
    if (fault := fault_of(report.findings)) is not None:
        raise fault


@GROUP.command("rm", cls=HelpCommand, epilog=examples("obatch providers rm acme", "obatch providers rm acme --force"))
@with_groups
def rm(
    provider: NameArg,
    force: Annotated[bool, flag("--force", "Remove it even if jobs run there.")] = False,
    json: JsonOpt = False,
) -> None:
    """Remove a provider from the configuration file.

    The rest of the file stays unchanged.
    """
    from openai_batch.jobs.store.registry import Registry
    from openai_batch.providers.config import load
    from openai_batch.providers.config_edit import remove_profile
    from openai_batch.providers.lookup import get_provider_by_name

    get_provider_by_name(provider)
    if provider not in load().own:
        raise ConfigError(f"{provider} is built in, and not in the configuration file", hint="obatch providers")
    running = [job.id for job in Registry().jobs(provider=provider) if not job.ended]
    if running and not force:
        raise ConfigError(
            f"job {running[0]} is still running at {provider}",
            hint=f"`obatch wait {running[0]}`; --force removes it anyway",
        )
    path = remove_profile(provider)
    if json:
        print_json({"name": provider, "config": str(path)})
    else:
        errors.note(f"removed [providers.{provider}] from {path}")


def _record(profile: Provider, own: bool) -> dict[str, Any]:
    variables = ", ".join(profile.key_variables)
    if not profile.needs_key:
        key = "not needed"
    elif profile.api_key_command and not profile.api_key:
        key = "by command"
    elif profile.api_key_keyring and not profile.api_key:
        key = "in the keyring"
    else:
        key = f"{variables} is {'set' if profile.has_key else 'not set'}"
    return {
        "name": profile.name,
        "display_name": profile.display_name,
        "base_url": profile.base_url,
        "key": key,
        "api_key_env": profile.api_key_env_var or variables or None,
        "max_requests": profile.batch_input_max_requests,
        "max_bytes": profile.batch_input_max_bytes,
        "models": list(profile.models),
        "endpoints": list(profile.endpoints),
        "origin": "configuration" if own else "built in",
    }
