"""`Batch`: make, submit, wait for and download one batch, as in openai-batch 0.3.4.

It stores nothing: if the program is killed, the batch id is lost. `openai_batch.jobs` keeps a registry.

Holds: the class (`batch`), its input file (`input_file`, `check_input`), its results (`save`, `results`), waiting
(`follow`, `wait`), and what the `python -m` programs share (`program`, `provider_arguments`).

May import: `providers`, `results`, `requests`, `files`, `net`, `openai_batch.errors`. Start reading at `batch.py`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from openai_batch._lazy import lazy_names

if TYPE_CHECKING:
    from openai_batch.providers.builtin import all_providers
    from openai_batch.providers.lookup import get_provider_by_model
    from openai_batch.requests.endpoints import BatchType

    from .batch import FINISHED_STATES, Batch

__all__ = ["FINISHED_STATES", "Batch", "BatchType", "all_providers", "get_provider_by_model"]

__getattr__, __dir__ = lazy_names(__name__, dict.fromkeys(__all__, "batch"))
