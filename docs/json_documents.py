"""The JSON documents of the commands, as JSON schemas. `make_reference.py` writes their page and a file from them.

`tests/acceptance/test_json.py` checks what each command prints against its document: a key that is missing here fails.
"""

from __future__ import annotations

from typing import Any

Schema = dict[str, Any]
Fields = dict[str, tuple[str | Schema, str]]
"""The keys of an object: their type and their meaning."""

_TEXT, _NUMBER, _FLAG = "string", "integer", "boolean"
_TEXT_OR_NULL, _NUMBER_OR_NULL = "string or null", "integer or null"
_FRACTION_OR_NULL = "number or null"
_TEXTS: Schema = {"type": "array", "items": {"type": "string"}}
_NUMBERS: Schema = {"type": "object", "additionalProperties": {"type": "integer"}}
_TIME = "time in UTC, as in `2026-11-26T12:00:00+00:00`"


def _one(name: str) -> Schema:
    """Return the type of a value that is a document."""
    return {"$ref": f"#/$defs/{name}"}


def _one_or_null(name: str) -> Schema:
    return {"anyOf": [_one(name), {"type": "null"}]}


def _many(name: str) -> Schema:
    """Return the type of an array of documents."""
    return {"type": "array", "items": _one(name)}


_JOB: Fields = {
    "id": (_NUMBER, "the number of the job"),
    "name": (_TEXT_OR_NULL, "its name"),
    "provider": (_TEXT, "the provider's name"),
    "base_url": (_TEXT, "where the provider is"),
    "status": (_TEXT, "the status, such as `in_progress` or `completed`"),
    "reason": (_TEXT_OR_NULL, "why it was not sent"),
    "ended": (_FLAG, "whether nothing more happens at the provider"),
    "endpoint": (_TEXT_OR_NULL, "the endpoint of its requests"),
    "model": (_TEXT_OR_NULL, "the model, if it is the same for all requests"),
    "window": (_TEXT_OR_NULL, "the completion window"),
    "requests": (
        {"type": "object", "keys": {"total": (_NUMBER, ""), "completed": (_NUMBER, ""), "failed": (_NUMBER, "")}},
        "the numbers of requests: `total`, `completed` and `failed`",
    ),
    "reused": (_NUMBER, "rows that were not sent: repeated, or answered before"),
    "answered": (_NUMBER_OR_NULL, "the number of requests with an answer, once the results were collected"),
    "parts": (
        {"type": "object", "keys": {"total": (_NUMBER, ""), "waiting": (_NUMBER, "")}},
        "the numbers of parts: `total`, and those `waiting` to be sent",
    ),
    "batch_ids": (_TEXTS, "the ids of its batches"),
    "created_at": (_TEXT_OR_NULL, f"when the job was started: {_TIME}"),
    "expires_at": (_TEXT_OR_NULL, "the deadline of its batches"),
    "ended_at": (_TEXT_OR_NULL, "when its last batch ended"),
    "seconds": (_FRACTION_OR_NULL, "how long it took, from its first batch to the end of the last"),
    "input": (_TEXT_OR_NULL, "the input"),
    "input_sha256": (_TEXT_OR_NULL, "the hash of its requests"),
    "output": (_TEXT_OR_NULL, "where its results were written last"),
    "usage": ({"type": ["object", "null"]}, "the tokens that the provider counted, by kind"),
    "cost": (_one_or_null("cost"), "what it has cost, once results were read"),
    "max_cost_usd": (_FRACTION_OR_NULL, "the limit that `--max-cost` set, in USD"),
    "errors": (
        {
            "type": "array",
            "items": {
                "type": "object",
                "keys": {
                    "code": (_TEXT_OR_NULL, ""),
                    "message": (_TEXT_OR_NULL, ""),
                    "line": (_NUMBER_OR_NULL, ""),
                    "param": (_TEXT_OR_NULL, ""),
                },
            },
        },
        "the provider's errors of whole batches: `code`, `message`, `line` and `param`",
    ),
    "metadata": ({"type": "object", "additionalProperties": {"type": "string"}}, "the metadata that was given"),
}

