"""`obatch stats`: the contents of a file of requests or of results."""

from __future__ import annotations

import gzip
import json
from pathlib import Path
from typing import Any

import pytest
from support.command import invoke, plain, request, see, write


def results(count: int) -> list[dict[str, Any]]:
    """Return result lines, of which every third is an error."""
    good = {"choices": [{"finish_reason": "stop", "message": {"content": "hello"}}], "model": "m"}
    usage = {"usage": {"prompt_tokens": 10, "completion_tokens": 2}}
    bodies = [{"error": {"message": f"bad request {n}"}} if n % 3 == 2 else good | usage for n in range(count)]
    codes = [400 if "error" in body else 200 for body in bodies]
    return [
        {"custom_id": f"r{n}", "response": {"status_code": code, "body": body}}
        for n, (code, body) in enumerate(zip(codes, bodies, strict=True))
    ]


def test_requests() -> None:
    """`stats` on requests shows models, endpoints, parameters, repeated ids and problems."""
    rows = [request(f"r{n % 9}", model="ab"[n % 2], temperature=0.5, max_tokens=n % 3) for n in range(10)]
    rows.append(request("r10") | {"url": "/v1/completions"})
    path = write("in.jsonl", rows)
    fields = invoke("stats", str(path)).succeeded().fields
    assert fields["kind"] == "batch input file"
    assert fields["requests"] == "11"
    assert fields["endpoint"] == "/v1/chat/completions (10), /v1/completions (1)"
    assert fields["model"] == "a (5), b (5), echo-1 (1)"
    assert fields["temperature"] == "0.5"
    assert fields["max_tokens"] == "0 (4), 1 (3), 2 (3)"
    assert fields["repeated ids"] == "1 line has an id that an earlier line has"
    assert fields["problems"] == "1 duplicate_custom_id, 1 url_mismatch"
    told = invoke("stats", "-", "--json", stdin=gzip.compress(path.read_bytes())).succeeded().json
    assert (told["kind"], told["requests"], told["repeated_ids"]) == ("requests", 11, 1)
    assert told["parameters"]["max_tokens"] == {"0": 4, "1": 3, "2": 3}
    assert told["bytes"] == path.stat().st_size


def test_results_files() -> None:
    """`stats` on results shows outcomes, causes, finish reasons and tokens, and counts invalid lines."""
    path = write("out.jsonl", [*results(9), results(1)[0]])
    with path.open("a") as handle:
        handle.write("junk\n\n")
    fields = invoke("stats", "out.jsonl").succeeded().fields
    assert fields["kind"] == "results"
    assert fields["answers"] == "7 succeeded, 3 failed"
    assert fields["finish reasons"] == "7 stop"
    assert fields["tokens in"] == "70; median 10, 95% up to 10, at most 10"
    assert fields["unreadable"] == "1 line is no result"
    assert fields["repeated ids"] == "1 line has an id that an earlier line has"
    assert fields["error"] == "3 requests: 400: bad request 2 (r2, r5, r8)"
    told = invoke("stats", "out.jsonl", "--json").succeeded().json
    assert told["outcomes"]["error"] == 3
    assert told["prompt_tokens"]["total"] == 70
    shown = plain(see("stats", "out.jsonl", columns=80).succeeded().out)
    assert max(map(len, shown.splitlines())) <= 80


@pytest.mark.parametrize("odd", ["NaN", "-Infinity", '"\\ud83d"'])
def test_json_that_only_python_reads_is_recognised(odd: str) -> None:
    """Files with NaN or half of a surrogate pair are recognized as results or requests."""
    good = json.dumps(results(1)[0]).replace('"model"', f'"odd": {odd}, "model"')
    Path("out.jsonl").write_text(f"{good}\n" * 120, encoding="utf-8")
    assert invoke("stats", "out.jsonl", "--json").succeeded().json["kind"] == "results"
    asked = json.dumps(request("a")).replace('"model"', f'"top_p": {odd}, "model"')
    Path("in.jsonl").write_text(f"{asked}\n" * 120, encoding="utf-8")
    assert invoke("stats", "in.jsonl", "--json").succeeded().json["problems"] == {"invalid_json_line": 120}
    Path("list.jsonl").write_text(f"[{odd}]\n", encoding="utf-8")
    invoke("stats", "list.jsonl").failed(3, "neither requests nor results")


def test_other_files_are_refused() -> None:
    """Prompts, tables and missing files are errors with a hint."""
    Path("t.csv").write_text("a,b\n1,2\n", encoding="utf-8")
    invoke("stats", "t.csv").failed(3, "neither requests nor results", "obatch prepare")
    Path("p.jsonl").write_text(json.dumps({"text": "x"}) + "\n", encoding="utf-8")
    invoke("stats", "p.jsonl").failed(3, "neither requests nor results", "obatch prepare")
    invoke("stats", "nowhere.jsonl").failed(3, "nowhere.jsonl", "name a file")


def test_bytes_that_are_not_utf8() -> None:
    """A parameter that is not valid UTF-8 is counted with a replacement character."""
    line = json.dumps(request("a", temperature="?")).encode().replace(b"?", b"\xff")
    Path("in.jsonl").write_bytes(line + b"\n")
    assert invoke("stats", "in.jsonl", "--json").succeeded().json["parameters"] == {"temperature": {'"\ufffd"': 1}}
