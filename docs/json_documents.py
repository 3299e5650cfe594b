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
_TEXTS: Schema = {"type": "array", "items": {"type": "string"}}
_NUMBERS: Schema = {"type": "object", "additionalProperties": {"type": "integer"}}
_TIME = "time in UTC, as in `2026-11-26T12:00:00+00:00`"

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
    "input": (_TEXT_OR_NULL, "the input"),
    "input_sha256": (_TEXT_OR_NULL, "the hash of its requests"),
    "output": (_TEXT_OR_NULL, "where its results were written last"),
    "usage": ({"type": ["object", "null"]}, "the tokens that the provider counted, by kind"),
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

_GROUPS: Schema = {
    "type": "array",
    "items": {
        "type": "object",
        "keys": {
            "outcome": (_TEXT, ""),
            "cause": (_TEXT, ""),
            "count": (_NUMBER, ""),
            "sample": (_TEXT, ""),
            "helps": (_FLAG, ""),
            "sent": (_FLAG, ""),
        },
    },
}

DOCUMENTS: dict[str, tuple[str, Fields]] = {
    "job": ("a job", _JOB),
    "job-results": (
        "a job whose results were written: the keys of a job, and",
        {"results": ({"type": "object", "keys": RESULTS}, "how the requests ended; the keys are below")},
    ),
    "job-files": (
        "a job whose own files were downloaded: the keys of a job, and",
        {"files": (_TEXTS, "the files of the provider")},
    ),
    "job-retry": (
        "a job of which requests are sent again: the keys of a job, and",
        {
            "dry_run": (_FLAG, "whether nothing was sent"),
            "chosen": (_NUMBER, "how many requests are sent again"),
            "retried": (_NUMBER, "how many were sent again: 0 in a dry run"),
            "groups": (_GROUPS, "failed requests by `cause`: `outcome`, `count`, a `sample`, and whether it `helps`"),
        },
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
            "job": ({"anyOf": [{"$ref": "#/$defs/job"}, {"type": "null"}]}, "the job that would be continued"),
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
        },
    ),
    "check": ("a batch file that was checked", _CHECK),
    "checks": (
        "several batch files that were checked",
        {
            "ok": (_FLAG, "whether all can be sent"),
            "files": ({"type": "array", "items": {"$ref": "#/$defs/check"}}, "each file, as above"),
        },
    ),
    "prepared": (
        "a batch file that was written",
        {
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
    "sample": (
        "requests that were answered outside of a batch",
        {
            "rows": (
                {
                    "type": "array",
                    "items": {
                        "type": "object",
                        "keys": {
                            "custom_id": (_TEXT, ""),
                            "prompt": (_TEXT, ""),
                            "outcome": (_TEXT, ""),
                            "answer": ({}, ""),
                            "error": (_TEXT_OR_NULL, ""),
                            "usage": ({"type": "object"}, ""),
                        },
                    },
                },
                "the requests: `custom_id`, `prompt`, `outcome`, `answer`, `error`, and the tokens as `usage`",
            ),
            "usd_paid": ({"type": ["number", "null"]}, "what they cost, in US dollars; null if unknown"),
            "whole": ({"type": "object"}, "what the whole input would cost in a batch, as `cost FILE` shows it"),
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
    "provider": (
        "a provider",
        {
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
        },
    ),
    "provider-added": (
        "a provider that was added",
        {"name": (_TEXT, "its name"), "config": (_TEXT, "the configuration file")},
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
        },
    ),
}
"""Each document: what it is, and its keys."""

COMMANDS: dict[str, tuple[str, str, bool]] = {
    "run --dry-run": ("dry-run", "", False),
    "run -o FILE": ("job-results", "", False),
    "run -o -": ("result", "in the order of the input", True),
    "prepare -o FILE": ("prepared", "", False),
    "prepare": ("request", "also with `--show`", True),
    "check FILE": ("check", "", False),
    "check FILE FILE": ("checks", "", False),
    "sample": ("sample", "", False),
    "submit --dry-run": ("dry-run", "", False),
    "submit": ("job", "", False),
    "status": ("job", "", False),
    "wait JOB": ("job", "", False),
    "wait JOB JOB": ("job", "", True),
    "download -o FILE": ("job-results", "", False),
    "download -o -": ("result", "in the order of the input", True),
    "download --raw FOLDER": ("job-files", "", False),
    "results": ("row", "see [result columns](result-columns.md)", True),
    "results -o FILE": ("job-results", "", False),
    "retry": ("job-retry", "also with `--dry-run`", False),
    "cancel --dry-run": ("job-cancel", "", True),
    "cancel": ("job", "", True),
    "recover": ("job", "", True),
    "ls": ("job", "", True),
    "rm": ("freed", "also with `--dry-run`", True),
    "prune": ("freed", "also with `--dry-run`", True),
    "providers": ("provider", "", True),
    "providers add": ("provider-added", "", False),
    "config path": ("config-path", "", False),
    "config show": ("config", "", False),
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
