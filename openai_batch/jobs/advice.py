"""What to do about a batch that failed as a whole, if the provider's reason shows it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from openai_batch.providers.remedies import remedy

if TYPE_CHECKING:
    from collections.abc import Iterable

    from openai_batch.providers.batch_info import BatchFault


def advice(faults: Iterable[BatchFault]) -> str:
    """Return the remedy for the first fault that has one; an empty text if there is none."""
    return next(filter(None, (remedy(fault.code, fault.message) for fault in faults)), "")
