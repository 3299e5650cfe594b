"""Refuse what the embedded engine cannot do: it ignores unknown parameters, and answers anyway."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

import msgspec

from .api_objects import Refused

if TYPE_CHECKING:
    from collections.abc import Iterator

_HARMLESS = {
    *("model", "stream", "stream_options", "user", "metadata", "store", "service_tier", "safety_identifier"),
    *("prompt_cache_key", "prompt_cache_retention", "prediction", "parallel_tool_calls", "encoding_format"),
}
"""Parameters that change no answer here, or that the server handles."""

_SAMPLING = {
    *("temperature", "top_p", "top_k", "min_p", "typical_p", "top_n_sigma", "seed", "stop", "samplers", "logit_bias"),
    *("presence_penalty", "frequency_penalty", "repeat_penalty", "repeat_last_n", "ignore_eos", "cache_prompt"),
    *("xtc_probability", "xtc_threshold", "dynatemp_range", "dynatemp_exponent", "adaptive_target", "adaptive_decay"),
    *("dry_multiplier", "dry_base", "dry_allowed_length", "dry_penalty_last_n", "dry_sequence_breakers"),
    *("mirostat", "mirostat_tau", "mirostat_eta", "min_keep", "n_keep", "n_discard", "grammar", "json_schema"),
    *("max_tokens", "max_completion_tokens", "n_predict", "timings_per_token", "return_tokens"),
}
"""Parameters of llama.cpp for everything that writes text."""

_TEMPLATE = {"chat_template_kwargs", "reasoning_format", "add_generation_prompt", "continue_final_message"}

_HONOURED = {
    "/v1/chat/completions": {"messages", "response_format", "logprobs", "top_logprobs", *_SAMPLING, *_TEMPLATE},
    "/v1/completions": {"prompt", "n_probs", "post_sampling_probs", *_SAMPLING},
    "/v1/embeddings": {"input", "embd_normalize"},
    "/v1/responses": {"input", "instructions", "max_output_tokens", "response_format", *_SAMPLING, *_TEMPLATE},
}
"""The parameters of each endpoint that change its answers."""

_ASKS_FOR_NOTHING: dict[str, tuple[Any, ...]] = {
    **dict.fromkeys(("n", "best_of"), (1,)),
    **dict.fromkeys(("echo", "logprobs", "background"), (False,)),
    **dict.fromkeys(("tools", "functions", "include", "context_management"), ([],)),
    **dict.fromkeys(("tool_choice", "function_call"), ("none", "auto")),
    **dict.fromkeys(("text", "reasoning"), ({}, {"format": {"type": "text"}})),
    "modalities": (["text"],),
    "response_format": ({"type": "text"},),
    "suffix": ("",),
    "top_logprobs": (0,),
    "truncation": ("disabled",),
}
"""Values with which a parameter has no effect; null is one for all of them."""

_TOO_LONG = re.compile(rb"input \((\d+) tokens\) is too large to process.*current batch size: (\d+)", re.DOTALL)
"""What the engine says, as a server error, of an input that is longer than its context."""

_TEXT_PARTS = {"text", "input_text", "output_text", "refusal"}


def check_request(endpoint: str, body: bytes) -> None:
    """Raise Refused for a request of which the engine would ignore a part.

    Values of the wrong type are left to the engine, which refuses them.
    """
    try:
        request = msgspec.json.decode(body, type=dict[str, Any])
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        return
    honoured = _HARMLESS | _HONOURED[endpoint]
    for name, value in request.items():
        if name not in honoured and value is not None and value not in _ASKS_FOR_NOTHING.get(name, ()):
            raise _refused(name, f"the embedded engine cannot do what {name} asks for")
    if endpoint in {"/v1/chat/completions", "/v1/responses"}:
        name = "messages" if "messages" in request else "input"
        for kind in _kinds(request.get(name)):
            raise _refused(name, f"the embedded engine takes only text, not {kind}")


def check_failure(body: bytes) -> None:
    """Raise Refused if the engine's error is that the input is too long: it calls that an error of the server."""
    if found := _TOO_LONG.search(body):
        tokens, most = (int(number) for number in found.groups())
        message = f"the input has {tokens:,} tokens, and the embedded engine takes {most:,} (context in the profile)"
        raise Refused(400, message, code="context_length_exceeded", param="input")


def _kinds(messages: Any) -> Iterator[str]:
    """Yield the kinds of everything in a conversation that is not text."""
    for item in _objects(messages):
        if item.get("type", "message") != "message":
            yield str(item["type"])
        if item.get("role") in {"tool", "function"}:
            yield f"the role {item['role']}"
        yield from (name for name in ("tool_calls", "function_call", "audio") if item.get(name))
        yield from (str(p.get("type")) for p in _objects(item.get("content")) if p.get("type") not in _TEXT_PARTS)


def _objects(value: Any) -> Iterator[dict[str, Any]]:
    yield from (item for item in value if isinstance(item, dict)) if isinstance(value, list) else ()


def _refused(name: str, message: str) -> Refused:
    return Refused(400, message, code="unsupported_parameter", param=name)