RESULTS: Fields = {
    "path": (_TEXT_OR_NULL, "the file with the results"),
    "requests": (_NUMBER, "the number of requests"),
    "answered": (_NUMBER, "how many have an answer: succeeded, refused or cut"),
    "succeeded": (_NUMBER, "how many succeeded"),
    "refused": (_NUMBER, "how many the model declined"),
    "cut": (_NUMBER, "how many answers end early"),
    "failed": (_NUMBER, "how many failed"),
    "missing": (_NUMBER, "how many have no result"),
    "unreadable": (_NUMBER, "lines of the provider that nobody can read"),
    "missing_sample": (_TEXTS, "the first ids without a result"),
    "causes": (_NUMBERS, "the number of failed requests by cause"),
    "failures": (_many("cause"), "why requests did not succeed, the most common first"),
    "usage": (_NUMBERS, "the tokens that were used, by kind"),
}

_MODEL_COST: Fields = {
    "model": (_TEXT, "the model"),
    "results": (_NUMBER, "the number of results"),
    "not_counted": (_NUMBER, "results without a count of tokens"),
    "input_tokens": (_NUMBER, "the tokens of the prompts"),
    "cached_input_tokens": (_NUMBER, "how many of these were cached"),
    "output_tokens": (_NUMBER, "the tokens of the answers"),
    "reasoning_tokens": (_NUMBER, "how many of these were reasoning"),
    "usd": (_FRACTION_OR_NULL, "the cost in USD"),
    "usd_saved": (_FRACTION_OR_NULL, "how much less that is than without a batch"),
    "prices": (_TEXT_OR_NULL, "where the prices are from"),
}

_MODEL_ESTIMATE: Fields = {
    "model": (_TEXT, "the model"),
    "requests": (_NUMBER, "the number of requests"),
    "input_tokens": (_NUMBER, "about how many tokens the prompts have"),
    "input_tokens_at_most": (_NUMBER, "the most that they can have"),
    "tokenizer": (_TEXT_OR_NULL, "what counted them; null for an estimate by size"),
    "output_tokens": (_NUMBER_OR_NULL, "about how many tokens the answers will have"),
    "output_tokens_at_most": (_NUMBER_OR_NULL, "the most that they can have; null without a limit"),
    "output_guessed": (_FLAG, "whether `output_tokens` is a guess by earlier jobs"),
    "requests_without_limit": (_NUMBER, "requests whose answer has no limit of tokens"),
    "requests_not_counted": (_NUMBER, "requests with images, files or tools, whose cost is not known before"),
    "price": (_one_or_null("price"), "the price in a batch"),
    "usd": (_FRACTION_OR_NULL, "about what they cost, in USD"),
    "usd_at_most": (_FRACTION_OR_NULL, "the most that they can cost"),
    "usd_saved": (_FRACTION_OR_NULL, "how much less that is than without a batch"),
}

_ENDED: Fields = {
    "requests": (_NUMBER, "the number of requests"),
    "answered": (_NUMBER, "how many have an answer: succeeded, refused or cut"),
    "outcomes": (_NUMBERS, "the number by outcome: `success`, `cut`, `refused`, `error` and `missing`"),
    "causes": (_many("cause"), "why requests did not succeed, the most common first"),
    "unreadable": (_NUMBER, "lines that are not results"),
    "finish_reasons": (_NUMBERS, "the number of answers by reason for their end"),
    "models": (_NUMBERS, "the number of answers by model"),
    "prompt_tokens": (_one_or_null("numbers"), "the tokens of each prompt"),
    "completion_tokens": (_one_or_null("numbers"), "the tokens of each answer"),
    "characters": (_one_or_null("numbers"), "the characters of each answer"),
    "answered_after_seconds": (_one_or_null("numbers"), "the seconds from the start to each answer, if they are known"),
}

_FILE: Fields = {
    "file": (_TEXT, "the file"),
    "kind": (_TEXT, "`requests` or `results`"),
    "bytes": (_NUMBER, "its size, unpacked"),
    "requests": (_NUMBER, "the number of requests or results"),
    "repeated_ids": (_NUMBER, "lines with an id that an earlier line has"),
    "models": (_NUMBERS, "the number of lines by model"),
    "line_bytes": (_one_or_null("numbers"), "the bytes of each line"),
}

