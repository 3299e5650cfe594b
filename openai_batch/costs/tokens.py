"""Count the tokens of requests before they are sent: with the model's tokenizer if it is on this machine, or estimated.

How a provider makes tokens of a chat is not public, so even a count is close rather than exact. Only the maximum is
certain: text has at most one token for each byte.
"""

from __future__ import annotations

import functools
import hashlib
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import msgspec

from openai_batch.files import paths

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from pathlib import Path

BYTES_PER_TOKEN = 4  # a rough value for English text; other languages and code have fewer
_ANSWER_START = 3  # tokens that a chat has besides its messages

_MAX_OUTPUT = {
    "/v1/chat/completions": ("max_completion_tokens", "max_tokens"),
    "/v1/completions": ("max_tokens",),
    "/v1/responses": ("max_output_tokens",),
}
"""By endpoint, the parameters that limit the tokens of an answer. Other endpoints make no output tokens, or unknown."""

_MOST = 10**12  # a number of tokens or answers that is larger than any model can make: it is no limit

_NO_OUTPUT = frozenset({"/v1/embeddings", "/v1/moderations", "/v1/score", "/v1/rerank"})
_NO_TEXT = frozenset({"model", "metadata", "user"})
"""Parameters that are not input of the model."""

_MORE = ("previous_response_id", "conversation", "audio", "web_search_options")
"""Parameters that have a cost besides the text of the request."""

_MEDIA = frozenset({"image_url", "input_image", "input_audio", "file", "input_file", "video_url", "audio_url"})
"""Types of content whose tokens are not those of its text."""

_OWN_TOOLS = frozenset({"function", "custom"})  # types of tools that cost nothing themselves


@dataclass(slots=True)
class RequestTokens:
    """The tokens of the requests for one model."""

    requests: int = 0
    """The number of requests."""
    input: int = 0
    """The input tokens, counted or estimated."""
    input_at_most: int = 0
    """The most input tokens that they can be."""
    output_at_most: int = 0
    """The most output tokens of the requests that limit them."""
    unlimited: int = 0
    """The number of requests that do not limit their output tokens."""
    uncounted: int = 0
    """The number of requests with input that is not counted: images, sound, files, hosted tools, earlier answers."""
    longest: int = 0
    """The most input tokens that one request can have."""
    tokenizer: str | None = None
    """The tokenizer that counted the input; None if it was estimated from its length."""


class _Request(msgspec.Struct):
    url: str
    body: dict[str, Any]


_decode = msgspec.json.Decoder(_Request).decode


def count_tokens(lines: Iterable[bytes]) -> dict[str, RequestTokens]:
    """Return the tokens of checked request lines by model; "" stands for requests that name none."""
    found: dict[str, RequestTokens] = {}
    for line in lines:
        request = _decode(line)
        model = request.body.get("model") or ""
        tokens = found.get(model)
        if tokens is None:
            tokens = found[model] = RequestTokens()
        _add(tokens, request, tokenizer_of(model))
    return found


def _add(tokens: RequestTokens, request: _Request, tokenizer: Tokenizer | None) -> None:
    body = request.body
    texts: list[str] = []
    counted = _gather({key: value for key, value in body.items() if key not in _NO_TEXT}.values(), texts)
    whole = counted is not None and not _has_more(body)
    size = sum(len(text.encode("utf-8", "surrogatepass")) for text in texts)
    fixed = (counted or 0) + _ANSWER_START
    tokens.requests += 1
    if tokenizer is None:
        tokens.input += -(-size // BYTES_PER_TOKEN) + fixed
    else:
        tokens.tokenizer = tokenizer.name
        tokens.input += sum(map(tokenizer.count, texts)) + fixed
    tokens.input_at_most += size + fixed
    tokens.longest = max(tokens.longest, size + fixed)
    tokens.uncounted += not whole
    limit = _output_limit(request.url, body)
    if limit is None:
        tokens.unlimited += 1
    else:
        tokens.output_at_most += limit


def _gather(values: Iterable[Any], texts: list[str]) -> int | None:
    """Add the texts in JSON values to `texts`, with keys and what a schema has; return how many tokens lists have.

    A list of numbers is an input that is tokens already. Returns None if there is content that is no text.
    """
    numbers, media = 0, False
    stack = [value for value in values if isinstance(value, str | list | dict)]  # others are settings
    while stack:
        value = stack.pop()
        if isinstance(value, str):
            texts.append(value)
        elif isinstance(value, list):
            rest = [item for item in value if type(item) is not int]
            numbers += len(value) - len(rest)
            stack += rest
        elif isinstance(value, dict):
            kind = value.get("type")
            if isinstance(kind, str) and kind in _MEDIA:
                media = True
                continue
            texts += value
            stack += value.values()
        else:
            texts.append(str(value))
    return None if media else numbers


def _has_more(body: dict[str, Any]) -> bool:
    """Return whether a request has a cost besides its text: tools of the provider, or input that is stored there."""
    tools = body.get("tools")
    if isinstance(tools, list) and any(
        not isinstance(tool, dict) or tool.get("type", "function") not in _OWN_TOOLS for tool in tools
    ):
        return True
    return isinstance(body.get("prompt"), dict) or any(body.get(key) for key in _MORE)


def _output_limit(url: str, body: dict[str, Any]) -> int | None:
    """Return the most output tokens of a request, or None if nothing limits them.

    A value that is not a number is no limit: some servers read "5" as 5.
    """
    if url in _NO_OUTPUT:
        return 0
    limits: list[int] = [value for key in _MAX_OUTPUT.get(url, ()) if (value := body.get(key)) is not None]
    choices: list[int] = [value for key in ("n", "best_of") if (value := body.get(key)) is not None]
    if not limits or not all(type(value) is int and 0 <= value < _MOST for value in (*limits, *choices)):
        return None
    prompt = body.get("prompt")
    prompts = len(prompt) if isinstance(prompt, list) and prompt and not isinstance(prompt[0], int) else 1
    return max(limits) * max([1, *choices]) * prompts


@dataclass(frozen=True, slots=True)
class Tokenizer:
    """A model's tokenizer."""

    name: str  # its name, for people
    count: Callable[[str], int]  # returns how many tokens a text has


@functools.lru_cache(maxsize=256)
def tokenizer_of(model: str) -> Tokenizer | None:
    """Return the tokenizer of a model if tiktoken is installed and has the encoding on this machine, else None.

    Nothing is downloaded.
    """
    try:
        import tiktoken
    except ImportError:
        return None
    try:
        name = tiktoken.encoding_name_for_model(model)
    except KeyError:
        return None
    kept = _cached(name)
    if kept is None or not kept.exists():
        return None
    encoding = tiktoken.get_encoding(name)
    return Tokenizer(f"tiktoken {name}", lambda text: len(encoding.encode_ordinary(text)))


def _cached(encoding: str) -> Path | None:
    """Return where tiktoken keeps an encoding after it has downloaded it; None if it keeps none."""
    source = "o200k_base" if encoding == "o200k_harmony" else encoding
    url = f"https://openaipublic.blob.core.windows.net/encodings/{source}.tiktoken"
    folder = paths.tiktoken_folder()
    return None if folder is None else folder / hashlib.sha1(url.encode(), usedforsecurity=False).hexdigest()
