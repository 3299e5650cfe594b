"""The options that `run`, `download` and `results` share: the output form of results."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from openai_batch.errors import UsageError
from openai_batch.files.atomic import as_path

from .options import AsOpt, FieldsOpt, InertOpt

if TYPE_CHECKING:
    from openai_batch.results.export import Export


@dataclass(frozen=True, slots=True, kw_only=True)
class ExportOptions:
    """The options for the output form of results, as typed."""

    form: AsOpt = None
    fields: FieldsOpt = False
    inert: InertOpt = True

    def export(self, output: str | None, *, default: str = "raw", as_json: bool = False) -> Export | None:
        """Return the export to `output` in the form that the options name; None for the provider's own lines.

        `default` is the form if neither `--as` nor the name of `output` decides. `as_json` tells that standard output
        gets one JSON document. Raises UsageError if the options contradict each other, or `output` has an ending of
        another form.
        """
        from openai_batch.jobs.output_file import check_ending
        from openai_batch.results.export import RAW, Export, form_of

        if self.form is None and output not in (None, "-"):
            check_ending(as_path(str(output)))
        wanted = form_of(output, self.form, default)
        if as_json and output in (None, "-") and wanted in ("csv", "parquet"):
            raise UsageError(f"--as {wanted} and --json exclude each other here", hint="leave out one of them")
        if wanted != RAW:
            return Export(wanted, fields=self.fields, safe=self.inert)
        if self.fields:
            raise UsageError(
                "--fields needs rows; this output is the provider's own lines", hint="-o NAME.csv, or add --as rows"
            )
        return None
