"""Programs in the style of 0.3.4 and of today, for the type checker only: it must find no errors."""

from __future__ import annotations

import io
from pathlib import Path
from typing import TYPE_CHECKING

from openai_batch import (
    Batch,
    BatchError,
    InputError,
    UncertainError,
    __version__,
    data_url,
    get_provider_by_base_url,
    wait,
)
from openai_batch.batch import FINISHED_STATES, BatchType, all_providers, get_provider_by_model
from openai_batch.providers import Provider, get_provider_by_name, openai_models

if TYPE_CHECKING:
    from openai import OpenAI


def build(image: Path) -> Batch:
    """Build a batch with every kind of argument."""
    provider: Provider = get_provider_by_name("openai")
    batch = Batch("in.jsonl", output_file=Path("out.jsonl"), error_file=None, custom_id_prefix="row", provider=provider)
    params = {"model": "gpt-4o-mini", "messages": [{"role": "user", "content": data_url(image)}]}
    batch.add_to_batch(**params)
    batch.add_to_batch(model="gpt-4o-mini", prompt="x", endpoint="/v1/completions")
    print(Batch(io.StringIO()), Batch(io.BytesIO()), Batch(b"{}"), Batch(batch_id="batch_1"))
    kind: BatchType | None = batch.batch_type
    counts: tuple[int, int] = (batch.n_requests, batch.n_bytes)
    print(kind, counts, batch.model, __version__)
    return batch


def go(batch: Batch) -> str | None:
    """Submit, get the status and download."""
    try:
        batch_id: str = batch.submit(metadata={"who": "me"})
    except UncertainError as exc:
        return exc.hint
    except (InputError, BatchError) as exc:
        return str(exc)
    if batch.status(timeout=3.0).status in FINISHED_STATES:
        output, errors = batch.download()
        print(output, errors)
    result, output, errors = batch.submit_wait_download(interval=5, status_callback=lambda b: print(b.status))
    print(result.request_counts)
    return batch_id


def old(client: OpenAI) -> None:
    """Use deprecated functions."""
    one = wait(client, "batch_1", 10, callback=print)
    many = wait(client, ["batch_1", "batch_2"], finished_callback=print)
    print(one, many, get_provider_by_base_url("https://api.openai.com/v1"), get_provider_by_model("gpt-4o"))
    print([str(provider) for provider in all_providers], openai_models[:1])
