"""`obatch worker`: run the requests of a batch that is in a shared store."""

from __future__ import annotations

from typing import Annotated

import typer

from openai_batch.net.time_span import seconds

EPILOG = """Examples:

  $ obatch worker /shared/obatch batch_0123 --upstream http://gpu:8000/v1

  $ obatch worker s3://bucket/obatch batch_0123 --index 3 --of 16 \\
      --upstream http://gpu:8000/v1

A provider of kind `shards` starts workers itself; so can any other program."""


def worker(
    store: Annotated[str, typer.Argument(metavar="STORE", help="Folder or address of the store.")],
    batch: Annotated[str, typer.Argument(metavar="BATCH", help="Id of the batch.")],
    index: Annotated[int, typer.Option("--index", metavar="N", min=0, help="Number of this worker, from 0.")] = 0,
    of: Annotated[int, typer.Option("--of", metavar="N", min=1, help="How many workers there are.")] = 1,
    upstream: Annotated[
        list[str] | None,
        typer.Option("--upstream", metavar="URL", help="OpenAI-compatible URL that runs the requests; repeatable."),
    ] = None,
    upstream_key_env: Annotated[
        str | None,
        typer.Option("--upstream-key-env", metavar="NAME", help="Environment variable with the upstream's key."),
    ] = None,
    engine: Annotated[
        list[str] | None,
        typer.Option("--engine", metavar="WORD", help="Word of the command of a model server; repeatable."),
    ] = None,
    concurrency: Annotated[
        int | None,
        typer.Option("--concurrency", metavar="N", min=1, help="Requests to each upstream at the same time."),
    ] = None,
    timeout: Annotated[
        str, typer.Option("--request-timeout", metavar="TIME", help="Time that a request may take.")
    ] = "10m",
    tries: Annotated[int, typer.Option("--tries", metavar="N", min=1, help="Calls for one request.")] = 5,
) -> None:
    """Run the requests of a batch in a shared store.

    It ends when its shards are complete, or the batch is cancelled.
    """
    from openai_batch.cluster.run_worker import run_worker
    from openai_batch.cluster.settings import ShardSettings

    given = {
        "store": store,
        "upstream": upstream or [],
        "upstream_key_env": upstream_key_env,
        "engine": engine or [],
        "concurrency": concurrency,
        "timeout_seconds": seconds(timeout) or 0.0,
        "max_tries": tries,
    }
    run_worker(ShardSettings.from_table("the worker:", given), batch, index, of)
