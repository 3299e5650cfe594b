"""How a job is submitted."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from decimal import Decimal

    from openai_batch.files.stored_file import Target


@dataclass(frozen=True, slots=True, kw_only=True)
class SubmitOptions:
    """How a job is submitted."""

    dedup: bool = False  # send identical requests once
    reuse: bool = False  # send only the rows that no earlier job of the same input, or of the same output, has answered
    again: bool = False  # start a new job even if the same one was started before
    # The file that the results will be written to, if it is known. It is checked before anything is paid.
    output: Target | None = None
    missing: Target | None = None  # the file that failed requests will be written to. It is checked at the same time.
    force: bool = False  # replace these files if they exist
    # How many seconds to wait for an earlier job that runs rows of this input; None: until it ends.
    timeout: float | None = None
    # If it is unknown whether a batch was created, send it again. It may be paid twice.
    resubmit_uncertain: bool = False
    # What is stored of the output, for later downloads: its path, its form, and the options of the form.
    output_form: dict[str, Any] | None = None
    check_remote: bool = False  # first look for batches of this job that another machine has started
    # The most that the job may cost, in USD, its retries included; None: that is not limited, or as it was before.
    max_cost: Decimal | None = None
    # Allow only what costs no more even outside of a batch, since a deadline may need that (`jobs/deadline`).
    full_price: bool = False
