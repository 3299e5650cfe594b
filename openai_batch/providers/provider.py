"""A provider profile: the URL of a Batch API, where its key is, and its limits."""

from __future__ import annotations

import dataclasses
import fnmatch
import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, ClassVar
from urllib.parse import urlsplit

from openai_batch.errors import AuthError, ConfigError, UsageError
from openai_batch.net.time_span import seconds
from openai_batch.requests.limits import Limits

from .keys import (
    OPENAI_KEY,
    find_key,
    header_values,
    hide_keys,
    key_from_environment,
    key_source,
    references,
    sdk_base_url,
    short_hash,
)
from .sdk_errors import if_imported

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from openai import OpenAI

    from openai_batch.cluster.settings import ShardSettings

_ACCOUNT = re.compile(r"org|project|account|tenant|team|workspace|customer|auth|key|token", re.IGNORECASE)
"""Headers whose names match choose an account, or hold a key."""

_SHORTEST, _LONGEST = 3600, 30 * 86400  # seconds for which files of results can be kept
LOCAL_URL = "local:"  # the base URL of the local provider. Its server has a real one, which is known once it runs.


@dataclass(frozen=True, kw_only=True)
class Prices:
    """What the tokens of a model cost in a batch, in USD per million tokens."""

    input: float
    """Of input tokens."""

    output: float
    """Of output tokens."""

    cached_input: float | None = None
    """Of input tokens that the provider had in its cache; None means the price of the others."""