_CHECK: Fields = {
    "file": (_TEXT, "the file"),
    "provider": (_TEXT, "the provider whose limits were used"),
    "ok": (_FLAG, "whether it can be sent"),
    "requests": (_NUMBER, "the number of requests"),
    "bytes": (_NUMBER, "its size"),
    "endpoint": (_TEXT_OR_NULL, "the endpoint of its requests"),
    "models": (_TEXTS, "the models"),
    "problem_count": (_NUMBER, "the number of all problems"),
    "problems": (
        {
            "type": "array",
            "items": {
                "type": "object",
                "keys": {
                    "line": (_NUMBER_OR_NULL, ""),
                    "code": (_TEXT, ""),
                    "message": (_TEXT, ""),
                    "param": (_TEXT_OR_NULL, ""),
                    "remedy": (_TEXT_OR_NULL, ""),
                    "warning": (_FLAG, ""),
                },
            },
        },
        "the first problems: `line`, `code`, `message`, `param`, `remedy`, and whether it is only a `warning`",
    ),
}

_PROVIDER: Fields = {
    "name": (_TEXT, "its name"),
    "display_name": (_TEXT_OR_NULL, "its name in messages"),
    "base_url": (_TEXT_OR_NULL, "where it is"),
    "key": (_TEXT, "whether its key is set, in words"),
    "api_key_env": (_TEXT_OR_NULL, "the environment variable of its key"),
    "max_requests": (_NUMBER_OR_NULL, "most requests in a file"),
    "max_bytes": (_NUMBER_OR_NULL, "most bytes of a file"),
    "models": (_TEXTS, "patterns of the models that it serves"),
    "endpoints": (_TEXTS, "the endpoints that it accepts; empty if unknown"),
    "origin": (_TEXT, "`built in` or `configuration`"),
}

