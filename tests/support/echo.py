"""An OpenAI-like upstream for tests, run in its own process: `python echo.py [--key KEY] [--port N] …`.

It prints its base URL, and answers until it is killed or its stdin closes. The text of a request may have directives:

    !status=429,2    fail the first two calls of this text with 429 (and Retry-After 0), then answer
    !status=400      fail every call of this text with 400
    !sleep=1.5       answer after 1.5 seconds
    !drop=1          close the connection without an answer, once
    !later=3600      fail the first call of this text with 429 and this Retry-After, then answer
    !raw=html,1      answer the first call of this text with this body of RAW; without a number every call
    !pretty          answer with JSON over several lines

`--always DIRECTIVES` adds directives to every text. `--metrics NAME` shows the number of waiting requests with that
name at /metrics; POST /_queue sets it to the number in its body.

GET /_calls gives the number of calls of each text, the number of calls in progress, the largest number of these, and
the Authorization headers received. POST /_models adds the model that the body names.
"""

from __future__ import annotations

import argparse
import asyncio
import base64
import hashlib
import json
import re
import sys
from collections import Counter
from typing import Any

from aiohttp import web

MODELS = ["echo-1", "echo-embed", "llama:latest"]
_DIRECTIVE = re.compile(r"!(status|sleep|drop|later|raw|pretty)(?:=([0-9a-z.]+))?(?:,([0-9]+))?")
RAW = {
    "empty": b"",
    "html": b"<html>busy</html>",
    "text": b'plain "text"\n',
    "events": b'data: {"choices":[]}\n\n',
    "string": b'"{}"',
    "array": b"[{}]",
    "null": b"null",
    "cut": b'{"choices":[{"message"',
    "bytes": b'{"a":"\xff"}',
    "nan": b'{"choices":[],\n"score":NaN,"usage":{"prompt_tokens":7,"total_tokens":7}}',
    "half": b'{"choices":[],\n"text":"\\ud83d"}',
    "bom": b'\xef\xbb\xbf{"choices":[]}',
}
METRICS = """\
# HELP python_gc_objects_collected_total Objects collected during gc
# TYPE python_gc_objects_collected_total counter
python_gc_objects_collected_total{generation="0"} 9821.0
# HELP vllm:num_requests_running Number of requests in model execution batches.
# TYPE vllm:num_requests_running gauge
vllm:num_requests_running{engine="0",model_name="Qwen/Qwen3-8B"} 256.0
# HELP NAME Number of requests waiting to be processed.
# TYPE NAME gauge
NAME{engine="0",model_name="Qwen/Qwen3-8B"} VALUE
# HELP vllm:kv_cache_usage_perc KV-cache usage. 1 means 100 percent usage.
# TYPE vllm:kv_cache_usage_perc gauge
vllm:kv_cache_usage_perc{engine="0",model_name="Qwen/Qwen3-8B"} 0.98
"""
_PIXEL = base64.b64encode(b"\x89PNG\r\n\x1a\n").decode()


