"""Provider profiles: where a Batch API is, how its key is found, what it allows. Data, never code.

Limits, windows and key variables of the built-in profiles are those of each vendor's own documentation
as of November 2026; where a figure is disputed or unknown, the safer one stands here.
"""

from __future__ import annotations

import fnmatch
import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, ClassVar
from urllib.parse import urlsplit

from ._check import Limits

if TYPE_CHECKING:
    from openai import OpenAI

LOCAL_URL = "local:"
"""The base URL of the local provider, whose real address is known once its server runs."""

_OPENAI_ENDPOINTS = (
    "/v1/responses",
    "/v1/chat/completions",
    "/v1/embeddings",
    "/v1/completions",
    "/v1/moderations",
    "/v1/images/generations",
    "/v1/images/edits",
    "/v1/videos",
)

# Families rather than a list: a list grows old, and an OpenAI model sent to another vendor is a leak.
_OPENAI_FAMILIES = re.compile(
    r"""(?:ft:)?(?:
        gpt-(?:\d|image|audio|realtime|live|chat)
      | chatgpt- | codex- | computer-use- | o\d+(?:-|:|$)
      | text-embedding-(?:3|ada) | text-moderation- | omni-moderation-
      | text-davinci- | davinci-00 | babbage-00 | dall-e- | sora- | whisper-1$ | tts-1
    )""",
    re.VERBOSE,
)


def is_openai_model(model: str) -> bool:
    """Tell whether `model` is one of OpenAI's own, by its family; fine-tunes (`ft:…`) are included."""
    return _OPENAI_FAMILIES.match(model) is not None


@dataclass
class Provider:
    """A provider of a Batch API.

    The fields up to `requires_consistency` are those of 0.3.4, in its order; sizes are in bytes.

    - `api_key_env_var`: the environment variable that holds the key; `api_key_command`: a command
      (its words) that prints it. A provider with neither needs no key.
    - `requires_consistency`: all requests of one batch must name one model.
    - `models`: patterns (`*` matches anything) of the model names that this profile claims.
    - `status_map`: the provider's own status words, in lower case, to the standard ones.
    - `headers`: extra headers for every request.
    - `create_timeout`, `create_grace`: seconds to wait for the answer to a batch's creation, and to keep
      looking for the batch after an answer that never came.
    - `idempotent_create`: the server promises to create once per `Idempotency-Key`.
    """

    name: str | None = None
    display_name: str | None = None
    base_url: str | None = None

    api_key: str | None = field(default=None, repr=False)
    api_key_env_var: str | None = None

    batch_input_max_requests: int = 50_000
    batch_input_max_bytes: int = 100 * 1024 * 1024

    default_chat_model: str = "meta-llama/Meta-Llama-3-8B-Instruct"
    default_embedding_model: str = "intfloat/e5-mistral-7b-instruct"

    requires_consistency: bool = True

    batch_input_max_line_bytes: int | None = None
    enqueued_tokens: int | None = None
    models: tuple[str, ...] = ()
    endpoints: tuple[str, ...] = ()
    completion_window: str = "24h"
    file_purpose: str = "batch"
    status_map: dict[str, str] = field(default_factory=dict)
    headers: dict[str, str] = field(default_factory=dict)
    api_key_command: tuple[str, ...] = ()
    allow_plain_http: bool = False
    create_timeout: float = 60.0
    create_grace: float = 120.0
    idempotent_create: bool = False

    _client: ClassVar[Any] = None

    def __str__(self) -> str:
        """Return the name for people, or whatever else tells this provider from another."""
        return self.display_name or self.name or self.base_url or "provider"

    def get_client(self) -> OpenAI:
        """Return an `openai.OpenAI` client for this provider, the same one each time.

        The key goes to this provider's host only: `OPENAI_API_KEY` and OpenAI's organisation and project
        headers are never sent to another.

        Raises AuthError if the key is missing.
        """
        if self._client is None:
            from ._api import make_client

            self._client = make_client(self)  # type: ignore[misc] # an attribute of this one instance
        client: OpenAI = self._client
        return client

    def forget_client(self, client: object) -> None:
        """Drop a client that has been closed, so that `get_client` makes another one."""
        if vars(self).get("_client") is client:
            del self._client

    @property
    def is_local(self) -> bool:
        """Whether this is the provider on this machine."""
        return self.base_url == LOCAL_URL

    @property
    def needs_key(self) -> bool:
        """Whether requests carry a key."""
        return not self.is_local and bool(self.api_key or self.api_key_env_var or self.api_key_command)

    @property
    def limits(self) -> Limits:
        """What one batch input file may hold."""
        return Limits(
            max_requests=self.batch_input_max_requests,
            max_bytes=self.batch_input_max_bytes,
            max_line_bytes=self.batch_input_max_line_bytes,
            one_model=self.requires_consistency,
            endpoints=self.endpoints,
        )

    def claims(self, model: str) -> bool:
        """Tell whether one of this profile's patterns matches `model`."""
        return any(fnmatch.fnmatchcase(model, pattern) for pattern in self.models)

    def same_place(self, base_url: str) -> bool:
        """Tell whether `base_url` is this provider's, whatever its letter case and trailing slash."""
        return self.base_url is not None and normal_url(self.base_url) == normal_url(base_url)