DOCUMENTS: dict[str, tuple[str, Fields]] = {
    "job": ("a job", _JOB),
    "job-results": (
        "a job whose results were written: the keys of a job, and",
        {
            "results": ({"type": "object", "keys": RESULTS}, "how the requests ended; the keys are below"),
            "next": (_TEXT, "the command that is useful now"),
        },
    ),
    "job-files": (
        "a job of which the files of the provider were downloaded: the keys of a job, and",
        {"files": (_TEXTS, "the files of the provider")},
    ),
    "job-retry": (
        "a job of which requests are sent again: the keys of a job, and",
        {
            "dry_run": (_FLAG, "whether nothing was sent"),
            "chosen": (_NUMBER, "how many requests are sent again"),
            "retried": (_NUMBER, "how many were sent again: 0 in a dry run"),
            "groups": (_many("failed"), "the failed requests by cause"),
        },
    ),
    "job-download": (
        "a job whose results would be written, to its `output`: the keys of a job, and",
        {"dry_run": (_FLAG, "always true")},
    ),
    "job-cancel": (
        "a job that would be cancelled: the keys of a job, and",
        {
            "would": (_TEXT, "`nothing`, `search`, `cancel` or `withdraw`"),
            "because": (_TEXT, "the reason"),
        },
    ),
    "dry-run": (
        "what would be sent",
        {
            "dry_run": (_FLAG, "always true"),
            "job": (_one_or_null("job"), "the job that would be continued"),
            "provider": (_TEXT, "the provider's name"),
            "base_url": (_TEXT, "where the provider is"),
            "endpoint": (_TEXT_OR_NULL, "the endpoint"),
            "models": (_TEXTS, "the models"),
            "rows": (_NUMBER, "the number of rows"),
            "requests": (_NUMBER, "how many requests would be sent"),
            "batches": (_NUMBER, "how many batches would be created"),
            "bytes": (_NUMBER, "how many bytes would be uploaded"),
            "repeated": (_NUMBER, "rows that are not sent because they are repeated"),
            "answered": (_NUMBER, "rows that are not sent because they were answered before"),
            "unclear": (_NUMBER, "parts of which it is unknown if they have a batch; it would be looked for first"),
            "certain": (_FLAG, "false if rows that failed in earlier jobs would be sent too, and cannot be counted"),
            "cost": (_one("estimate"), "what these requests can cost"),
        },
    ),
    "check": ("a batch file that was checked", _CHECK),
    "checks": (
        "several batch files that were checked",
        {
            "ok": (_FLAG, "whether all can be sent"),
            "files": (_many("check"), "each file"),
        },
    ),
    "prepared": (
        "a batch file that was written",
        {
            "dry_run": (_FLAG, "whether nothing was written"),
            "output": (_TEXT, "the file"),
            "requests": (_NUMBER, "the number of requests"),
            "model": (_TEXT_OR_NULL, "the model"),
            "endpoint": (_TEXT, "the endpoint"),
        },
    ),
    "request": (
        "a request, as a batch file has it",
        {
            "custom_id": (_TEXT, "its id"),
            "method": (_TEXT, "always `POST`"),
            "url": (_TEXT, "the endpoint"),
            "body": ({"type": "object"}, "the parameters of the call"),
        },
    ),
    "freed": (
        "a job whose files were removed",
        {
            "id": (_NUMBER, "the number of the job"),
            "name": (_TEXT_OR_NULL, "its name"),
            "bytes": (_NUMBER, "the space that was freed"),
            "dry_run": (_FLAG, "whether nothing was removed"),
        },
    ),
    "batch-found": (
        "a batch that `obatch recover` would add",
        {"batch": (_TEXT, "its id"), "provider": (_TEXT, "the provider's name")},
    ),
    "provider": ("a provider", _PROVIDER),
    "provider-shown": (
        "a provider with its settings",
        _PROVIDER | {"values": (_many("setting"), "its settings, as the configuration file names them")},
    ),
    "provider-tested": (
        "the checks of a provider",
        {"provider": (_TEXT, "its name"), "checks": (_many("finding"), "the checks")},
    ),
    "provider-changed": (
        "a provider that was added or removed",
        {"name": (_TEXT, "its name"), "config": (_TEXT, "the configuration file")},
    ),
    "doctor": (
        "the checks of this machine and of a provider",
        {
            "provider": (_TEXT_OR_NULL, "the provider's name; `NAME` for a URL without one"),
            "profile": (_TEXT_OR_NULL, "the settings that fit its server, as TOML"),
            "job": (_NUMBER_OR_NULL, "the job of `--create`"),
            "checks": (_many("finding"), "the checks"),
        },
    ),
    "estimate": (
        "what requests can cost, in USD, if they are sent in batches",
        {
            "provider": (_TEXT, "the provider's name"),
            "requests": (_NUMBER, "the number of requests"),
            "usd": (_FRACTION_OR_NULL, "about what they cost; null if that is not known"),
            "usd_at_most": (_FRACTION_OR_NULL, "the most that they can cost; null without a known limit"),
            "usd_saved": (_FRACTION_OR_NULL, "how much less that is than without a batch"),
            "models": (_many("model-estimate"), "the same by model"),
        },
    ),
    "model-estimate": ("what the requests for one model can cost", _MODEL_ESTIMATE),
    "price": (
        "a price in USD for a million tokens, in a batch",
        {
            "input": (_FRACTION_OR_NULL, "of the prompts"),
            "cached_input": (_FRACTION_OR_NULL, "of prompts that are cached"),
            "output": (_FRACTION_OR_NULL, "of the answers"),
            "batch_discount": (_FRACTION_OR_NULL, "the share by which a batch is cheaper; 0.5 is half"),
            "source": (_TEXT, "where the price is from"),
        },
    ),
    "cost": (
        "what a job has cost, in USD",
        {
            "usd": (_FRACTION_OR_NULL, "the cost; null if a price or a count of tokens is not known"),
            "usd_saved": (_FRACTION_OR_NULL, "how much less that is than without a batch"),
            "complete": (_FLAG, "whether the results of all batches were read"),
            "models": (_many("model-cost"), "the same by model"),
        },
    ),
    "model-cost": ("what the results of one model cost", _MODEL_COST),
    "spending": (
        "what was spent in a month at a provider for a model",
        {"month": (_TEXT, "the month, as in `2026-11`"), "provider": (_TEXT, "the provider's name")} | _MODEL_COST,
    ),
    "report": (
        "what became of a job",
        {
            "job": (_NUMBER, "the number of the job"),
            "name": (_TEXT_OR_NULL, "its name"),
            "provider": (_TEXT, "the provider's name"),
            "endpoint": (_TEXT, "the endpoint of its requests"),
            "model": (_TEXT_OR_NULL, "the model, if it is the same for all requests"),
            "status": (_TEXT, "how it ended"),
            "created_at": (_TEXT, "when the job was started"),
            "sent_at": (_TEXT_OR_NULL, "when its first batch was created"),
            "ended_at": (_TEXT_OR_NULL, "when its last batch ended"),
            "seconds": (_FRACTION_OR_NULL, "how long it took"),
            "usage": (_NUMBERS, "the tokens that the provider counted, by kind"),
            **_ENDED,
            "parts": (_many("report-part"), "its batches"),
            "errors": (_TEXTS, "the provider's errors of whole batches"),
            "html": (_TEXT_OR_NULL, "the page that `--html` wrote"),
        },
    ),
    "report-part": (
        "a batch of a job",
        {
            "number": (_NUMBER, "its number in the job"),
            "batch_id": (_TEXT_OR_NULL, "its id at the provider"),
            "status": (_TEXT, "its status"),
            "requests": (_NUMBER, "the number of requests"),
            "completed": (_NUMBER, "how many were answered"),
            "failed": (_NUMBER, "how many failed"),
            "retry": (_FLAG, "whether it sent failed requests again"),
            "created_at": (_TEXT_OR_NULL, "when it was created"),
            "ended_at": (_TEXT_OR_NULL, "when it ended"),
            "seconds": (_FRACTION_OR_NULL, "how long it took"),
        },
    ),
    "stats-requests": (
        "what is in a batch file",
        _FILE
        | {
            "endpoints": (_NUMBERS, "the number of requests by endpoint"),
            "parameters": ({"type": "object", "additionalProperties": _NUMBERS}, "the values of each parameter"),
            "problems": (_NUMBERS, "the number of problems by code"),
        },
    ),
    "stats-results": ("what is in a file of results", _FILE | _ENDED),
    "numbers": (
        "the spread of numbers",
        {
            "count": (_NUMBER, "how many there are"),
            "total": ("number", "their sum"),
            "min": ("number", "the smallest"),
            "mean": ("number", "the mean"),
            "median": ("number", "the median"),
            "p95": ("number", "95 of 100 are not larger"),
            "p99": ("number", "99 of 100 are not larger"),
            "max": ("number", "the largest"),
            "bars": ({"type": "array", "items": {"type": "array"}}, "a histogram: `[from, to, count]` for each bar"),
        },
    ),
    "cause": (
        "why requests did not succeed",
        {
            "outcome": (_TEXT, "how they ended"),
            "cause": (_TEXT, "why: a code or a reason"),
            "count": (_NUMBER, "how many requests"),
            "retryable": (_FLAG, "whether they can succeed when they are sent again"),
            "samples": (_TEXTS, "a few of their ids"),
        },
    ),
    "failed": (
        "why requests failed, and whether they are sent again",
        {
            "outcome": (_TEXT, "how they ended"),
            "cause": (_TEXT, "why: a code or a reason"),
            "count": (_NUMBER, "how many requests"),
            "sample": (_TEXT, "what one of them says"),
            "helps": (_FLAG, "whether they can succeed when they are sent again"),
            "sent": (_FLAG, "whether they are sent again"),
        },
    ),
    "finding": (
        "the result of a check",
        {
            "name": (_TEXT, "what was checked"),
            "state": (_TEXT, "`ok`, `warning`, `unknown`, or `failed`: jobs will not work"),
            "text": (_TEXT, "what was found"),
            "hint": (_TEXT, "what to do about it"),
        },
    ),
    "setting": (
        "a setting",
        {
            "key": (_TEXT, "its key"),
            "value": ({}, "its value"),
            "origin": (_TEXT, "`built in`, the file, the variable or the option that it is from"),
        },
    ),
    "config-changed": (
        "a setting that was changed",
        {"key": (_TEXT, "its key"), "config": (_TEXT, "the configuration file")},
    ),
    "config-path": (
        "the paths in use",
        {
            "config": (_TEXT, "the configuration file"),
            "registry": (_TEXT, "the registry"),
            "cache": (_TEXT, "the folder of downloaded models"),
        },
    ),
    "config": (
        "the settings",
        {
            "path": (_TEXT, "the configuration file"),
            "exists": (_FLAG, "whether it exists"),
            "provider": (
                {"type": "object", "keys": {"value": (_TEXT_OR_NULL, ""), "origin": (_TEXT, "")}},
                "the default provider: its name as `value`, and the `origin` of that",
            ),
            "profiles": (_TEXTS, "the providers of the file"),
            "local": ({"type": "object"}, "the settings of the local provider"),
            "values": (_many("setting"), "all settings in effect"),
        },
    ),
}
"""Each document: what it is, and its keys."""

