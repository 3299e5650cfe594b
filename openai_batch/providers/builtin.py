"""The built-in profiles of OpenAI, Parasail and this machine. Those of other vendors are in `profiles/`.

Limits and key variables are from each vendor's documentation as of November 2026. If a limit is unknown or disputed,
the smaller one is used.
"""

from __future__ import annotations

import re

from openai_batch.files.lines import MAX_LINE_BYTES
from openai_batch.requests.limits import MAX_FILE_BYTES

from .keys import OPENAI_KEY, OPENAI_URL
from .provider import LOCAL_URL, Provider

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

# Patterns, not a list of names: new models would be missing from a list, and their prompts go to another vendor.
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
    """Return whether `model` is one of OpenAI's models, or a fine-tune of one (`ft:…`)."""
    return _OPENAI_FAMILIES.match(model) is not None


openai_provider: Provider = Provider(
    name="openai",
    display_name="OpenAI",
    base_url=OPENAI_URL,
    api_key_env_var=OPENAI_KEY,
    default_chat_model="gpt-4o-mini",
    default_embedding_model="text-embedding-3-small",
    requires_consistency=True,
    batch_input_max_bytes=200_000_000,
    endpoints=_OPENAI_ENDPOINTS,
    batch_discount=0.5,
)

parasail_provider: Provider = Provider(
    name="parasail",
    display_name="Parasail",
    base_url="https://api.parasail.io/v1",
    api_key_env_var="PARASAIL_API_KEY",
    default_chat_model="meta-llama/Meta-Llama-3-8B-Instruct",
    default_embedding_model="intfloat/e5-mistral-7b-instruct",
    requires_consistency=False,
    batch_input_max_bytes=500 * 1024 * 1024,
)

local_provider: Provider = Provider(
    name="local",
    display_name="this machine",
    base_url=LOCAL_URL,
    default_chat_model="SmolLM2-135M-Instruct",
    default_embedding_model="SmolLM2-135M-Instruct",
    requires_consistency=False,
    batch_input_max_bytes=MAX_FILE_BYTES,
    batch_input_max_line_bytes=MAX_LINE_BYTES,
    models=("SmolLM2-135M-Instruct", "smollm2-135m-instruct"),
    idempotent_create=True,
)

all_providers: list[Provider] = [openai_provider, parasail_provider]
"""The providers of 0.3.4. A program may add its own, or replace the list `openai_batch.providers.all_providers`."""


BUILT_IN: dict[str, Provider] = {str(p.name): p for p in (openai_provider, parasail_provider, local_provider)}
"""Those by name. Copy one before you change it. The profiles of other vendors are files: see `config.built_in`."""
