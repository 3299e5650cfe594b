"""How many requests wait at a model server: vLLM, SGLang and llama.cpp say it at `/metrics`, for Prometheus."""

from __future__ import annotations

import re

_WAITING = re.compile(
    rb"^(?:vllm:num_requests_waiting|sglang:num_queue_reqs|llamacpp:requests_deferred)"
    rb"(\{.*\})?[ \t]+([0-9]+(?:\.[0-9]+)?(?:e[+-]?[0-9]+)?)(?=\s|\Z)",
    re.MULTILINE,
)
_OF_ONE_PRIORITY = re.compile(rb'[{,]priority="[^"]')
"""SGLang may also give the numbers of each priority."""


def queue_length(text: bytes) -> int | None:
    """Return the number of waiting requests, of all engines of the server together; None if it is not in the text."""
    found = [float(value) for labels, value in _WAITING.findall(text) if not _OF_ONE_PRIORITY.search(labels)]
    return int(min(sum(found), 1e9)) if found else None