class Echo:
    """The handlers, and their counts."""

    def __init__(self, options: argparse.Namespace) -> None:
        self.key: str | None = options.key
        self.models: list[str] | None = None if options.no_models else options.models
        self.owner: str = options.owner
        self.always: str = options.always
        self.metrics: str | None = options.metrics
        self.queue = 0
        self.calls: Counter[str] = Counter()
        self.keys: set[str] = set()
        self.now = self.most = 0

    async def list_models(self, request: web.Request) -> web.Response:
        """List the models, if this upstream has a list."""
        self._check(request)
        if self.models is None:
            raise web.HTTPNotFound
        data = [{"id": name, "object": "model", "created": 0, "owned_by": self.owner} for name in self.models]
        return web.json_response({"object": "list", "data": data})

    async def add_model(self, request: web.Request) -> web.Response:
        """Add a model to the list."""
        self.models = [*(self.models or ()), await request.text()]
        return web.Response()

    async def show_calls(self, _request: web.Request) -> web.Response:
        """Return the counts of the calls."""
        found = {"calls": self.calls, "now": self.now, "most": self.most, "keys": sorted(self.keys)}
        return web.json_response(found)

    async def show_metrics(self, request: web.Request) -> web.Response:
        """Return the number of waiting requests, like a model server."""
        self._check(request)
        if self.metrics is None:
            raise web.HTTPNotFound
        return web.Response(text=METRICS.replace("NAME", self.metrics).replace("VALUE", f"{self.queue}.0"))

    async def set_queue(self, request: web.Request) -> web.Response:
        """Set the number of waiting requests."""
        self.queue = int(await request.text())
        return web.Response()

    async def answer(self, request: web.Request) -> web.StreamResponse:
        """Answer one request of any kind, with the effects of its directives."""
        self._check(request)
        if request.content_type == "multipart/form-data":
            await request.read()
            return web.json_response({"text": "echo: audio"})
        body = json.loads(await request.read())
        text = _text_of(body)
        self.calls[text] += 1
        self.now += 1
        self.most = max(self.most, self.now)
        try:
            if "!" in text + self.always and (early := await self._directed(request, text)) is not None:
                return early
        finally:
            self.now -= 1
        if request.path.endswith("/audio/speech"):
            return web.Response(body=b"RIFF", content_type="audio/wav")
        if body.get("stream"):
            return await _streamed(request, text)
        content = _content(request.path, body, text)
        indent = 2 if "!pretty" in text else None
        return web.Response(
            text=json.dumps(content, indent=indent),
            content_type="application/json",
            headers={"x-request-id": f"req_{self.calls[text]}"},
        )

    def _check(self, request: web.Request) -> None:
        self.keys.add(request.headers.get("authorization", ""))
        if self.key is not None and request.headers.get("authorization") != f"Bearer {self.key}":
            raise web.HTTPUnauthorized(text=_error("wrong key"), content_type="application/json")

    async def _directed(self, request: web.Request, text: str) -> web.Response | None:
        for name, value, times in _DIRECTIVE.findall(text + self.always):
            count = self.calls[text]
            if name == "sleep":
                await asyncio.sleep(float(value))
            elif name == "raw" and (not times or count <= int(times)):
                return web.Response(body=RAW[value], content_type="application/json")
            elif name == "later" and count == 1:
                return web.Response(status=429, text=_error("later"), headers={"Retry-After": value})
            elif name == "drop" and count <= float(value or 1):
                assert request.transport is not None
                request.transport.abort()
                return web.Response()
            elif name == "status" and (not times or count <= int(times)):
                headers = {"Retry-After": "0"} if times else {}
                return web.Response(
                    status=int(float(value)),
                    text=_error(f"asked to fail with {value}"),
                    content_type="application/json",
                    headers=headers,
                )
        return None


def _error(message: str) -> str:
    return json.dumps({"error": {"message": message, "type": "echo_error", "param": None, "code": None}})


def _text_of(body: dict[str, Any]) -> str:
    """Return the last text of a request."""
    value: Any = body.get("input", body.get("prompt", body.get("query", body.get("text_1", ""))))
    if body.get("messages"):
        value = body["messages"][-1].get("content", "")
    while isinstance(value, list) and value:
        last = value[-1]
        value = last.get("text", last.get("content", "")) if isinstance(last, dict) else last
    return str(value)


def _vector(text: str) -> list[float]:
    return [byte / 255 for byte in hashlib.sha256(text.encode()).digest()[:8]]


def _choice_of(body: dict[str, Any]) -> str:
    """Return the first value of each field, as JSON, if the schema has only enums; else an empty text."""
    asked = body.get("response_format")
    schema = asked.get("json_schema", {}).get("schema") if isinstance(asked, dict) else None
    fields = schema.get("properties", {}) if isinstance(schema, dict) else {}
    if not fields or not all(isinstance(field, dict) and field.get("enum") for field in fields.values()):
        return ""
    return json.dumps({name: field["enum"][0] for name, field in fields.items()})


