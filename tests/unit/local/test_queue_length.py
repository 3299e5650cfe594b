"""The number of waiting requests in the metrics of model servers."""

from __future__ import annotations

import pytest

from openai_batch.local.queue_length import queue_length

VLLM = b"""\
# HELP vllm:num_requests_running Number of requests in model execution batches.
# TYPE vllm:num_requests_running gauge
vllm:num_requests_running{engine="0",model_name="Qwen/Qwen3-8B"} 256.0
vllm:num_requests_running{engine="1",model_name="Qwen/Qwen3-8B"} 250.0
# HELP vllm:num_requests_waiting Number of requests waiting to be processed.
# TYPE vllm:num_requests_waiting gauge
vllm:num_requests_waiting{engine="0",model_name="Qwen/Qwen3-8B"} 40.0
vllm:num_requests_waiting{engine="1",model_name="Qwen/Qwen3-8B"} 2.0
vllm:num_requests_waiting_by_reason{engine="0",model_name="Qwen/Qwen3-8B",reason="capacity"} 40.0
"""
SGLANG = b"""\
# TYPE sglang:num_running_reqs gauge
sglang:num_running_reqs{model_name="meta-llama/Llama-3.1-8B-Instruct"} 162.0
# HELP sglang:num_queue_reqs The number of requests in the waiting queue
# TYPE sglang:num_queue_reqs gauge
sglang:num_queue_reqs{model_name="meta-llama/Llama-3.1-8B-Instruct",priority=""} 2826.0
sglang:num_queue_reqs{model_name="meta-llama/Llama-3.1-8B-Instruct",priority="1"} 2800.0
"""
LLAMACPP = b"llamacpp:requests_processing 4\r\nllamacpp:requests_deferred 3\r\n"


@pytest.mark.parametrize(
    ("text", "waiting"),
    [
        (VLLM, 42),
        (SGLANG, 2826),
        (LLAMACPP, 3),
        (b"vllm:num_requests_waiting 1.2e+03 1395066363000", 1200),
        (b"vllm:num_requests_waiting NaN\n", None),
        (b"vllm:num_requests_waiting -1\n", None),
        (b"# vllm:num_requests_waiting 5\nother:num_requests_waiting 5\n", None),
        (b"vllm:num_requests_waiting 1e999\n", 1_000_000_000),
        (b"<html>vllm</html>", None),
        (b"", None),
        (b"\xff\xfe", None),
    ],
)
def test_queue_length(text: bytes, waiting: int | None) -> None:
    """The number is found under each server's name for it, and under no other name."""
    assert queue_length(text) == waiting
