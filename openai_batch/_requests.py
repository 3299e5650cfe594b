"""Requests: which endpoint a set of parameters is for, its body, and its line in a batch input file.

Pure: nothing here reads, writes or sends. The caller's objects are never changed.
"""

from __future__ import annotations

import math
import re
from dataclasses import dataclass
from enum import Enum
from typing import TYPE_CHECKING, Any

import msgspec

from .errors import InputError, UsageError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping


class BatchType(Enum):
    """What the requests of a batch ask for."""

    CHAT_COMPLETION = "chat_completion"
    EMBEDDING = "embedding"
    SCORE = "score"
    RERANK = "rerank"
    TRANSFUSION = "transfusion"
    TRANSCRIPTION = "transcription"
    RESPONSES = "responses"
    COMPLETION = "completion"
    MODERATION = "moderation"
    IMAGE_GENERATION = "image_generation"


ENDPOINTS = {
    BatchType.CHAT_COMPLETION: "/v1/chat/completions",
    BatchType.EMBEDDING: "/v1/embeddings",
    BatchType.SCORE: "/v1/score",
    BatchType.RERANK: "/v1/score",  # where Parasail takes both; endpoint="/v1/rerank" for other servers
    BatchType.TRANSFUSION: "/v1/images/edits",
    BatchType.TRANSCRIPTION: "/v1/audio/transcriptions",
    BatchType.RESPONSES: "/v1/responses",
    BatchType.COMPLETION: "/v1/completions",
    BatchType.MODERATION: "/v1/moderations",
    BatchType.IMAGE_GENERATION: "/v1/images/generations",
}
"""The endpoint that each kind is sent to unless another is named."""

NOUNS = {
    BatchType.CHAT_COMPLETION: "chat completion",
    BatchType.EMBEDDING: "embedding",
    BatchType.SCORE: "score request",
    BatchType.RERANK: "rerank request",
    BatchType.TRANSFUSION: "transfusion request",
    BatchType.TRANSCRIPTION: "transcription request",
    BatchType.RESPONSES: "responses request",
    BatchType.COMPLETION: "completion",
    BatchType.MODERATION: "moderation request",
    BatchType.IMAGE_GENERATION: "image generation request",
}
"""What one request of each kind is called in messages."""

_TRANSFUSION_MODEL = "Shitao/OmniGen-v1"
_TRANSFUSION_NEEDS = ("prompt", "size", "image", "response_format")
_RESPONSES_ONLY = frozenset(
    {
        "conversation",
        "include",
        "instructions",
        "max_output_tokens",
        "max_tool_calls",
        "previous_response_id",
        "reasoning",
        "text",
        "tool_choice",
        "tools",
        "top_logprobs",
        "truncation",
    }
)
_MODERATION_MODELS = ("omni-moderation-", "text-moderation-")
_DATA_URL = re.compile(r"data:(?P<mime>[^;,]*)(?:;[^;,]*)*;base64,(?P<data>.*)", re.DOTALL)


@dataclass(frozen=True, slots=True)
class Request:
    """One request without its id: kind, endpoint and body."""

    kind: BatchType
    url: str
    body: dict[str, Any]

    @property
    def model(self) -> str:
        """The model asked for."""
        return str(self.body["model"])


def build_request(params: Mapping[str, Any], endpoint: str | None = None) -> Request:
    """Return the request that `params` describe.

    Without `endpoint` ("/v1/responses", or just "responses") the keys tell the kind, as they did in 0.3.4.
    Raises InputError where they do not, or where something that the kind needs is missing.
    """
    if "model" not in params:
        raise InputError("Model must be specified in arguments", hint='add model="…"')
    if not isinstance(params["model"], str) or not params["model"]:
        raise InputError("The model must be a string that is not empty", hint='add model="…"')
    if params.get("stream"):
        raise InputError("A batch request cannot stream its answer", hint="leave stream out")
    if endpoint is None:
        kind = _kind_of_keys(params)
        url = ENDPOINTS[kind]
    else:
        kind, url = kind_of_endpoint(endpoint, params)
    if kind is BatchType.TRANSFUSION and endpoint is not None:
        return Request(kind, url, dict(params))  # OpenAI's image edits share the path, not the rules
    shape = _SHAPES.get(kind)
    return Request(kind, url, shape(params) if shape else dict(params))


def kind_of_endpoint(endpoint: str, params: Mapping[str, Any] | None = None) -> tuple[BatchType, str]:
    """Return the kind and the path of an endpoint, given as a path or without its `/v1/`.

    `/v1/score` takes both scores and reranks: `params`, where given, tell which. A version other than `v1`
    (some servers have `/v4/…`) is kept. Raises UsageError for an endpoint without a known kind.
    """
    path = endpoint if endpoint.startswith("/") else f"/v1/{endpoint}"
    name = re.sub(r"^/v\d+/", "/v1/", path)
    if name == "/v1/rerank" or (name == "/v1/score" and params is not None and "documents" in params):
        return BatchType.RERANK, path
    for kind, known in ENDPOINTS.items():
        if known == name:
            return kind, path
    names = ", ".join(sorted({*ENDPOINTS.values(), "/v1/rerank"}))
    raise UsageError(f"No batch requests are known for the endpoint {endpoint!r}", hint=f"known endpoints: {names}")


