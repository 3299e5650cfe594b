"""Write the files that the cases read: `python inputs.py KIND ARGUMENTS…`. The same arguments give the same bytes."""

from __future__ import annotations

import csv
import json
import random
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

_PROSE = (
    "the quick results of a large \u201cbatch\u201d lie in order, line by line;\n"
    '\u00fcber 100% of them stand \\ "as sent", and none of them twice '
)


MARK = "answered:"
"""The beginning of each answer, so that answers can be counted in any kind of file."""


def text(number: int, length: int) -> str:
    """Return about `length` characters that look like prose, different ones for each number."""
    first = number % len(_PROSE)
    prose = _PROSE[first:] + _PROSE[:first]
    return f"{number} {prose * (length // len(prose) + 1)}"[:length]


def prompts(path: str, count: str) -> None:
    """Write one prompt per line."""
    with Path(path).open("w", encoding="utf-8") as out:
        for number in range(int(count)):
            out.write(text(number, 80).replace("\n", " ").strip() + ".\n")


def requests(path: str, count: str, size: str) -> None:
    """Write a batch input of `count` requests and about `size` bytes."""
    wanted = int(size) // int(count)
    length = max(20, wanted - 200)
    length = length * max(20, wanted - len(_request(0, 0))) // (len(_request(0, length)) - len(_request(0, 0)))
    with Path(path).open("wb") as out:
        for number in range(int(count)):
            out.write(_request(number, length))


def chats(path: str, count: str) -> None:
    """Write a batch input of short chats for the embedded engine, with answers of 64 tokens at most."""
    with Path(path).open("w", encoding="utf-8") as out:
        for number in range(int(count)):
            asked = {"role": "user", "content": f"Write a few sentences about the number {number} and the sea."}
            body = {"model": "SmolLM2-135M-Instruct", "messages": [asked], "temperature": 0, "max_tokens": 64}
            line = {"custom_id": f"row-{number}", "method": "POST", "url": "/v1/chat/completions", "body": body}
            out.write(json.dumps(line) + "\n")


def table(source: str, target: str) -> None:
    """Write the prompts of a batch input as CSV: `custom_id`, `prompt`."""
    with Path(source).open("rb") as lines, Path(target).open("w", encoding="utf-8", newline="") as out:
        writer = csv.writer(out)
        writer.writerow(("custom_id", "prompt"))
        for line in lines:
            request = json.loads(line)
            writer.writerow((request["custom_id"], request["body"]["messages"][0]["content"]))


def messages(source: str, target: str) -> None:
    """Write the messages of a batch input, one JSON object for each request."""
    with Path(source).open("rb") as lines, Path(target).open("w", encoding="utf-8") as out:
        for line in lines:
            out.write(json.dumps({"messages": json.loads(line)["body"]["messages"]}) + "\n")


def _request(number: int, length: int) -> bytes:
    body = {"model": "gpt-4o-mini", "messages": [{"role": "user", "content": text(number, length)}]}
    line = {"custom_id": f"row-{number}", "method": "POST", "url": "/v1/chat/completions", "body": body}
    return json.dumps(line, ensure_ascii=False).encode() + b"\n"


