"""The options that `run`, `download` and `results` share: the output form of results."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from openai_batch.errors import UsageError

from .options import AsOpt, FieldsOpt, InertOpt

if TYPE_CHECKING:
    from openai_batch.results.export import Export


@dataclass(frozen=True, slots=True, kw_only=True)
class ExportOptions:
    """The options for the output form of results, as typed."""

    form: AsOpt = None
    fields: FieldsOpt = False
    inert: InertOpt = True

    def export(self, output: str | None, *, default: str = "raw") -> Export | None:
        """Return the export to `output` in the form that the options name; None for the provider's own lines.

        `default` is the form if neither `--as` nor the name of `output` decides. Raises UsageError if the options
        contradict each other.
        """
        from openai_batch.results.export import RAW, Export, form_of

        wanted = form_of(output, self.form, default)
        if wanted != RAW:
            return Export(wanted, fields=self.fields, safe=self.inert)
        if self.fields:
            raise UsageError(
                "--fields needs rows; this output is the provider's own lines", hint="-o NAME.csv, or add --as rows"
            )
        return None