def request_line(custom_id: str, url: str, body: Mapping[str, Any]) -> bytes:
    """Return one line of a batch input file: compact UTF-8 JSON and a newline.

    Raises InputError for what JSON cannot hold: NaN, infinities, lone surrogates, objects of unknown types.
    """
    try:
        line = msgspec.json.encode({"custom_id": custom_id, "method": "POST", "url": url, "body": body})
    except UnicodeEncodeError as exc:
        raise InputError(
            f"{custom_id}: the request holds half of a surrogate pair, which is no character ({exc.reason})",
            hint="it comes from text cut in the middle of a character: mend or replace it",
        ) from None
    except (TypeError, ValueError, OverflowError, RecursionError) as exc:
        raise InputError(
            f"{custom_id}: the request cannot be written as JSON: {exc}",
            hint="use dicts, lists, strings, numbers, True, False and None",
        ) from None
    # msgspec writes NaN and the infinities as null, so only lines with a null need the slow search.
    if b"null" in line and (key := _not_finite(body)) is not None:
        raise InputError(
            f"{custom_id}: {key} is not a finite number, and JSON has no such thing", hint="leave it out or mend it"
        )
    return line + b"\n"


def chat_body(
    prompt: str, model: str, system: str | None = None, params: Mapping[str, Any] | None = None
) -> dict[str, Any]:
    """Return the body of a chat completion of one prompt, after an optional system message."""
    messages = [{"role": "system", "content": system}] if system is not None else []
    return {"model": model, "messages": [*messages, {"role": "user", "content": prompt}], **(params or {})}


def embedding_body(text: str, model: str, params: Mapping[str, Any] | None = None) -> dict[str, Any]:
    """Return the body of an embedding of one text."""
    return {"model": model, "input": text, **(params or {})}


def score_body(text_1: str, text_2: str, model: str, params: Mapping[str, Any] | None = None) -> dict[str, Any]:
    """Return the body that scores `text_2` against `text_1`."""
    return {"model": model, "text_1": text_1, "text_2": text_2, **(params or {})}


def rerank_body(
    query: str, documents: Iterable[str], model: str, params: Mapping[str, Any] | None = None
) -> dict[str, Any]:
    """Return the body that ranks `documents` by how well they answer `query`."""
    return {"model": model, "query": query, "documents": list(documents), **(params or {})}


def _kind_of_keys(params: Mapping[str, Any]) -> BatchType:
    model = params["model"]
    found = [kind for key, kind in _TELLING_KEYS.items() if key in params]
    if model == _TRANSFUSION_MODEL or {"prompt", "size", "image"} <= params.keys():
        found.append(BatchType.TRANSFUSION)
    if not found:
        ambiguous = "prompt" in params
        raise InputError(
            "Request must include either 'input' for embeddings, 'messages' for chat completions, "
            "'documents' for rerank, or 'text_1' for score; or 'file' for transcriptions"
            + ("; a 'prompt' alone does not say which endpoint it is for" if ambiguous else ""),
            hint='name the endpoint: endpoint="/v1/completions" or endpoint="/v1/images/generations"'
            if ambiguous
            else 'or name the endpoint: endpoint="/v1/…"',
        )
    if len(found) > 1:
        raise InputError(
            "Request cannot include multiple types of parameters. Use only one of: "
            "'input', 'messages', 'documents', or 'text_1' (or 'file')",
            hint='or name the endpoint: endpoint="/v1/…"',
        )
    if found[0] is BatchType.EMBEDDING:
        if model.startswith(_MODERATION_MODELS):
            return BatchType.MODERATION
        if not _RESPONSES_ONLY.isdisjoint(params):
            return BatchType.RESPONSES
    return found[0]


_TELLING_KEYS = {
    "input": BatchType.EMBEDDING,
    "messages": BatchType.CHAT_COMPLETION,
    "documents": BatchType.RERANK,
    "text_1": BatchType.SCORE,
    "file": BatchType.TRANSCRIPTION,
}


def _score(params: Mapping[str, Any]) -> dict[str, Any]:
    if "text_2" not in params:
        raise InputError("'text_2' is required for score requests")
    return dict(params)


def _rerank(params: Mapping[str, Any]) -> dict[str, Any]:
    documents = params.get("documents")
    if isinstance(documents, str):
        documents = [documents]
    if not isinstance(documents, list):
        raise InputError("Rerank 'documents' must be a list of strings.")
    if "query" not in params:
        raise InputError("'query' is required for rerank requests")
    return {**params, "documents": documents}


def _transfusion(params: Mapping[str, Any]) -> dict[str, Any]:
    missing = [key for key in _TRANSFUSION_NEEDS if key not in params]
    if missing:
        raise InputError(f"Missing required parameters for transfusion requests: {', '.join(missing)}")
    image = params["image"]
    return {**params, "image": [image] if isinstance(image, str) else image}


def _transcription(params: Mapping[str, Any]) -> dict[str, Any]:
    """Return the body with a data URL taken apart, as Parasail wants it; any other `file` is an id."""
    found = _DATA_URL.fullmatch(params["file"]) if isinstance(params.get("file"), str) else None
    if found is None:
        return dict(params)
    return {**params, "file": found["data"], "file_type": found["mime"] or "application/octet-stream"}


_SHAPES: dict[BatchType, Callable[[Mapping[str, Any]], dict[str, Any]]] = {
    BatchType.SCORE: _score,
    BatchType.RERANK: _rerank,
    BatchType.TRANSFUSION: _transfusion,
    BatchType.TRANSCRIPTION: _transcription,
}


def _not_finite(value: Any, where: str = "body") -> str | None:
    """Return the path of the first float in `value` that is no finite number, or None."""
    if isinstance(value, float):
        return None if math.isfinite(value) else where
    if isinstance(value, dict):
        pairs: Iterable[tuple[Any, Any]] = value.items()
    elif isinstance(value, list | tuple | set | frozenset):
        pairs = enumerate(value)
    else:
        return None
    return next((found for key, item in pairs if (found := _not_finite(item, f"{where}.{key}"))), None)