def results(folder: str, count: str, parts: str, mixed: str) -> None:
    """Write a finished job: a registry and ids in `state`, and the result files of its parts, each in random order.

    With `mixed`, rows go to the parts in turn, like rows of mixed models. Without it, each part has rows that follow
    each other.
    """
    place, rows = Path(folder), int(count)
    place.mkdir(exist_ok=True)
    number_of_parts = int(parts)
    each = -(-rows // number_of_parts)
    shares = [
        range(part, rows, number_of_parts) if mixed == "mixed" else range(part * each, min(rows, (part + 1) * each))
        for part in range(number_of_parts)
    ]
    dice = random.Random(1)  # noqa: S311 - only an order, not a secret
    for part, share in enumerate(shares):
        order = list(share)
        dice.shuffle(order)
        with (place / f"results-{part}").open("w", encoding="utf-8") as out:
            for row in order:
                out.write(json.dumps(_result(row), ensure_ascii=False) + "\n")
    _register(place, rows, shares, mixed=mixed == "mixed")


def jobs(count: str) -> None:
    """Fill the registry with `count` jobs of one part each."""
    import sqlite3

    from openai_batch.files import paths
    from openai_batch.jobs.store.records import JobRecord, PartRecord, PartState
    from openai_batch.jobs.store.registry import Registry

    registry = Registry()
    job = JobRecord(
        id=0,
        identity="order-0",
        provider="openai",
        base_url="https://api.example/v1",
        account="a",
        endpoint="/v1/chat/completions",
        window="24h",
        created_at=time.time(),
        uid="job-0",
    )
    registry.add(job, [PartRecord(0, 1, PartState.ENDED, status="completed", requests=1000, batch_id="batch_0")])
    registry.close()
    with sqlite3.connect(paths.registry_file()) as db:
        for table, own in (("jobs", ("id", "identity", "uid")), ("parts", ("job", "batch_id"))):
            names = [row[1] for row in db.execute(f"PRAGMA table_info({table})") if row[1] not in own]
            made = ", ".join("n" if name in ("id", "job") else f"'{name}-' || n" for name in own)
            db.execute(
                f"""WITH RECURSIVE more(n) AS (SELECT 2 UNION ALL SELECT n + 1 FROM more WHERE n < {int(count)})
                INSERT INTO {table} ({", ".join((*own, *names))}) SELECT {made}, {", ".join(names)}
                FROM {table}, more WHERE n <= {int(count)}"""  # noqa: S608 - names and numbers of our own
            )
    db.close()


def _result(row: int) -> dict[str, object]:
    message = {"role": "assistant", "content": text(row, 200), "refusal": None}
    body = {
        "id": f"chatcmpl-{row:012}",
        "object": "chat.completion",
        "created": 1700000000 + row,
        "model": "gpt-4o-mini",
        "choices": [{"index": 0, "message": message, "logprobs": None, "finish_reason": "stop"}],
        "usage": {"prompt_tokens": 30, "completion_tokens": 40, "total_tokens": 70},
    }
    response = {"status_code": 200, "request_id": f"req-{row:012}", "body": body}
    return {"id": f"batch_req_{row:012}", "custom_id": f"row-{row}", "response": response, "error": None}


def _register(place: Path, rows: int, shares: list[range], *, mixed: bool) -> None:
    """Write the job's row, its ids and, for mixed models, each part's own ids and row numbers."""
    from openai_batch.files import paths
    from openai_batch.jobs.store.records import JobRecord, PartRecord, PartState
    from openai_batch.jobs.store.registry import Registry
    from openai_batch.providers.batch_info import Counts
    from openai_batch.requests.split import ROW_NUMBER

    job = JobRecord(
        id=0,
        identity=f"order-{place.name}",
        provider="bench",
        base_url="https://bench.example/v1",
        account="a",
        endpoint="/v1/chat/completions",
        window="24h",
        created_at=time.time(),
        uid=place.name,
        requests=rows,
    )
    folder = paths.private_dir(paths.job_dir(job.uid))
    parts, offset = [], 0
    for number, share in enumerate(shares):
        ids = b"".join(b'"row-%d"\n' % row for row in share)
        counts = Counts(len(share), len(share), 0)
        if mixed:
            (folder / f"model-{number}.ids").write_bytes(ids)
            (folder / f"model-{number}.rows").write_bytes(b"".join(ROW_NUMBER.pack(row) for row in share))
        part = PartRecord(
            job=0,
            number=number + 1,
            state=PartState.ENDED,
            requests=len(share),
            source=f"model-{number}" if mixed else None,
            first_row=0 if mixed else share.start,
            ids_offset=0 if mixed else offset,
            sha256="known",
            batch_id=f"{place.name}-{number}",
            status="completed",
            counts=counts,
            output_file_id=str(place / f"results-{number}"),
        )
        parts.append(part)
        offset += len(ids)
    with (folder / "ids").open("wb") as out:
        for row in range(rows):
            out.write(b'"row-%d"\n' % row)
    registry = Registry()
    registry.add(job, parts)
    registry.close()


if __name__ == "__main__":
    kinds: dict[str, Callable[..., None]] = {
        each.__name__: each for each in (prompts, requests, chats, table, messages, results, jobs)
    }
    kinds[sys.argv[1]](*sys.argv[2:])
