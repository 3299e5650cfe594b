"""The JSON documents of the commands, as JSON schemas. `make_reference.py` writes their page and a file from them.

`tests/acceptance/test_json.py` compares the output of each command with its document.
"""

from __future__ import annotations

from json_fields import (
    CHECK,
    COUNTS,
    ENDED,
    FILE,
    FLAG,
    FRACTION_OR_NULL,
    JOB,
    MODEL_COST,
    MODEL_ESTIMATE,
    NUMBER,
    NUMBER_OR_NULL,
    NUMBERS,
    PROVIDER,
    RESULTS,
    TEXT,
    TEXT_OR_NULL,
    TEXTS,
    Fields,
    Schema,
    many,
    one,
    one_or_null,
)

DOCUMENTS: dict[str, tuple[str, Fields]] = {
    "job": ("a job", JOB),
    "job-results": (
        "a job whose results were written: the keys of a job, and",
        {
            "results": ({"type": "object", "keys": RESULTS}, "how the requests ended; the keys are below"),
            "next": (TEXT, "the command that is useful now"),
        },
    ),
    "job-files": (
        "a job whose files at the provider were downloaded: the keys of a job, and",
        {"files": (TEXTS, "the files of the provider")},
    ),
    "job-retry": (
        "a job whose failed requests are sent again: the keys of a job, and",
        {
            "dry_run": (FLAG, "whether nothing was sent"),
            "chosen": (NUMBER, "how many requests are sent again"),
            "retried": (NUMBER, "how many were sent again: 0 in a dry run"),
            "groups": (many("failed"), "the failed requests by cause"),
        },
    ),
    "job-download": (
        "a job whose results would be written, to its `output`: the keys of a job, and",
        {"dry_run": (FLAG, "always true")},
    ),
    "job-cancel": (
        "a job that would be cancelled: the keys of a job, and",
        {
            "would": (TEXT, "`nothing`, `search`, `cancel` or `withdraw`"),
            "because": (TEXT, "the reason"),
        },
    ),
    "dry-run": (
        "what would be sent",
        {
            "dry_run": (FLAG, "always true"),
            "job": (one_or_null("job"), "the job that would be continued"),
            "provider": (TEXT, "the provider's name"),
            "base_url": (TEXT, "where the provider is"),
            "endpoint": (TEXT_OR_NULL, "the endpoint"),
            "models": (TEXTS, "the models"),
            "rows": (NUMBER, "the number of rows"),
            "requests": (NUMBER, "how many requests would be sent"),
            "batches": (NUMBER, "how many batches would be created"),
            "bytes": (NUMBER, "how many bytes would be uploaded"),
            "repeated": (NUMBER, "rows that are not sent because they are repeated"),
            "answered": (NUMBER, "rows that are not sent because they were answered before"),
            "unclear": (NUMBER, "parts that may have a batch already; it would be searched for first"),
            "certain": (FLAG, "false if rows that failed in earlier jobs would be sent too, and cannot be counted"),
            "cost": (one("estimate"), "what these requests can cost"),
        },
    ),
    "check": ("a batch file that was checked", CHECK),
    "checks": (
        "several batch files that were checked",
        {
            "ok": (FLAG, "whether all can be sent"),
            "files": (many("check"), "each file"),
        },
    ),
    "prepared": (
        "a batch file that was written",
        {
            "dry_run": (FLAG, "whether nothing was written"),
            "output": (TEXT, "the file"),
            "requests": (NUMBER, "the number of requests"),
            "model": (TEXT_OR_NULL, "the model"),
            "endpoint": (TEXT, "the endpoint"),
        },
    ),
    "request": (
        "a request, as a batch file has it",
        {
            "custom_id": (TEXT, "its id"),
            "method": (TEXT, "always `POST`"),
            "url": (TEXT, "the endpoint"),
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
                            "custom_id": (TEXT, ""),
                            "prompt": (TEXT, ""),
                            "outcome": (TEXT, ""),
                            "answer": ({}, ""),
                            "error": (TEXT_OR_NULL, ""),
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
            "id": (NUMBER, "the number of the job"),
            "name": (TEXT_OR_NULL, "its name"),
            "bytes": (NUMBER, "the space that was freed"),
            "dry_run": (FLAG, "whether nothing was removed"),
        },
    ),
    "batch-found": (
        "a batch that `obatch recover` would add",
        {"batch": (TEXT, "its id"), "provider": (TEXT, "the provider's name")},
    ),
    "deleted": (
        "a job whose files at the provider were deleted",
        {
            "id": (NUMBER, "the number of the job"),
            "name": (TEXT_OR_NULL, "its name"),
            "provider": (TEXT, "the provider's name"),
            "files": (TEXTS, "the ids of the files"),
            "dry_run": (FLAG, "whether nothing was deleted"),
        },
    ),
    "batch-listed": (
        "a batch at a provider",
        {
            "batch": (TEXT, "its id"),
            "provider": (TEXT, "the provider's name"),
            "status": (TEXT, "the status, such as `in_progress` or `completed`"),
            "requests": COUNTS,
            "model": (TEXT_OR_NULL, "the model, if the provider says it"),
            "endpoint": (TEXT_OR_NULL, "the endpoint of its requests"),
            "created_at": (TEXT_OR_NULL, "when it was created"),
            "expires_at": (TEXT_OR_NULL, "when it expires"),
            "job": (NUMBER_OR_NULL, "the number of the job here that has it"),
            "ours": (FLAG, "whether a job here has it, or the list shows our marks"),
        },
    ),
    "exported": (
        "requests that were written for another engine",
        {"output": (TEXT, "the path of the file"), "requests": (NUMBER, "the number of requests in it")},
    ),
    "provider": ("a provider", PROVIDER),
    "provider-shown": (
        "a provider with its settings",
        PROVIDER | {"values": (many("setting"), "its settings, as the configuration file names them")},
    ),
    "provider-tested": (
        "the checks of a provider",
        {"provider": (TEXT, "its name"), "checks": (many("finding"), "the checks")},
    ),
    "provider-changed": (
        "a provider that was added or removed",
        {"name": (TEXT, "its name"), "config": (TEXT, "the configuration file")},
    ),
    "doctor": (
        "the checks of this machine and of a provider",
        {
            "provider": (TEXT_OR_NULL, "the provider's name; `NAME` for a URL without one"),
            "profile": (TEXT_OR_NULL, "the settings that fit its server, as TOML"),
            "job": (NUMBER_OR_NULL, "the job of `--create`"),
            "checks": (many("finding"), "the checks"),
        },
    ),
    "estimate": (
        "what requests can cost, in USD, if they are sent in batches",
        {
            "provider": (TEXT, "the provider's name"),
            "requests": (NUMBER, "the number of requests"),
            "usd": (FRACTION_OR_NULL, "about what they cost; null if that is not known"),
            "usd_at_most": (FRACTION_OR_NULL, "the most that they can cost; null without a known limit"),
            "usd_saved": (FRACTION_OR_NULL, "how much less that is than without a batch"),
            "models": (many("model-estimate"), "the same by model"),
        },
    ),
    "model-estimate": ("what the requests for one model can cost", MODEL_ESTIMATE),
    "price": (
        "a price in USD for a million tokens, in a batch",
        {
            "input": (FRACTION_OR_NULL, "of the prompts"),
            "cached_input": (FRACTION_OR_NULL, "of prompts that are cached"),
            "output": (FRACTION_OR_NULL, "of the answers"),
            "batch_discount": (FRACTION_OR_NULL, "the share by which a batch is cheaper; 0.5 is half"),
            "source": (TEXT, "where the price is from"),
        },
    ),
    "cost": (
        "what a job has cost, in USD",
        {
            "usd": (FRACTION_OR_NULL, "the cost; null if a price or a count of tokens is not known"),
            "usd_saved": (FRACTION_OR_NULL, "how much less that is than without a batch"),
            "complete": (FLAG, "whether the results of all batches were read"),
            "models": (many("model-cost"), "the same by model"),
        },
    ),
    "model-cost": ("what the results of one model cost", MODEL_COST),
    "spending": (
        "what was spent in a month at a provider for a model",
        {"month": (TEXT, "the month, as in `2026-11`"), "provider": (TEXT, "the provider's name")} | MODEL_COST,
    ),
    "report": (
        "the report of a job",
        {
            "job": (NUMBER, "the number of the job"),
            "name": (TEXT_OR_NULL, "its name"),
            "provider": (TEXT, "the provider's name"),
            "endpoint": (TEXT, "the endpoint of its requests"),
            "model": (TEXT_OR_NULL, "the model, if it is the same for all requests"),
            "status": (TEXT, "how it ended"),
            "created_at": (TEXT, "when the job was started"),
            "sent_at": (TEXT_OR_NULL, "when its first batch was created"),
            "ended_at": (TEXT_OR_NULL, "when its last batch ended"),
            "seconds": (FRACTION_OR_NULL, "how long it took"),
            "usage": (NUMBERS, "the tokens that the provider counted, by kind"),
            "cost": (one_or_null("cost"), "what it has cost; null if that is not known"),
            **ENDED,
            "parts": (many("report-part"), "its batches"),
            "errors": (TEXTS, "the provider's errors of whole batches"),
            "html": (TEXT_OR_NULL, "the page that `--html` wrote"),
        },
    ),
    "report-part": (
        "a batch of a job",
        {
            "number": (NUMBER, "its number in the job"),
            "batch_id": (TEXT_OR_NULL, "its id at the provider"),
            "status": (TEXT, "its status"),
            "requests": (NUMBER, "the number of requests"),
            "completed": (NUMBER, "how many were answered"),
            "failed": (NUMBER, "how many failed"),
            "retry": (FLAG, "whether it sent failed requests again"),
            "created_at": (TEXT_OR_NULL, "when it was created"),
            "ended_at": (TEXT_OR_NULL, "when it ended"),
            "seconds": (FRACTION_OR_NULL, "how long it took"),
        },
    ),
    "stats-requests": (
        "what is in a batch file",
        FILE
        | {
            "endpoints": (NUMBERS, "the number of requests by endpoint"),
            "parameters": ({"type": "object", "additionalProperties": NUMBERS}, "the values of each parameter"),
            "problems": (NUMBERS, "the number of problems by code"),
        },
    ),
    "stats-results": ("what is in a file of results", FILE | ENDED),
    "numbers": (
        "statistics of a list of numbers",
        {
            "count": (NUMBER, "how many there are"),
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
            "outcome": (TEXT, "how they ended"),
            "cause": (TEXT, "why: a code or a reason"),
            "count": (NUMBER, "how many requests"),
            "retryable": (FLAG, "whether they can succeed when they are sent again"),
            "samples": (TEXTS, "a few of their ids"),
        },
    ),
    "failed": (
        "why requests failed, and whether they are sent again",
        {
            "outcome": (TEXT, "how they ended"),
            "cause": (TEXT, "why: a code or a reason"),
            "count": (NUMBER, "how many requests"),
            "sample": (TEXT, "the error of one of them"),
            "helps": (FLAG, "whether they can succeed when they are sent again"),
            "sent": (FLAG, "whether they are sent again"),
        },
    ),
    "finding": (
        "the result of a check",
        {
            "name": (TEXT, "what was checked"),
            "state": (TEXT, "`ok`, `warning`, `unknown`, or `failed`: jobs will not work"),
            "text": (TEXT, "what was found"),
            "hint": (TEXT, "what to do about it"),
        },
    ),
    "setting": (
        "a setting",
        {
            "key": (TEXT, "its key"),
            "value": ({}, "its value"),
            "origin": (TEXT, "`built in`, the file, the variable or the option that it is from"),
        },
    ),
    "config-changed": (
        "a setting that was changed",
        {"key": (TEXT, "its key"), "config": (TEXT, "the configuration file")},
    ),
    "config-path": (
        "the paths in use",
        {
            "config": (TEXT, "the configuration file"),
            "registry": (TEXT, "the registry"),
            "cache": (TEXT, "the folder of downloaded models"),
        },
    ),
    "config": (
        "the settings",
        {
            "path": (TEXT, "the configuration file"),
            "exists": (FLAG, "whether it exists"),
            "provider": (
                {"type": "object", "keys": {"value": (TEXT_OR_NULL, ""), "origin": (TEXT, "")}},
                "the default provider: its name as `value`, and the `origin` of that",
            ),
            "profiles": (TEXTS, "the providers of the file"),
            "local": ({"type": "object"}, "the settings of the local provider"),
            "values": (many("setting"), "all settings that are used"),
        },
    ),
}
"""Each document: its description and its keys."""

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
    "sample": ("sample", "", False),
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
    "ls --remote": ("batch-listed", "", True),
    "import": ("job-results", "", False),
    "export": ("exported", "", False),
    "rm": ("freed", "also with `--dry-run`", True),
    "prune": ("freed", "also with `--dry-run`", True),
    "prune --remote": ("deleted", "also with `--dry-run`", True),
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
        whole = {**JOB, **fields} if name.startswith("job-") else fields
        defs[name] = {"description": about.partition(":")[0], **_object(whole)}
    for name, about in FREE.items():
        defs[name] = {"description": about.replace("`", ""), "type": "object", "required": ["custom_id"]}
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", "title": "obatch --json", "$defs": defs}


def _object(fields: Fields) -> Schema:
    properties = {key: _type(kind) | ({"description": text} if text else {}) for key, (kind, text) in fields.items()}
    return {"type": "object", "properties": properties, "required": list(fields)}


def _type(kind: str | Schema) -> Schema:
    """Return the schema of a type. The `keys` of an object are short for its fields."""
    if isinstance(kind, str):
        words = kind.split(" or ")
        return {"type": words[0] if len(words) == 1 else words}
    if "keys" in kind:
        return _object(kind["keys"])
    if "items" in kind:
        return kind | {"items": _type(kind["items"])}
    return kind
