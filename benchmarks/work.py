"""The measured work that is not a command, each kind in its own process: `python work.py WHAT ARGUMENTS…`.

Imports are in the functions, so that each process uses memory only for its own work.
"""

from __future__ import annotations

import json
import shutil
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from typing import Any, BinaryIO

_CHUNK = 1 << 20
_ENDPOINT: Final = "/v1/chat/completions"


def read(source: str) -> None:
    """Read the bytes and do nothing with them."""
    with Path(source).open("rb", buffering=0) as handle:
        while handle.read(_CHUNK):
            pass


def copy(source: str, target: str) -> None:
    """Read the bytes and write them."""
    with Path(source).open("rb") as handle, Path(target).open("wb") as out:
        shutil.copyfileobj(handle, out, _CHUNK)


def parse(source: str) -> None:
    """Parse each line with msgspec, and nothing else."""
    import msgspec

    decode = msgspec.json.Decoder().decode
    with Path(source).open("rb") as handle:
        for line in handle:
            decode(line)


def csv(source: str, target: str) -> None:
    """Write the id and the answer of each result line as CSV, with the standard library, and check nothing."""
    import csv as library

    with Path(source).open(encoding="utf-8") as lines, Path(target).open("w", newline="", encoding="utf-8") as out:
        writer = library.writer(out)
        for line in lines:
            result = json.loads(line)
            writer.writerow([result["custom_id"], result["response"]["body"]["choices"][0]["message"]["content"]])


def old_prepare(source: str, target: str) -> None:
    """Run create_batch_input of openai-batch 0.3.4 without its limits, in the Python of that version."""
    from openai_batch import create_batch_input, providers

    for provider in providers.all_providers:
        provider.batch_input_max_requests = provider.batch_input_max_bytes = 1 << 50
    create_batch_input.main([source, target, "--model", "gpt-4o-mini"])


def join(uid: str, target: str) -> None:
    """Collect the results of the job `uid`; its downloads are copies of files."""
    from openai_batch.jobs.collect import CollectOptions, collect
    from openai_batch.jobs.store.registry import Registry
    from openai_batch.jobs.workflow import Workflow

    flow = Workflow(Registry())
    job = flow.registry.by_uid(uid)
    if job is None:
        raise SystemExit(f"no job {uid}")
    flow.connections._apis[job.account] = _LocalFiles()  # type: ignore[assignment] # noqa: SLF001 - collecting needs nothing else
    if not collect(flow, job, Path(target), CollectOptions(force=True)).tally.complete:
        raise SystemExit("results are missing")


class _LocalFiles:
    """Files on the disk instead of a provider."""

    def __init__(self) -> None:
        from openai_batch.providers import Provider

        self.provider = Provider(name="bench", parallel=1)

    def download(self, file_id: str, target: BinaryIO, _progress: object = None, **_: object) -> int:
        """Copy the file that the id names."""
        with Path(file_id).open("rb") as handle:
            shutil.copyfileobj(handle, target, _CHUNK)
        return target.tell()


def join_in_memory(folder: str, rows: str, target: str) -> None:
    """Join the results like a short script: put all lines into a dict by their ids, and write them in order."""
    import msgspec

    decode = msgspec.json.Decoder().decode
    lines = {}
    for path in Path(folder).glob("results-*"):
        with path.open("rb") as handle:
            for line in handle:
                lines[decode(line)["custom_id"]] = line
    with Path(target).open("wb") as out:
        for row in range(int(rows)):
            out.write(lines[f"row-{row}"])


def copy_all(folder: str, target: str) -> None:
    """Read the bytes of all results and write them."""
    with Path(target).open("wb") as out:
        for path in Path(folder).glob("results-*"):
            with path.open("rb") as handle:
                shutil.copyfileobj(handle, out, _CHUNK)


def trip(url: str, source: str, target: str) -> None:
    """Upload, create a batch and download with the library's own API; nothing is checked or put in order."""
    from openai_batch.providers.attempt import Attempt, new_token
    from openai_batch.providers.openai_api import OpenAIBatchApi
    from openai_batch.providers.provider import Provider

    api = OpenAIBatchApi(Provider(name="bench", base_url=url))
    with Path(source).open("rb") as handle:
        file = api.upload(handle, "requests.jsonl")
    batch = api.create(Attempt(file.id, _ENDPOINT, "24h", new_token(), time.time()))
    result = api.get(batch.id).output_file_id
    if result is None:
        raise SystemExit("there is no result")
    with Path(target).open("w+b") as out:
        api.download(result, out)
    api.close()


