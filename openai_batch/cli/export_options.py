"""The options that `run`, `download` and `results` share: the form of the results."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from openai_batch.errors import UsageError

from .options import AsOpt, FieldsOpt, InertOpt

if TYPE_CHECKING:
    from openai_batch.results.export import Export


@dataclass(frozen=True, slots=True, kw_only=True)
class ExportOptions:
    """The form of the results, as it was typed."""

    form: AsOpt = None
    fields: FieldsOpt = False
    inert: InertOpt = True

    def export(self, output: str | None, *, default: str = "raw") -> Export | None:
        """Return what writes results to `output` in the form that is asked for; None for the provider's own lines.

        Raises UsageError where the options do not fit each other.
        """
        from openai_batch.results.export import RAW, Export, form_of

        wanted = form_of(output, self.form, default)
        if wanted != RAW:
            return Export(wanted, fields=self.fields, safe=self.inert)
        if self.fields:
            raise UsageError(
                "--fields is for rows, and the provider's own lines are none", hint="-o NAME.csv, or add --as rows"
            )
        return None
