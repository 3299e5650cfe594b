"""`obatch worker`: run the requests of a batch that is in a shared store."""

from __future__ import annotations

from typing import Annotated

from openai_batch.cli.help_format import examples
from openai_batch.cli.options import (
    ConcurrencyOpt,
    UpstreamKeyOpt,
    UpstreamOpt,
    argument,
    hints_of_options,
    option,
)
from openai_batch.errors import UsageError
from openai_batch.net.time_span import seconds

EPILOG = examples(
    "obatch worker /shared/obatch batch_0123 --upstream http://gpu:8000/v1",
    "obatch worker s3://bucket/obatch batch_0123 --index 3 --of 16 \\\n      --upstream http://gpu:8000/v1",
    note="A provider of kind `shards` starts workers itself; so can any other program.",
)


def worker(
    store: Annotated[str, argument("STORE", "Folder or address of the store.")],
    batch: Annotated[str, argument("BATCH", "Id of the batch.")],
    index: Annotated[int, option("--index", "N", "Number of this worker, from 0.", min=0)] = 0,
    of: Annotated[int, option("--of", "N", "How many workers there are.", min=1)] = 1,
    upstream: UpstreamOpt = None,
    upstream_key_env: UpstreamKeyOpt = None,
    engine: Annotated[
        list[str] | None, option("--engine", "WORD", "Word of the command of a model server; repeatable.")
    ] = None,
    concurrency: ConcurrencyOpt = None,
    timeout: Annotated[str, option("--request-timeout", "TIME", "Time that a request may take.")] = "10m",
    tries: Annotated[int, option("--tries", "N", "Calls for one request.", min=1)] = 5,
) -> None:
    """Run the requests of a batch in a shared store.

    It ends when its shards are complete, or the batch is cancelled.
    """
    from openai_batch.cluster.run_worker import run_worker
    from openai_batch.cluster.settings import ShardSettings

    if bool(upstream) == bool(engine):
        raise UsageError("a worker needs either --upstream or --engine", hint="name one of them")
    given = {
        "store": store,
        "upstream": upstream or [],
        "upstream_key_env": upstream_key_env,
        "engine": engine or [],
        "concurrency": concurrency,
        "timeout_seconds": seconds(timeout) or 0.0,
        "max_tries": tries,
    }
    with hints_of_options("worker"):
        settings = ShardSettings.from_table("the worker:", given)
    run_worker(settings, batch, index, of)