def bare_trip(url: str, source: str, target: str) -> None:
    """Do the same with the plain openai client, streaming in both directions."""
    from openai import OpenAI

    with OpenAI(base_url=url, api_key="none") as client:
        with Path(source).open("rb") as handle:
            file = client.files.create(file=("requests.jsonl", handle), purpose="batch")
        batch = client.batches.create(input_file_id=file.id, endpoint=_ENDPOINT, completion_window="24h")
        result = client.batches.retrieve(batch.id).output_file_id
        if result is None:
            raise SystemExit("there is no result")
        with (
            Path(target).open("wb") as out,
            client.files.with_streaming_response.content(result) as answer,
        ):
            for chunk in answer.iter_bytes(1 << 16):
                out.write(chunk)


def local_batch(settings: str, source: str) -> None:
    """Run a batch with the local provider's executor and these settings (JSON), from its input to its result files."""
    import asyncio
    import json
    import os
    import tempfile

    from openai_batch.files import paths

    with tempfile.TemporaryDirectory(dir=".") as folder:
        os.environ["OBATCH_STATE_DIR"] = folder
        shutil.copy(source, paths.private_dir(paths.local_dir() / "files") / "file-1")
        asyncio.run(_local_batch(json.loads(settings)))


async def _local_batch(values: dict[str, Any]) -> None:
    import asyncio
    import time

    from openai_batch.files import paths
    from openai_batch.local.model import ensure_model
    from openai_batch.local.server import _Backend
    from openai_batch.local.settings import LocalSettings
    from openai_batch.local.store import BatchRecord, FileRecord, Store

    settings = LocalSettings.from_mapping(values)
    now = time.time()
    store = Store(paths.local_dir() / "store.db")
    store.add_file(FileRecord("file-1", 1, now, None, "f.jsonl", "batch", ""))
    store.add_batch(BatchRecord("batch_1", _ENDPOINT, "file-1", "24h", "validating", now, now + 86400))
    store.close()
    backend = _Backend(settings, None if settings.upstream else ensure_model(), [None] * len(settings.upstreams))
    await backend.start()
    while backend.executor.active:  # noqa: ASYNC110 - there is no event for the end
        await asyncio.sleep(0.1)
    done = backend.store.batch("batch_1")
    await backend.close()
    if done is None or done.completed != done.total or not done.total:
        raise SystemExit(f"not all requests were answered: {done}")


def bare_calls(url: str, source: str, workers: str) -> None:
    """Send the same requests with aiohttp only, a few at a time, and write the answers as they arrive."""
    import asyncio

    with Path(source).open("rb") as lines, Path("bare.jsonl").open("wb") as out:
        asyncio.run(_bare_calls(url, lines, out, int(workers)))


async def _bare_calls(url: str, lines: BinaryIO, out: BinaryIO, workers: int) -> None:
    import asyncio

    import aiohttp
    import msgspec

    async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0)) as session:

        async def work() -> None:
            for line in lines:
                body = msgspec.json.encode(msgspec.json.decode(line)["body"])
                kind = {"Content-Type": "application/json"}
                async with session.post(f"{url}/chat/completions", data=body, headers=kind) as answer:
                    out.write(await answer.read())

        await asyncio.gather(*(work() for _ in range(workers)))


def saturate(url: str, source: str, workers: str) -> None:
    """Send the same requests with the package `saturate`, in the Python of its environment."""
    import importlib
    import json

    package = importlib.import_module("saturate")  # installed there only
    with Path(source).open(encoding="utf-8") as lines:
        done = package.pump(
            map(json.loads, lines),
            lambda row: row["body"],
            lambda _, answer: {"answer": answer["choices"][0]["message"]["content"]},
            url,
            "saturate",
            window=package.Fixed(int(workers)),
            id_key="custom_id",
            flush_every=1000,
        )
    if done.rows_failed or done.rows_processed != done.rows_total:
        raise SystemExit(f"not all requests were answered: {done}")


def rows(path: str) -> None:
    """Print every job of a registry with the standard library only."""
    import sqlite3

    db = sqlite3.connect(path)
    for row in db.execute("SELECT jobs.*, parts.* FROM jobs JOIN parts ON parts.job = jobs.id ORDER BY id DESC"):
        print(*row, sep="\t")
    db.close()


def hello(*words: str) -> None:
    """Run a Typer program that says hello."""
    import typer

    app = typer.Typer()
    app.command()(_hello)
    app(list(words))


def _hello(name: str = "you") -> None:
    print(f"hello {name}")


def versions(*names: str) -> None:
    """Print the versions of packages in this Python."""
    from importlib import metadata

    print(", ".join(f"{name} {metadata.version(name)}" for name in names))


_ALL = (
    *(read, copy, parse, csv, old_prepare, join, join_in_memory, copy_all, trip, bare_trip, local_batch, bare_calls),
    *(saturate, rows, hello, versions),
)

if __name__ == "__main__":
    {each.__name__: each for each in _ALL}[sys.argv[1]](*sys.argv[2:])