COMMANDS: dict[str, tuple[str, str, bool]] = {
    "run --dry-run": ("dry-run", "", False),
    "run -o FILE": ("job-results", "", False),
    "run -o -": ("result", "in the order of the input", True),
    "prepare -o FILE": ("prepared", "also with `--dry-run`", False),
    "prepare": ("request", "also with `--show`", True),
    "cost FILE": ("estimate", "", False),
    "cost": ("spending", "", True),
    "stats REQUESTS": ("stats-requests", "", False),
    "stats RESULTS": ("stats-results", "", False),
    "check FILE": ("check", "", False),
    "check FILE FILE": ("checks", "", False),
    "submit --dry-run": ("dry-run", "", False),
    "submit": ("job", "", False),
    "status": ("job", "", False),
    "wait JOB": ("job", "", False),
    "wait JOB JOB": ("job", "", True),
    "download -o FILE": ("job-results", "", False),
    "download -o -": ("result", "in the order of the input", True),
    "download --dry-run": ("job-download", "", False),
    "download --raw FOLDER": ("job-files", "", False),
    "results": ("row", "see [result columns](result-columns.md)", True),
    "results -o FILE": ("job-results", "", False),
    "report": ("report", "also with `--html`", False),
    "retry": ("job-retry", "also with `--dry-run`", False),
    "cancel --dry-run": ("job-cancel", "", True),
    "cancel": ("job", "", True),
    "recover": ("job", "", True),
    "recover --dry-run": ("batch-found", "", True),
    "ls": ("job", "", True),
    "rm": ("freed", "also with `--dry-run`", True),
    "prune": ("freed", "also with `--dry-run`", True),
    "providers": ("provider", "", True),
    "providers show": ("provider-shown", "", False),
    "providers test": ("provider-tested", "", False),
    "providers add": ("provider-changed", "", False),
    "providers rm": ("provider-changed", "", False),
    "doctor": ("doctor", "", False),
    "config path": ("config-path", "", False),
    "config show": ("config", "", False),
    "config set": ("config-changed", "", False),
    "config unset": ("config-changed", "", False),
}
"""Each way of calling a command: its document, a remark, and whether it prints an array of them."""

