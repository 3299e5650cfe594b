"""Endpoints: the kinds of requests, the path of each, and which kind a set of parameters is for."""

from __future__ import annotations

import re
from enum import Enum
from typing import TYPE_CHECKING, Any

from openai_batch.errors import InputError, UsageError, did_you_mean

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping


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
    BatchType.RERANK: "/v1/score",  # Parasail accepts both there; other servers have endpoint="/v1/rerank"
    BatchType.TRANSFUSION: "/v1/images/edits",
    BatchType.TRANSCRIPTION: "/v1/audio/transcriptions",
    BatchType.RESPONSES: "/v1/responses",
    BatchType.COMPLETION: "/v1/completions",
    BatchType.MODERATION: "/v1/moderations",
    BatchType.IMAGE_GENERATION: "/v1/images/generations",
}
"""The path of the endpoint for each kind, unless the caller names another one."""

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
"""The name of one request of each kind, for messages."""

_TRANSFUSION_MODEL = "Shitao/OmniGen-v1"
_RESPONSES_ONLY = frozenset(
    [
        *("conversation", "include", "instructions", "max_output_tokens", "max_tool_calls", "previous_response_id"),
        *("reasoning", "text", "tool_choice", "tools", "top_logprobs", "truncation"),
    ]
)
_MODERATION_MODELS = ("omni-moderation-", "text-moderation-")
_KIND_OF_KEY = {
    "input": BatchType.EMBEDDING,
    "messages": BatchType.CHAT_COMPLETION,
    "documents": BatchType.RERANK,
    "text_1": BatchType.SCORE,
    "file": BatchType.TRANSCRIPTION,
}


def path_among(paths: Collection[str], path: str) -> str:
    """Return the one of `paths` that is this endpoint, perhaps of another version such as `/v4/`; `path` if none is."""
    found = (own for own in paths if _without_version(own) == _without_version(path))
    return path if path in paths else next(found, path)


def _without_version(path: str) -> str:
    return re.sub(r"^/v\d+/", "/", path)


def kind_of_endpoint(endpoint: str, params: Mapping[str, Any] | None = None) -> tuple[BatchType, str]:
    """Return the kind and the path of an endpoint, given as a path or without its `/v1/`.

    `/v1/score` accepts both scores and reranks; `params`, if given, decide. A version other than `v1` is kept, since
    some servers have `/v4/…`. Raises UsageError for an endpoint without a known kind.
    """
    path = endpoint if endpoint.startswith("/") else f"/v1/{endpoint}"
    name = re.sub(r"^/v\d+/", "/v1/", path)
    if name == "/v1/rerank" or (name == "/v1/score" and params is not None and "documents" in params):
        return BatchType.RERANK, path
    for kind, known in ENDPOINTS.items():
        if known == name:
            return kind, path
    paths = sorted({*ENDPOINTS.values(), "/v1/rerank"})
    near = did_you_mean(path, paths)
    raise UsageError(
        f"No batch requests are known for the endpoint {endpoint!r}",
        hint=f"{near} known endpoints: {', '.join(paths)}".lstrip(),
    )


def kind_of_keys(params: Mapping[str, Any]) -> BatchType:
    """Return the kind of request that `params` are for, as 0.3.4 decided it. They must have a model.

    Raises InputError if no key tells the kind, or several keys tell different kinds.
    """
    model = params["model"]
    kinds = [kind for key, kind in _KIND_OF_KEY.items() if key in params]
    if model == _TRANSFUSION_MODEL or {"prompt", "size", "image"} <= params.keys():
        kinds.append(BatchType.TRANSFUSION)
    if not kinds:
        ambiguous = "prompt" in params
        raise InputError(
            "Request must include either 'input' for embeddings, 'messages' for chat completions, "
            "'documents' for rerank, or 'text_1' for score; or 'file' for transcriptions"
            + ("; a 'prompt' alone does not say which endpoint it is for" if ambiguous else ""),
            hint='name the endpoint: endpoint="/v1/completions" or endpoint="/v1/images/generations"'
            if ambiguous
            else 'add one of these, or name the endpoint: endpoint="/v1/…"',
        )
    if len(kinds) > 1:
        raise InputError(
            "Request cannot include multiple types of parameters. Use only one of: "
            "'input', 'messages', 'documents', or 'text_1' (or 'file')",
            hint='leave out all but one, or name the endpoint: endpoint="/v1/…"',
        )
    if kinds[0] is BatchType.EMBEDDING:
        if model.startswith(_MODERATION_MODELS):
            return BatchType.MODERATION
        if not _RESPONSES_ONLY.isdisjoint(params):
            return BatchType.RESPONSES
    return kinds[0]