def _content(path: str, body: dict[str, Any], text: str) -> dict[str, Any]:
    """Return the answer of the endpoint `path`."""
    model = body.get("model", MODELS[0])
    reply = _choice_of(body) or f"echo: {text}"
    given, made = len(text.split()), len(reply.split())
    usage = {"prompt_tokens": given, "completion_tokens": made, "total_tokens": given + made}
    if path.endswith("/chat/completions"):
        choice = {"index": 0, "message": {"role": "assistant", "content": reply}, "finish_reason": "stop"}
        head = {"id": "chatcmpl-echo", "object": "chat.completion", "created": 0, "model": model}
        return {**head, "choices": [choice], "usage": usage}
    if path.endswith("/completions"):
        choice = {"index": 0, "text": reply, "finish_reason": "stop", "logprobs": None}
        head = {"id": "cmpl-echo", "object": "text_completion", "created": 0, "model": model}
        return {**head, "choices": [choice], "usage": usage}
    if path.endswith("/embeddings"):
        values = body["input"] if isinstance(body["input"], list) else [body["input"]]
        data = [{"object": "embedding", "index": i, "embedding": _vector(str(v))} for i, v in enumerate(values)]
        counts = {"prompt_tokens": given, "total_tokens": given}
        return {"object": "list", "model": model, "data": data, "usage": counts}
    if path.endswith("/responses"):
        part = {"type": "output_text", "text": reply, "annotations": []}
        item = {"type": "message", "id": "msg_echo", "role": "assistant", "status": "completed", "content": [part]}
        tokens = {
            "input_tokens": given,
            "input_tokens_details": {"cached_tokens": 1},
            "output_tokens": made,
            "output_tokens_details": {"reasoning_tokens": 1},
            "total_tokens": given + made,
        }
        head = {"id": "resp_echo", "object": "response", "created_at": 0, "model": model, "status": "completed"}
        return {**head, "output": [item], "usage": tokens}
    if path.endswith("/moderations"):
        result = {"flagged": "bad" in text, "categories": {}, "category_scores": {}}
        return {"id": "modr-echo", "model": model, "results": [result]}
    if path.endswith("/score"):
        others = body.get("text_2", [])
        others = others if isinstance(others, list) else [others]
        data = [{"index": i, "object": "score", "score": _vector(text + str(o))[0]} for i, o in enumerate(others)]
        return {"id": "score-echo", "object": "list", "model": model, "data": data, "usage": usage}
    if path.endswith("/rerank"):
        documents = body.get("documents", [])
        scored = [{"index": i, "relevance_score": _vector(text + str(d))[0]} for i, d in enumerate(documents)]
        results = sorted(scored, key=lambda item: item["relevance_score"], reverse=True)
        return {"id": "rerank-echo", "model": model, "results": results, "usage": usage}
    return {"created": 0, "data": [{"b64_json": _PIXEL}]}


async def _streamed(request: web.Request, text: str) -> web.StreamResponse:
    """Answer a chat as a stream."""
    response = web.StreamResponse(headers={"Content-Type": "text/event-stream"})
    await response.prepare(request)
    for piece in ("echo: ", text):
        chunk = {
            "id": "chatcmpl-echo",
            "object": "chat.completion.chunk",
            "created": 0,
            "model": MODELS[0],
            "choices": [{"index": 0, "delta": {"content": piece}, "finish_reason": None}],
        }
        await response.write(f"data: {json.dumps(chunk)}\n\n".encode())
    await response.write(b"data: [DONE]\n\n")
    return response


async def main() -> None:
    """Serve until stdin closes, so that no echo runs longer than its test."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--key")
    parser.add_argument("--port", type=int, default=0)
    parser.add_argument("--no-models", action="store_true")
    parser.add_argument("--models", nargs="+", default=MODELS)
    parser.add_argument("--owner", default="echo")
    parser.add_argument("--always", default="")
    parser.add_argument("--metrics")
    options = parser.parse_args()
    echo = Echo(options)
    app = web.Application(client_max_size=64 << 20)
    app.router.add_get("/v1/models", echo.list_models)
    app.router.add_get("/_calls", echo.show_calls)
    app.router.add_get("/metrics", echo.show_metrics)
    app.router.add_post("/_queue", echo.set_queue)
    app.router.add_post("/_models", echo.add_model)
    app.router.add_post("/v1/{path:.*}", echo.answer)
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", options.port)
    await site.start()
    print(f"http://127.0.0.1:{runner.addresses[0][1]}/v1", flush=True)
    await asyncio.to_thread(sys.stdin.read)


if __name__ == "__main__":
    asyncio.run(main())