FREE = {
    "result": "a result line of the provider: `custom_id`, `response` and `error`",
    "row": "a row of the table of results",
}
"""Documents whose keys are those of the provider or of the input."""


def schema() -> Schema:
    """Return the schema of all documents, each under its name in `$defs`."""
    defs: Schema = {}
    for name, (about, fields) in DOCUMENTS.items():
        whole = {**_JOB, **fields} if name.startswith("job-") else fields
        defs[name] = {"description": about.partition(":")[0], **_object(whole)}
    for name, about in FREE.items():
        defs[name] = {"description": about.replace("`", ""), "type": "object", "required": ["custom_id"]}
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", "title": "obatch --json", "$defs": defs}


def _object(fields: Fields) -> Schema:
    properties = {key: _type(kind) | ({"description": text} if text else {}) for key, (kind, text) in fields.items()}
    return {"type": "object", "properties": properties, "required": list(fields)}


def _type(kind: str | Schema) -> Schema:
    """Return the schema of a type. `keys` of an object, in short, are its fields."""
    if isinstance(kind, str):
        words = kind.split(" or ")
        return {"type": words[0] if len(words) == 1 else words}
    if "keys" in kind:
        return _object(kind["keys"])
    if "items" in kind:
        return kind | {"items": _type(kind["items"])}
    return kind
