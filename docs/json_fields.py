"""The types of the keys in the JSON documents (`json_documents.py`), and the keys that several documents have."""

from __future__ import annotations

from typing import Any

Schema = dict[str, Any]
Fields = dict[str, tuple[str | Schema, str]]
"""The keys of an object: their type and their meaning."""

TEXT, NUMBER, FLAG = "string", "integer", "boolean"
TEXT_OR_NULL, NUMBER_OR_NULL = "string or null", "integer or null"
FRACTION_OR_NULL = "number or null"
TEXTS: Schema = {"type": "array", "items": {"type": "string"}}
NUMBERS: Schema = {"type": "object", "additionalProperties": {"type": "integer"}}
TIME = "time in UTC, as in `2026-11-26T12:00:00+00:00`"


def one(name: str) -> Schema:
    """Return the type of a document."""
    return {"$ref": f"#/$defs/{name}"}


def one_or_null(name: str) -> Schema:
    """Return the type of a document that may be missing."""
    return {"anyOf": [one(name), {"type": "null"}]}


def many(name: str) -> Schema:
    """Return the type of an array of documents."""
    return {"type": "array", "items": one(name)}


COUNTS: tuple[Schema, str] = (
    {"type": "object", "keys": {"total": (NUMBER, ""), "completed": (NUMBER, ""), "failed": (NUMBER, "")}},
    "the numbers of requests: `total`, `completed` and `failed`",
)

JOB: Fields = {
    "id": (NUMBER, "the number of the job"),
    "name": (TEXT_OR_NULL, "its name"),
    "provider": (TEXT, "the provider's name"),
    "base_url": (TEXT, "where the provider is"),
    "status": (TEXT, "the status, such as `in_progress` or `completed`"),
    "reason": (TEXT_OR_NULL, "why it was not sent"),
    "ended": (FLAG, "whether nothing more happens at the provider"),
    "endpoint": (TEXT_OR_NULL, "the endpoint of its requests"),
    "model": (TEXT_OR_NULL, "the model, if it is the same for all requests"),
    "window": (TEXT_OR_NULL, "the completion window"),
    "requests": COUNTS,
    "reused": (NUMBER, "rows that were not sent: repeated, or answered before"),
    "answered": (NUMBER_OR_NULL, "the number of requests with an answer, once the results were collected"),
    "parts": (
        {"type": "object", "keys": {"total": (NUMBER, ""), "waiting": (NUMBER, "")}},
        "the numbers of parts: `total`, and those `waiting` to be sent",
    ),
    "batch_ids": (TEXTS, "the ids of its batches"),
    "created_at": (TEXT_OR_NULL, f"when the job was started: {TIME}"),
    "expires_at": (TEXT_OR_NULL, "when the first of its batches expires"),
    "ended_at": (TEXT_OR_NULL, "when its last batch ended"),
    "phases": (
        {
            "type": "object",
            "keys": {
                "in_progress": (TEXT_OR_NULL, ""),
                "finalizing": (TEXT_OR_NULL, ""),
                "cancelling": (TEXT_OR_NULL, ""),
            },
        },
        "when it reached each phase, if known: its last batch for `finalizing`, its first for the others",
    ),
    "files_expire_at": (TEXT_OR_NULL, "when the provider deletes results that were not collected, if it reports this"),
    "deadline_at": (TEXT_OR_NULL, "the time of `--deadline`, while a command waits for the job"),
    "seconds": (FRACTION_OR_NULL, "how long it took, from its first batch to the end of the last"),
    "input": (TEXT_OR_NULL, "the input"),
    "input_sha256": (TEXT_OR_NULL, "the hash of its requests"),
    "output": (TEXT_OR_NULL, "where its results were written last"),
    "usage": ({"type": ["object", "null"]}, "the tokens that the provider counted, by kind"),
    "cost": (one_or_null("cost"), "what it has cost, once results were read"),
    "max_cost_usd": (FRACTION_OR_NULL, "the limit that `--max-cost` set, in USD"),
    "errors": (
        {
            "type": "array",
            "items": {
                "type": "object",
                "keys": {
                    "code": (TEXT_OR_NULL, ""),
                    "message": (TEXT_OR_NULL, ""),
                    "line": (NUMBER_OR_NULL, ""),
                    "param": (TEXT_OR_NULL, ""),
                },
            },
        },
        "the provider's errors of whole batches: `code`, `message`, `line` and `param`",
    ),
    "metadata": ({"type": "object", "additionalProperties": {"type": "string"}}, "the metadata that was given"),
}

RESULTS: Fields = {
    "path": (TEXT_OR_NULL, "the file with the results"),
    "requests": (NUMBER, "the number of requests"),
    "answered": (NUMBER, "how many have an answer: succeeded, refused or cut"),
    "succeeded": (NUMBER, "how many succeeded"),
    "refused": (NUMBER, "how many the model declined"),
    "cut": (NUMBER, "how many answers end early"),
    "failed": (NUMBER, "how many failed"),
    "missing": (NUMBER, "how many have no result"),
    "unreadable": (NUMBER, "result lines that cannot be read"),
    "missing_sample": (TEXTS, "the first ids without a result"),
    "causes": (NUMBERS, "the number of failed requests by cause"),
    "failures": (many("cause"), "why requests did not succeed, the most common first"),
    "usage": (NUMBERS, "the tokens that were used, by kind"),
}

