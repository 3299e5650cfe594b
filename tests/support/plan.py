"""The plan of a fault server: the planned failures, written in the model name of the requests.

    fault:create=made.reset;list=lag:2;poll=429:1*2+500;steps=queued,in_progress;end=expired;rows=absent

`where=what` pairs, separated by `;`. Calls (upload, create, list, poll, content, file, cancel) have faults: each is
`kind`, `kind:argument` or `kind*times`, and several in a row are joined by `+`; a call without one succeeds.
`made.` before a kind means that the effect comes before the fault. The other words are settings:

    steps     the statuses that polls show before the end, in order
    end       the last status (completed)
    rows      how the results look, comma-separated: see `results`
    shape     how the batch object looks, comma-separated: see `faults`
    late      how many polls after the end the file ids appear
    range     how a Range is answered: good, ignored, wrong, noheader, changed, swapped, weak (default: not supported)
"""

from __future__ import annotations

import json
import re
from collections import deque
from dataclasses import dataclass, field
from typing import Any

CALLS = ("upload", "create", "list", "poll", "content", "file", "cancel")
SETTINGS = ("steps", "end", "rows", "shape", "late", "range")
PREFIX = "fault:"


@dataclass(frozen=True)
class Fault:
    """One fault: its kind, its argument, and whether the request has its effect first."""

    kind: str
    arg: str = ""
    made: bool = False

    def number(self, default: float) -> float:
        """Return the argument as a number."""
        return float(self.arg) if self.arg else default


@dataclass
class Plan:
    """The remaining faults of each call, and the settings."""

    faults: dict[str, deque[Fault]] = field(default_factory=dict)
    settings: dict[str, str] = field(default_factory=dict)

    def take(self, call: str) -> Fault | None:
        """Remove and return the next fault of this call, or None if it succeeds."""
        queue = self.faults.get(call)
        return queue.popleft() if queue else None

    def peek(self, call: str) -> Fault | None:
        """Return the next fault of this call without removing it."""
        queue = self.faults.get(call)
        return queue[0] if queue else None

    def words(self, setting: str) -> list[str]:
        """Return the words of a setting."""
        return [word for word in self.settings.get(setting, "").split(",") if word]


def read_plan(model: str) -> Plan:
    """Read a plan from a model name; any other model name is a plan without faults."""
    plan = Plan()
    if not model.startswith(PREFIX):
        return plan
    for pair in filter(None, model.removeprefix(PREFIX).split(";")):
        where, _, what = pair.partition("=")
        if where in SETTINGS:
            plan.settings[where] = what
            continue
        assert where in CALLS, f"no call or setting {where!r} in the plan {model!r}"
        queue = plan.faults.setdefault(where, deque())
        for item in what.split("+"):
            found = re.fullmatch(r"(made\.)?([\w-]+)(?::(.*?))?(?:\*(\d+))?", item)
            assert found, f"no fault {item!r} in the plan {model!r}"
            queue.extend([Fault(found[2], found[3] or "", bool(found[1]))] * int(found[4] or 1))
    return plan


def model_in(data: bytes) -> str:
    """Return the model of the first request of a batch input, even if the input is cut."""
    found = re.search(rb'"model"\s*:\s*"((?:[^"\\]|\\.)*)"', data)
    return str(json.loads(b'"' + found[1] + b'"')) if found else ""


def good_row(custom_id: str, number: int = 0) -> dict[str, Any]:
    """Return the result line of a success."""
    message = {"role": "assistant", "content": f"answer to {custom_id}"}
    usage = {"prompt_tokens": 3, "completion_tokens": 4, "total_tokens": 7}
    body = {"object": "chat.completion", "choices": [{"index": 0, "message": message}], "usage": usage}
    response = {"status_code": 200, "request_id": f"req_{number}", "body": body}
    return {"id": f"batch_req_{number}", "custom_id": custom_id, "response": response, "error": None}


def bad_row(custom_id: str, number: int = 0, status: int = 400) -> dict[str, Any]:
    """Return the result line of a request that the endpoint refused, in which `error` is null."""
    body = {"error": {"message": f"refused {custom_id}", "type": "invalid_request_error", "code": None}}
    response = {"status_code": status, "request_id": f"req_{number}", "body": body}
    return {"id": f"batch_req_{number}", "custom_id": custom_id, "response": response, "error": None}


def expired_row(custom_id: str, number: int = 0) -> dict[str, Any]:
    """Return the result line of a request that was not run before the window ended."""
    error = {"code": "batch_expired", "message": "the window has passed"}
    return {"id": f"batch_req_{number}", "custom_id": custom_id, "response": None, "error": error}


@dataclass
class Results:
    """The results of a batch: the bytes of its two files (None: no such file) and its counts."""

    output: bytes | None
    errors: bytes | None
    completed: int
    failed: int


def results(rows: list[str], ids: list[str]) -> Results:
    """Answer the requests, with these words:

    mixed (every other one refused), allerrors, absent (the second half is in no file), expired (it is in the error
    file), inline (the refused ones are in the output file), shuffled, twice (the first row again), conflict (the
    first success also as an error), declined and cut (of each, one row of three), strangers, string (bodies as JSON
    strings), garbled (the last line is no result), nonewline, noerrors (a zero-byte error file), crlf, blank, objects
    (each answer is a JSON object).
    """  # noqa: D400 - the sentence ends below its list
    good, bad = _judged(rows, ids)
    completed, failed = len(good), len(bad)
    if "conflict" in rows:
        bad.append(bad_row(good[0]["custom_id"], 99))
    for row in good[1::3] if "declined" in rows else []:
        row["response"]["body"]["choices"][0]["message"] = {"content": None, "refusal": "I can't."}
    for row in good[2::3] if "cut" in rows else []:
        row["response"]["body"]["choices"][0]["finish_reason"] = "length"
    for row in good if "objects" in rows else []:
        row["response"]["body"]["choices"][0]["message"]["content"] = json.dumps({"label": row["custom_id"]})
    if "inline" in rows:
        good, bad = good + bad, []
    if "shuffled" in rows:
        good.reverse()
    if "twice" in rows:
        good.append(good[0])
    if "strangers" in rows:
        good.append(good_row("nobody-asked", 98))
    for row in good if "string" in rows else []:
        row["response"]["body"] = json.dumps(row["response"]["body"])
    errors = _file(bad, rows) if bad else b"" if "noerrors" in rows else None
    output = _file(good, rows) + (b"<html>502</html>\n" if "garbled" in rows else b"") if good else None
    return Results(output, errors, completed, failed)


def _judged(rows: list[str], ids: list[str]) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    """Return the result lines of the successes and of the others."""
    good: list[dict[str, Any]] = []
    bad: list[dict[str, Any]] = []
    half = (len(ids) + 1) // 2
    for number, custom_id in enumerate(ids):
        if number >= half and "expired" in rows:
            bad.append(expired_row(custom_id, number))
        elif number >= half and "absent" in rows:
            continue
        elif "allerrors" in rows or ("mixed" in rows and number % 2):
            bad.append(bad_row(custom_id, number))
        else:
            good.append(good_row(custom_id, number))
    return good, bad


def _file(lines: list[dict[str, Any]], rows: list[str]) -> bytes:
    end = "\r\n" if "crlf" in rows else "\n"
    text = "".join(json.dumps(line) + end + (end if "blank" in rows else "") for line in lines)
    return (text.rstrip() if "nonewline" in rows else text).encode()
