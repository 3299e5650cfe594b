"""`obatch doctor`: check this machine and what a provider supports."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

from openai_batch.cli.doctor_format import fault_of, show_findings
from openai_batch.cli.help_format import examples
from openai_batch.cli.options import JsonOpt, ModelOpt, QuietOpt, argument, complete, flag, option
from openai_batch.cli.output import Output, errors
from openai_batch.cli.session import session

if TYPE_CHECKING:
    from openai_batch.providers.provider import Provider

EPILOG = examples(
    "obatch doctor",
    "obatch doctor parasail",
    "obatch doctor https://api.acme.example/v1 --api-key-env ACME_API_KEY",
    "obatch doctor acme --create -m acme/small",
    note="Nothing is paid without --create. Exit code 0 says that all needed checks passed.",
)


def doctor(
    provider: Annotated[
        str | None,
        argument(
            "PROVIDER", "Name or base URL; by default the default provider.", autocompletion=complete("providers")
        ),
    ] = None,
    api_key_env: Annotated[
        str | None, option("--api-key-env", "NAME", "Environment variable with the key, for a base URL.")
    ] = None,
    create: Annotated[
        bool, flag("--create", "Also create a batch of one short request and cancel it. It can cost that one request.")
    ] = False,
    model: ModelOpt = None,
    json: JsonOpt = False,
    quiet: QuietOpt = False,
) -> None:
    """Check this machine, and what a provider supports.

    It ends with the settings for the configuration file that fit the server; -q prints only these.
    """
    from openai_batch import __version__
    from openai_batch.files.workspace import workspace
    from openai_batch.jobs.doctor import check_create, check_machine, check_provider
    from openai_batch.providers.config_edit import profile_text

    findings = check_machine(f"obatch {__version__}")
    record: dict[str, Any] = {"provider": None, "profile": None, "job": None}
    if all(found.state != "failed" for found in findings) and (asked := _provider(provider, api_key_env)) is not None:
        name = asked.name or "NAME"
        with session(quiet=quiet, busy=True) as current, workspace() as folder:
            report = check_provider(current.workflow, asked)
            if create and all(found.state != "failed" for found in report.findings):
                current.reporter.note("creating a batch of one request; it can cost what that request costs")
                job = check_create(current.workflow, asked, folder, report, model)
                record["job"] = job.id
            current.reporter.close()
        findings += report.findings
        profile = profile_text(name, report.profile) if report.profile else None
        record |= {"provider": name, "profile": profile}
    show_findings(Output(as_json=json, quiet=quiet), findings, record)
    if (fault := fault_of(findings)) is not None:
        raise fault
    if record["provider"] is None:
        errors.hint("`obatch doctor PROVIDER` also checks a provider")


def _provider(given: str | None, variable: str | None) -> Provider | None:
    """Return the provider to check: the one with this name or URL, else the default one; None if there is none.

    Raises UnknownProviderError, and ConfigError for a URL that may not get that key.
    """
    from openai_batch.providers.config import profile_at
    from openai_batch.providers.lookup import default_provider, get_provider_by_name

    if given is not None and "://" in given:
        return profile_at(given, variable)
    name = given or default_provider()
    return None if name is None else get_provider_by_name(name)