MODEL_COST: Fields = {
    "model": (TEXT, "the model"),
    "results": (NUMBER, "the number of results"),
    "not_counted": (NUMBER, "results without a count of tokens"),
    "input_tokens": (NUMBER, "the tokens of the prompts"),
    "cached_input_tokens": (NUMBER, "how many of these were cached"),
    "output_tokens": (NUMBER, "the tokens of the answers"),
    "reasoning_tokens": (NUMBER, "how many of these were reasoning"),
    "usd": (FRACTION_OR_NULL, "the cost in USD"),
    "usd_saved": (FRACTION_OR_NULL, "how much less that is than without a batch"),
    "prices": (TEXT_OR_NULL, "where the prices are from"),
}

MODEL_ESTIMATE: Fields = {
    "model": (TEXT, "the model"),
    "requests": (NUMBER, "the number of requests"),
    "input_tokens": (NUMBER, "about how many tokens the prompts have"),
    "input_tokens_at_most": (NUMBER, "the most that they can have"),
    "tokenizer": (TEXT_OR_NULL, "what counted them; null for an estimate by size"),
    "output_tokens": (NUMBER_OR_NULL, "about how many tokens the answers will have"),
    "output_tokens_at_most": (NUMBER_OR_NULL, "the most that they can have; null without a limit"),
    "output_guessed": (FLAG, "whether `output_tokens` is a guess by earlier jobs"),
    "requests_without_limit": (NUMBER, "requests whose answer has no limit of tokens"),
    "requests_not_counted": (NUMBER, "requests with images, files or tools, whose cost is not known before"),
    "price": (one_or_null("price"), "the price in a batch"),
    "usd": (FRACTION_OR_NULL, "about what they cost, in USD"),
    "usd_at_most": (FRACTION_OR_NULL, "the most that they can cost"),
    "usd_saved": (FRACTION_OR_NULL, "how much less that is than without a batch"),
}

ENDED: Fields = {
    "requests": (NUMBER, "the number of requests"),
    "answered": (NUMBER, "how many have an answer: succeeded, refused or cut"),
    "outcomes": (NUMBERS, "the number by outcome: `success`, `cut`, `refused`, `error` and `missing`"),
    "causes": (many("cause"), "why requests did not succeed, the most common first"),
    "unreadable": (NUMBER, "lines that are not results"),
    "finish_reasons": (NUMBERS, "the number of answers by reason for their end"),
    "models": (NUMBERS, "the number of answers by model"),
    "prompt_tokens": (one_or_null("numbers"), "the tokens of each prompt"),
    "completion_tokens": (one_or_null("numbers"), "the tokens of each answer"),
    "characters": (one_or_null("numbers"), "the characters of each answer"),
    "answered_after_seconds": (one_or_null("numbers"), "the seconds from the start to each answer, if they are known"),
}

FILE: Fields = {
    "file": (TEXT, "the file"),
    "kind": (TEXT, "`requests` or `results`"),
    "bytes": (NUMBER, "its size, unpacked"),
    "requests": (NUMBER, "the number of requests or results"),
    "repeated_ids": (NUMBER, "lines with an id that an earlier line has"),
    "models": (NUMBERS, "the number of lines by model"),
    "line_bytes": (one_or_null("numbers"), "the bytes of each line"),
}

CHECK: Fields = {
    "file": (TEXT, "the file"),
    "provider": (TEXT, "the provider whose limits were used"),
    "ok": (FLAG, "whether it can be sent"),
    "requests": (NUMBER, "the number of requests"),
    "bytes": (NUMBER, "its size"),
    "endpoint": (TEXT_OR_NULL, "the endpoint of its requests"),
    "models": (TEXTS, "the models"),
    "problem_count": (NUMBER, "the number of all problems"),
    "problems": (
        {
            "type": "array",
            "items": {
                "type": "object",
                "keys": {
                    "line": (NUMBER_OR_NULL, ""),
                    "code": (TEXT, ""),
                    "message": (TEXT, ""),
                    "param": (TEXT_OR_NULL, ""),
                    "remedy": (TEXT_OR_NULL, ""),
                    "warning": (FLAG, ""),
                },
            },
        },
        "the first problems: `line`, `code`, `message`, `param`, `remedy`, and whether it is only a `warning`",
    ),
}

PROVIDER: Fields = {
    "name": (TEXT, "its name"),
    "display_name": (TEXT_OR_NULL, "its name in messages"),
    "base_url": (TEXT_OR_NULL, "where it is"),
    "key": (TEXT, "whether its key is set, in words"),
    "api_key_env": (TEXT_OR_NULL, "the environment variable of its key"),
    "max_requests": (NUMBER_OR_NULL, "most requests in a file"),
    "max_bytes": (NUMBER_OR_NULL, "most bytes of a file"),
    "models": (TEXTS, "patterns of the models that it serves"),
    "endpoints": (TEXTS, "the endpoints that it accepts; empty if unknown"),
    "origin": (TEXT, "`built in` or `configuration`"),
}
