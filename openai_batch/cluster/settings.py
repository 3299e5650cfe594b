"""The settings of a provider of kind `shards`: where the store is, what starts the workers, and what they ask."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import msgspec
from msgspec import Meta
from msgspec.structs import force_setattr

from openai_batch.errors import ConfigError
from openai_batch.files.typed_table import Concurrency, Count, Patience, Text, Texts, Variable, read_table
from openai_batch.local.settings import LocalSettings
from openai_batch.net.hosts import is_http_url

if TYPE_CHECKING:
    from collections.abc import Mapping

LAUNCHERS = ("processes", "ray", "command")
"""What can start the workers: this machine, the Jobs API of Ray, or a command of the user."""


class ShardSettings(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """How batches are run by workers that share a store. Raises ConfigError for values that do not fit together."""

    store: Text
    """A folder that all workers can reach, or an address such as `s3://bucket/obatch`."""

    launcher: Text = "processes"
    """What starts the workers: `processes` on this machine, `ray`, or a `command`."""

    workers: Count = 2
    """How many workers run a batch at the same time."""

    rows_per_shard: Count = 1000
    """Requests in one shard: what a worker takes at a time."""

    upstream: Annotated[tuple[str, ...], Meta(description="a URL or a list of URLs")] = ()
    """OpenAI-compatible base URLs that run the requests, as a worker reaches them."""

    upstream_key_env: Variable | None = None
    """The environment variable of the workers that holds the upstream's key; never the key itself."""

    engine: Texts = ()
    """A command that starts a model server next to each worker; `{port}` in it is replaced by a free port."""

    concurrency: Concurrency | None = None
    """Requests in flight from each worker to each upstream; None means 64."""

    timeout_seconds: Patience = 600.0
    """Seconds that one request may take."""

    max_tries: Count = 5
    """Calls for one request, the first one included; an upstream that cannot be reached is not called."""

    address: Text | None = None
    """The URL of Ray's dashboard, for the launcher `ray`."""

    command: Texts = ()
    """The words of the command for the launcher `command`; `{store}`, `{batch}` and others in them are replaced."""

    task_options: Annotated[dict[str, Any], Meta(description="a table")] = {}
    """Ray's options of each worker, such as `num_gpus`."""

    runtime_env: Annotated[dict[str, Any], Meta(description="a table")] = {}
    """Ray's runtime environment of the job, as its documentation describes it."""

    def __post_init__(self) -> None:
        """Check that the launcher has what it needs."""
        urls = (self.upstream,) if isinstance(self.upstream, str) else self.upstream
        force_setattr(self, "upstream", tuple(urls))
        if self.launcher not in LAUNCHERS:
            raise ConfigError(f"launcher = {self.launcher!r} is not known", hint=f"one of: {', '.join(LAUNCHERS)}")
        if bool(self.upstream) == bool(self.engine):
            raise ConfigError(
                "the workers need either an upstream or an engine",
                hint='such as upstream = "http://127.0.0.1:8000/v1", or engine = ["vllm", "serve", …]',
            )
        if self.launcher == "ray" and not (self.address and is_http_url(self.address)):
            raise ConfigError("launcher = 'ray' needs an address", hint='such as address = "http://head:8265"')
        if self.launcher == "command" and not self.command:
            raise ConfigError("launcher = 'command' needs a command", hint='such as command = ["sbatch", "job.sh"]')
        if "://" not in self.store and not _is_absolute(self.store):
            raise ConfigError(f"store {self.store!r} is a relative path", hint="give the path that all workers have")
        for key in ("task_options", "runtime_env"):
            try:
                json.dumps(getattr(self, key), allow_nan=False)
            except (TypeError, ValueError):
                hint = "write dates as strings"
                raise ConfigError(f"{key} has a value that JSON does not have", hint=hint) from None
        self.local()  # checks the URLs

    @classmethod
    def from_table(cls, where: str, table: Mapping[str, Any]) -> ShardSettings:
        """Return the settings of a table of a configuration file. Raises ConfigError, which begins with `where`."""
        given = dict(table)
        if isinstance(given.get("upstream"), str):
            given["upstream"] = [given["upstream"]]
        if "store" not in given:
            raise ConfigError(f"{where} store is missing", hint='a folder, or an address such as "s3://bucket/obatch"')
        return read_table(where, given, cls)

    def local(self) -> LocalSettings:
        """Return the settings of what runs the requests in a worker. Raises ConfigError for a wrong URL."""
        return LocalSettings(
            upstream=self.upstream,
            upstream_key_env=self.upstream_key_env,
            concurrency=self.concurrency,
            timeout_seconds=self.timeout_seconds,
            max_tries=self.max_tries,
        )


def _is_absolute(path: str) -> bool:
    try:
        return Path(path).expanduser().is_absolute()
    except RuntimeError:  # the home folder of an unknown user
        return False