def normal_url(url: str) -> str:
    """Return `url` without what makes no difference: letter case of the host, trailing slashes."""
    parts = urlsplit(str(url))
    return parts._replace(netloc=parts.netloc.lower(), path=parts.path.rstrip("/")).geturl()


openai_provider = Provider(
    name="openai",
    display_name="OpenAI",
    base_url="https://api.openai.com/v1",
    api_key_env_var="OPENAI_API_KEY",
    default_chat_model="gpt-4o-mini",
    default_embedding_model="text-embedding-3-small",
    requires_consistency=True,
    batch_input_max_bytes=200_000_000,
    endpoints=_OPENAI_ENDPOINTS,
)

parasail_provider = Provider(
    name="parasail",
    display_name="Parasail",
    base_url="https://api.parasail.io/v1",
    api_key_env_var="PARASAIL_API_KEY",
    default_chat_model="meta-llama/Meta-Llama-3-8B-Instruct",
    default_embedding_model="intfloat/e5-mistral-7b-instruct",
    requires_consistency=False,
    batch_input_max_bytes=500 * 1024 * 1024,
)

local_provider = Provider(
    name="local",
    display_name="this machine",
    base_url=LOCAL_URL,
    default_chat_model="SmolLM2-135M-Instruct",
    default_embedding_model="SmolLM2-135M-Instruct",
    requires_consistency=False,
    batch_input_max_bytes=200_000_000,
    models=("SmolLM2-135M-Instruct", "smollm2-135m-instruct"),
    idempotent_create=True,
)

all_providers = [openai_provider, parasail_provider]
"""The providers of 0.3.4: those that are asked when only a batch id is known."""

_OTHERS = [
    Provider(
        name="groq",
        display_name="Groq",
        base_url="https://api.groq.com/openai/v1",
        api_key_env_var="GROQ_API_KEY",
        default_chat_model="llama-3.1-8b-instant",
        batch_input_max_bytes=100_000_000,
        endpoints=("/v1/chat/completions",),
    ),
    Provider(
        name="nebius",
        display_name="Nebius Token Factory",
        base_url="https://api.tokenfactory.nebius.com/v1",
        api_key_env_var="NEBIUS_API_KEY",
        batch_input_max_requests=5_000_000,
        batch_input_max_bytes=10_000_000_000,
        endpoints=("/v1/chat/completions", "/v1/embeddings"),
    ),
    Provider(
        name="doubleword",
        display_name="Doubleword",
        base_url="https://api.doubleword.ai/v1",
        api_key_env_var="DOUBLEWORD_API_KEY",
        batch_input_max_bytes=200_000_000,
    ),
    Provider(
        name="deepinfra",
        display_name="DeepInfra",
        base_url="https://api.deepinfra.com/v1/openai",
        api_key_env_var="DEEPINFRA_TOKEN",
        batch_input_max_bytes=100_000_000,
        endpoints=("/v1/chat/completions", "/v1/completions", "/v1/embeddings"),
    ),
    Provider(
        name="dashscope",
        display_name="DashScope",
        base_url="https://dashscope-intl.aliyuncs.com/compatible-mode/v1",
        api_key_env_var="DASHSCOPE_API_KEY",
        batch_input_max_bytes=100_000_000,
        batch_input_max_line_bytes=1_000_000,
    ),
    Provider(
        name="cerebras",
        display_name="Cerebras",
        base_url="https://api.cerebras.ai/v1",
        api_key_env_var="CEREBRAS_API_KEY",
        batch_input_max_bytes=200_000_000,
        endpoints=("/v1/chat/completions",),
    ),
]

BUILT_IN: dict[str, Provider] = {str(p.name): p for p in (openai_provider, parasail_provider, local_provider, *_OTHERS)}
"""Every built-in profile by name; never changed, only copied."""