@dataclass
class Provider:
    """A provider of a Batch API.

    The fields up to `requires_consistency` are those of 0.3.4, in its order. A provider with neither `api_key` nor
    `api_key_env_var` nor `api_key_command` nor `api_key_keyring` needs no key.
    """

    name: str | None = None
    """The name that `-p` and the configuration file use."""

    display_name: str | None = None
    """The name in messages; by default `name`."""

    base_url: str | None = None
    """The URL of the API, such as `https://api.example.com/v1`; None for that of the SDK (see `placed`)."""

    api_key: str | None = field(default=None, repr=False)
    """The key itself. If it is set, `api_key_env_var` and the others are not used."""

    api_key_env_var: str | None = None
    """The environment variable that holds the key."""

    batch_input_max_requests: int = 50_000
    """Most requests in one batch input file, up to 100,000."""

    batch_input_max_bytes: int = 100 * 1024 * 1024
    """Largest batch input file, in bytes."""

    default_chat_model: str = "meta-llama/Meta-Llama-3-8B-Instruct"
    """The model for chat requests if none is given; empty if there is no default."""

    default_embedding_model: str = "intfloat/e5-mistral-7b-instruct"
    """The model for embedding requests if none is given; empty if there is no default."""

    requires_consistency: bool = True
    """Whether all requests of one batch must name the same model."""

    batch_input_max_line_bytes: int | None = None
    """Longest line of a batch input file, in bytes, up to OBATCH_MAX_LINE_BYTES; None if there is no such limit."""

    enqueued_tokens: int | None = None
    """Most tokens that may be in unfinished batches of one model at a time; None if there is no such limit."""

    models: tuple[str, ...] = ()
    """Patterns of the model names that this provider serves; `*` matches anything."""

    endpoints: tuple[str, ...] = ()
    """Endpoints that its batches accept, such as `/v1/embeddings`; empty if that is unknown."""

    completion_window: str = "24h"
    """The completion window to ask for, as the API spells it."""

    file_purpose: str = "batch"
    """The `purpose` under which input files are uploaded."""

    status_map: dict[str, str] = field(default_factory=dict)
    """Maps the provider's own status words, in lower case, to the standard ones."""

    headers: dict[str, str] = field(default_factory=dict, repr=False)
    """Extra headers for every request. A value `env:NAME` means the environment variable NAME."""

    api_key_command: tuple[str, ...] = ()
    """A command, as a list of words, that prints the key, if the variable does not hold it."""

    allow_plain_http: bool = False
    """Whether the key may be sent over unencrypted HTTP to another machine."""

    create_timeout: float = 60.0
    """Seconds to wait for the answer to a request that creates a batch."""

    create_grace: float = 120.0
    """Seconds to look for a batch, beyond `create_timeout`, if its create request got no clear answer."""

    idempotent_create: bool = False
    """Whether the server creates one batch for each `Idempotency-Key`, however often the request is sent."""

    parallel: int = 4
    """How many parts of a job are sent, asked for or downloaded at the same time, from 1 to 16."""

    prices: dict[str, Prices] = field(default_factory=dict)
    """What models cost in a batch, by name or pattern; they replace the list prices."""

    batch_discount: float | None = None
    """The share of the price of the same requests without a batch that a batch saves. List prices are lowered by it,
    and `prices` are not; None if it is not known."""

    api_key_keyring: str | None = None
    """The entry of the system keyring that holds the key, under the service `obatch`, if there is no command; needs
    the extra `keyring`."""

    shards: ShardSettings | None = None
    """For a provider of kind `shards`: the store, and what starts the workers (`openai_batch/cluster`)."""

    sends_metadata: bool = True
    """Whether a new batch is sent with metadata. Without it, a batch is found by its file only."""

    upload_path: str | None = None
    """The path of uploads, after the base URL; None for `/files`."""

    upload_fields: dict[str, str] = field(default_factory=dict)
    """Extra form fields of an upload. `{name}` in a value means the name of the file."""
    output_expires_after: str | None = None
    """How long the provider keeps files of results, from `1h` to `30d`; None for its own time."""

    # A ClassVar is not a dataclass field; `get_client` sets an attribute of the same name on the instance.
    _client: ClassVar[Any] = None

    def __str__(self) -> str:
        """Return the name to show in messages."""
        return self.display_name or self.name or self.base_url or "provider"

    def __getstate__(self) -> dict[str, Any]:
        """Return what another process gets: all but the client, which has open connections."""
        return {name: value for name, value in vars(self).items() if name != "_client"}

    def get_client(self) -> OpenAI:
        """Return an `openai.OpenAI` client for this provider, the same one each time.

            models = provider.get_client().models

        The key goes to `base_url` only (see `providers/keys`). Raises AuthError if the key is missing.
        """
        if self._client is None:
            self._client = self.new_client()  # type: ignore[misc] # an attribute of this one instance
        client: OpenAI = self._client
        return client

    def new_client(
        self, starting: Callable[[str, int, int | None], None] | None = None, *, as_is: bool = False
    ) -> OpenAI:
        """Return a new client, which the caller must close.

            with provider.new_client() as client: ...

        The local provider's server is started if none runs. `starting` is called with the progress: (what is prepared,
        bytes done, bytes in all or None). With `as_is`, a server that is busy may have other settings than the
        configuration file. Raises AuthError if the key is missing, BatchError if the server does not start, ConfigError
        if the base URL is a template.
        """
        from .client import local_endpoint, make_client

        if self.shards is not None:
            raise UsageError(f"{self} is a store with workers, and has no API", hint="use Jobs, or the command obatch")
        if self.is_template:
            raise ConfigError(
                f"{self} needs the base URL of your own resource or server",
                hint=f"`obatch providers add {self.name} --base-url {self.example_url}` adds it",
            )
        placed = self.placed()
        hide_keys(placed.api_key, placed.api_key_env_var, placed.headers)
        try:
            local = local_endpoint(starting, as_is=as_is) if self.is_local else None
            base_url, key = local or (str(placed.base_url), placed.resolve_key())
            headers = header_values(str(self), self.headers)
        except AuthError as exc:
            raise if_imported(exc, "OpenAIError") from None
        return make_client(base_url, key, headers, is_local=self.is_local)

    def placed(self) -> Provider:
        """Return this profile; without a base URL, with the SDK's own: OPENAI_BASE_URL, or else OpenAI's.

            print(Provider().placed().base_url)

        The key then comes from OPENAI_API_KEY, if the profile names no other source. This is what `Provider()` meant in
        0.3.4.
        """
        if self.base_url is not None:
            return self
        own_key = self.api_key_env_var or self.api_key_command or self.api_key_keyring
        variable = self.api_key_env_var if own_key else OPENAI_KEY
        return dataclasses.replace(self, base_url=sdk_base_url(), api_key_env_var=variable)

    def resolve_key(self) -> str | None:
        """Return the key; None if the provider needs none. See `find_key` for the order.

            key = provider.resolve_key()

        Raises AuthError if the key is missing, or has characters that no key has.
        """
        return find_key(
            str(self),
            given=self.api_key,
            variable=self.api_key_env_var,
            command=self.api_key_command,
            entry=self.api_key_keyring,
        )

    @property
    def account(self) -> str:
        """The account that requests go to, as a text: the base URL, where the key comes from, and account headers.

        It never contains the key. The same account may be reached in several ways (`jobs/store/registry.account`).
        """
        source = self.key_source
        parts = [normal_url(str(self.base_url)), source]
        headers = sorted((name.lower(), value) for name, value in self.headers.items() if _ACCOUNT.search(name))
        if headers:
            parts.append(f"headers:{short_hash(repr(headers))}")
        return " ".join(parts)

    @property
    def key_source(self) -> str:
        """Where the key comes from, as a text that never contains the key."""
        return key_source(self.api_key, self.api_key_env_var, self.api_key_command, self.api_key_keyring)

    @property
    def key_variables(self) -> tuple[str, ...]:
        """The environment variables with its keys: the one of the key, and those of headers."""
        return (*filter(None, [self.api_key_env_var]), *references(self.headers).values())

    @property
    def has_key(self) -> bool:
        """Whether there is a key: it is set, or a command, the keyring or the variables of headers give it."""
        if self.api_key or self.api_key_command or self.api_key_keyring:
            return True
        return (
            not self.api_key_env_var and bool(self.key_variables) and all(map(key_from_environment, self.key_variables))
        )

    @property
    def example_url(self) -> str:
        """An example of the base URL."""
        return re.sub(r"[{}]", "", self.base_url or "https://api.example.com/v1")

    @property
    def is_template(self) -> bool:
        """Whether a part of the base URL must be filled in, such as `{RESOURCE}`."""
        return "{" in (self.base_url or "")

    @property
    def is_local(self) -> bool:
        """Whether this is the local provider, whose server this package starts."""
        return self.base_url == LOCAL_URL

    @property
    def needs_key(self) -> bool:
        """Whether requests carry a key."""
        return not self.is_local and bool(self.key_variables or self.has_key)

    @property
    def limits(self) -> Limits:
        """The limits of one batch input file."""
        return Limits(
            max_requests=self.batch_input_max_requests,
            max_bytes=self.batch_input_max_bytes,
            max_line_bytes=self.batch_input_max_line_bytes,
            one_model=self.requires_consistency,
            endpoints=self.endpoints,
        )

    @property
    def output_seconds(self) -> int | None:
        """For how many seconds files of results are kept; None for the provider's own time. Raises UsageError."""
        return output_seconds(self.output_expires_after)

    def serves(self, model: str) -> bool:
        """Return whether one of the patterns in `models` matches `model`.

            provider.serves("gpt-4o-mini")

        `*` in a pattern matches anything.
        """
        return any(fnmatch.fnmatchcase(model, pattern) for pattern in self.models)

    def check_metadata(self, metadata: Mapping[str, str]) -> None:
        """Raise UsageError if a user gives metadata for a batch, and this provider has none.

            provider.check_metadata({"team": "blue"})

        Nothing is asked.
        """
        if metadata and not self.sends_metadata:
            raise UsageError(f"batches at {self} have no metadata", hint="leave the metadata out")

    def is_at(self, base_url: str) -> bool:
        """Return whether `base_url` is this provider's, apart from trailing slashes and the letter case of the host.

            provider.is_at("https://api.openai.com/v1/")

        Nothing is asked.
        """
        return self.base_url is not None and normal_url(self.base_url) == normal_url(base_url)


def output_seconds(text: str | None) -> int | None:
    """Read for how long files of results are kept, such as `7d`, in seconds. Raises UsageError."""
    number = seconds(text)
    if number is not None and not _SHORTEST <= number <= _LONGEST:
        raise UsageError(f"files of results cannot be kept for {text}", hint="give a time from 1h to 30d")
    return None if number is None else int(number)


def normal_url(url: str) -> str:
    """Return `url` with the host in lower case and without trailing slashes, for comparing."""
    parts = urlsplit(str(url))
    return parts._replace(netloc=parts.netloc.lower(), path=parts.path.rstrip("/")).geturl()
