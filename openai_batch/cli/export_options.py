"""The options for the output of results: their form, and where they are written."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Any

from openai_batch.errors import UsageError
from openai_batch.files.atomic import as_target

from .help_format import OUTPUT
from .options import ForceOpt, StrictOpt, flag, option

if TYPE_CHECKING:
    from openai_batch.files.stored_file import Target
    from openai_batch.jobs.store.records import JobRecord
    from openai_batch.results.export import Export


@dataclass(frozen=True, slots=True, kw_only=True)
class ExportOptions:
    """The options of `run`, `download` and `results` for the form of results, as typed."""

    form: Annotated[
        str | None,
        option("--as", "FORM", "csv, parquet, rows (JSON) or raw; by default the output's name decides.", OUTPUT),
    ] = None
    fields: Annotated[bool | None, flag("--fields/--no-fields", "A column for each field of JSON answers.", OUTPUT)] = (
        None
    )
    inert: Annotated[
        bool | None, flag("--inert/--no-inert", "In CSV, make formulas harmless (the default).", OUTPUT)
    ] = None

    @property
    def asked(self) -> bool:
        """Whether the user asks for a form."""
        return self.form is not None or bool(self.fields)

    def to_store(self, output: Target | None) -> dict[str, Any]:
        """Return what is stored with a job of the options of `run`, and of the path of its output."""
        values = {"form": self.form, "fields": self.fields, "inert": self.inert}
        values["output"] = None if output is None else str(output.absolute())
        return {name: value for name, value in values.items() if value is not None}

    @staticmethod
    def written(job: JobRecord, target: Target, form: str | None, export: Export | None) -> dict[str, Any]:
        """Return what is stored with a job whose results were written to `target`, for later downloads.

        `form` is the form that was asked for, None if the name of `target` decided.
        """
        own: dict[str, Any] = {"form": form, "output": str(target.absolute())}
        if export is not None:
            own |= {"fields": export.fields, "inert": export.safe}
        known = {name: value for name, value in job.output_form.items() if name != "form"}
        return known | {name: value for name, value in own.items() if value is not None}

    def form_for(self, job: JobRecord, output: str | None) -> str | None:
        """Return the form of a job's results: the one given, or at the output of its `run` the one given there."""
        same = output is None and job.output_path in (None, job.output_form.get("output"))
        return self.form or (job.output_form.get("form") if same else None)

    def export(
        self,
        output: str | None,
        *,
        default: str = "raw",
        form: str | None = None,
        job: JobRecord | None = None,
        as_json: bool = False,
    ) -> Export | None:
        """Return the export to `output` in the form that the options name; None for the provider's own lines.

        `default` is the form if neither `form`, by default `--as`, nor the name of `output` decides. Options that are
        not given are those of the `run` of the job. `as_json` says that standard output gets one JSON document.
        Raises UsageError if the options contradict each other, or `output` has the ending of another format.
        """
        from openai_batch.jobs.output_file import check_ending
        from openai_batch.results.export import RAW, Export, form_of

        form = form or self.form
        if form is None and output not in (None, "-"):
            check_ending(as_target(str(output)))
        wanted = form_of(output, form, default)
        if as_json and output in (None, "-") and wanted in ("csv", "parquet"):
            raise UsageError(f"--as {wanted} and --json cannot be used together here", hint="leave out one of them")
        if wanted != RAW:
            known = {} if job is None else job.output_form
            fields = bool(known.get("fields")) if self.fields is None else self.fields
            inert = known.get("inert", True) if self.inert is None else self.inert
            return Export(wanted, fields=fields, safe=inert)
        if self.fields:
            raise UsageError(
                "--fields needs rows; this output is the provider's own lines", hint="-o NAME.csv, or add --as rows"
            )
        return None


@dataclass(frozen=True, slots=True, kw_only=True)
class OutputOptions(ExportOptions):
    """The options of `run` and `download` for the output, as typed."""

    missing: Annotated[
        str | None, option("--missing", "FILE", "Also write failed and missing requests to FILE.", OUTPUT)
    ] = None
    strict: StrictOpt = False
    force: ForceOpt = False

    @property
    def missing_file(self) -> Target | None:
        """The file for failed and missing requests."""
        return None if self.missing is None else as_target(self.missing)
