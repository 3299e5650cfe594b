"""Batch files for tests, and running a batch with the official client."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from support.servers import wait_until

if TYPE_CHECKING:
    from collections.abc import Iterable

    from openai import OpenAI
    from openai.types import Batch

ENDED = {"completed", "failed", "expired", "cancelled"}
CHAT = "/v1/chat/completions"


def chat_line(custom_id: str, text: str, *, model: str = "echo-1", **body: Any) -> str:
    """Return one line of a batch file, without its newline."""
    request = {"model": model, "messages": [{"role": "user", "content": text}], **body}
    return json.dumps({"custom_id": custom_id, "method": "POST", "url": CHAT, "body": request})


def chat_file(texts: Iterable[str], **options: Any) -> bytes:
    """Return a batch file with one chat for each text; the ids are r0, r1, ..."""
    return "".join(chat_line(f"r{i}", text, **options) + "\n" for i, text in enumerate(texts)).encode()


def start(client: OpenAI, content: bytes, *, endpoint: str = CHAT, window: str = "24h", **options: Any) -> Batch:
    """Upload a batch file and create its batch."""
    file = client.files.create(file=("input.jsonl", content), purpose="batch")
    created: Batch = client.batches.create(
        input_file_id=file.id,
        endpoint=endpoint,  # type: ignore[arg-type]
        completion_window=window,  # type: ignore[arg-type]
        **options,
    )
    return created


def finish(client: OpenAI, batch: Batch) -> Batch:
    """Return the batch once it has ended."""

    def look() -> Batch | None:
        found = client.batches.retrieve(batch.id)
        return found if found.status in ENDED else None

    ended: Batch = wait_until(look, f"the end of {batch.id}")
    return ended


def lines(client: OpenAI, file_id: str | None) -> list[dict[str, Any]]:
    """Return the parsed lines of a result file, or none if there is no file."""
    if not file_id:
        return []
    content = client.files.content(file_id).content
    assert content.endswith(b"\n")
    return [json.loads(line) for line in content[:-1].split(b"\n")]


def wait_for_successes(client: OpenAI, batch: Batch, count: int) -> Batch:
    """Return the batch once at least `count` of its requests have succeeded."""

    def look() -> Batch | None:
        found = client.batches.retrieve(batch.id)
        assert found.status not in ENDED, found
        return found if found.request_counts and found.request_counts.completed >= count else None

    found: Batch = wait_until(look, f"{count} successes of {batch.id}")
    return found


def counts_of(client: OpenAI, batch: Batch) -> tuple[int, int, int]:
    """Return the total, completed and failed counts of an ended batch, and check them against its files."""
    counts = batch.request_counts
    assert counts is not None
    assert counts.completed == len(lines(client, batch.output_file_id))
    assert counts.failed == len(lines(client, batch.error_file_id))
    return counts.total, counts.completed, counts.failed
