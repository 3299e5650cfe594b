"""`obatch check`, `prepare` and `submit`: every problem is reported with its line, and a bad file is not sent."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from support.command import Terminal, ids, invoke, request, see, write

if TYPE_CHECKING:
    from support.faults import FaultServer


def problems_file() -> Path:
    """Write a file with one problem of each kind, one per line."""
    lines: list[object] = [
        request("good"),
        "no object",
        {"method": "POST"},
        request("good"),
        {**request("get"), "method": "GET"},
        {**request("other"), "url": "/v1/embeddings"},
        request("streaming", stream=True),
        {**request("nothing"), "body": "text"},
        {**request("nameless"), "body": {"messages": []}},
    ]
    path = write("bad.jsonl", lines)
    path.write_bytes(path.read_bytes() + b"{not json\n" + b'{"custom_id": "\xff"}\n')
    return path


def test_every_problem_names_its_line(faulty: FaultServer) -> None:
    """`check` reports every problem with its file and line, and exits with code 3."""
    problems_file()
    result = invoke("check", "bad.jsonl", "-p", "faulty").failed(3, "bad.jsonl has", "fix the file")
    assert {line.split(":")[1] for line in result.out.splitlines()} == {str(n) for n in range(2, 12)}
    for words in (
        "bad.jsonl:2: the line is not a JSON object",
        "bad.jsonl:3: custom_id is missing",
        'bad.jsonl:4: custom_id "good" is also on line 1',
        'bad.jsonl:5: method is "GET"',
        "bad.jsonl:6: url is /v1/embeddings, but the batch's endpoint is /v1/chat/completions",
        "bad.jsonl:7: the request asks for streaming",
        "bad.jsonl:8: body is not an object",
        "bad.jsonl:9: body.model is missing",
        "bad.jsonl:10: not valid JSON",
        "bad.jsonl:11: invalid UTF-8",
    ):
        assert words in result.out, result.out
    assert faulty.requests == []


def test_problems_as_json() -> None:
    """`check --json` prints every problem with its line, code and remedy."""
    problems_file()
    result = invoke("check", "bad.jsonl", "-p", "openai", "--json")
    assert result.code == 3
    assert result.json["ok"] is False
    assert result.json["problem_count"] == len(result.json["problems"])
    duplicate = [problem for problem in result.json["problems"] if problem["code"] == "duplicate_custom_id"]
    assert [(problem["line"], problem["param"]) for problem in duplicate] == [(4, "custom_id")]
    assert all(problem["remedy"] for problem in result.json["problems"])


@pytest.mark.slow
def test_the_summary_names_a_provider_that_was_named() -> None:
    """The summary of a bad file names a provider only if `-p` is given; that of a good file always does."""
    write("bad.jsonl", [request("a"), request("a")])
    invoke("check", "bad.jsonl").failed(3, "bad.jsonl has 1 problem\n")
    invoke("check", "bad.jsonl", "-p", "groq").failed(3, "bad.jsonl has 1 problem for Groq\n")
    write("good.jsonl", [request("a")])
    assert "within the limits of Parasail" in invoke("check", "good.jsonl").succeeded().err


@pytest.mark.slow
def test_a_bad_file_is_not_sent(faulty: FaultServer) -> None:
    """`submit` and `run` report the problems of a bad file, send no request and create no job."""
    problems_file()
    for command in ("submit", "run"):
        result = invoke(command, "bad.jsonl", "-p", "faulty").failed(3, "nothing was sent", "obatch check bad.jsonl")
        assert "bad.jsonl:11: " in result.err
    assert faulty.requests == []
    assert invoke("ls", "-q").succeeded().out == ""


def test_a_good_file() -> None:
    """`check` prints a summary of a good file to standard error, and JSON to standard output."""
    write("in.jsonl", [request(f"r{n}") for n in range(3)])
    result = invoke("check", "in.jsonl", "-p", "openai").succeeded()
    assert (result.out, result.err) == (
        "",
        "in.jsonl: 3 requests for /v1/chat/completions, within the limits of OpenAI\n",
    )
    record = invoke("check", "in.jsonl", "-p", "openai", "--json").succeeded().json
    assert (record["ok"], record["requests"], record["models"]) == (True, 3, ["echo-1"])


def test_a_providers_limits_are_checked(faulty: FaultServer) -> None:
    """`check` warns about the limits of the profile, and says that `run` and `submit` split the file."""
    with Path("../home/config.toml").open("a", encoding="utf-8") as handle:
        handle.write("max_requests = 2\nmax_bytes = 200\n")
    write("in.jsonl", [request(f"r{n}") for n in range(3)])
    result = invoke("check", "in.jsonl", "-p", "faulty").succeeded()
    assert "3 requests; the provider accepts 2 per file: `obatch run` and `submit` split the file" in result.out
    assert "bytes; the provider accepts 200 per file" in result.out
    assert "too much for one file of faulty, 2 warnings" in result.err
    assert faulty.requests == []


@pytest.mark.slow
def test_check_and_run_agree_on_mixed_models(faulty: FaultServer) -> None:
    """If a provider accepts one model per file, `check` says that the file will be split, and `run` splits it."""
    write("in.jsonl", [request("a", "m1"), request("b", "m2"), request("c", "m1")])
    result = invoke("check", "in.jsonl", "-p", "faulty").succeeded()
    assert "2 models; the provider accepts one per file: `obatch run` and `submit` split the file" in result.out
    assert "2 batches" in invoke("run", "in.jsonl", "-p", "faulty", "-n").succeeded().err
    assert faulty.requests == []


def test_many_problems_are_capped() -> None:
    """At most 100 problems are shown, with the number of the others."""
    Path("bad.jsonl").write_text("{x}\n" * 250, encoding="utf-8")
    result = invoke("check", "bad.jsonl", "-p", "openai")
    assert len(result.out.splitlines()) == 100
    assert "150 more" in result.err
    assert "250 problems" in result.err


@pytest.mark.slow
def test_line_ends_marks_and_blank_lines_are_cleaned(faulty: FaultServer) -> None:
    """Byte order mark, CRLF and blank lines are removed before a file is sent; nothing else changes."""
    text = "".join(json.dumps(request(f"r{n}", text="Größe")) + "\r\n\r\n" for n in range(2)).rstrip()
    Path("in.jsonl").write_bytes(b"\xef\xbb\xbf" + text.encode())
    assert "byte order mark" in invoke("run", "in.jsonl", "-p", "faulty").succeeded().err
    (sent,) = [file.data for file in faulty.files.values() if file.purpose == "batch"]
    assert sent == "".join(json.dumps(request(f"r{n}", text="Größe")) + "\n" for n in range(2)).encode()
    assert ids("in.results.jsonl") == ["r0", "r1"]


def test_prompts_of_every_shape_become_requests() -> None:
    """`prepare` reads a byte order mark, CRLF, blank lines and a missing last newline, and keeps line numbers."""
    prompts = b"\xef\xbb\xbfone\r\n\r\n  two \nthree"
    result = invoke("prepare", "-", "--model", "gpt-4o-mini", "--param", "temperature=0.5", stdin=prompts).succeeded()
    lines = [json.loads(line) for line in result.out.splitlines()]
    assert [line["body"]["messages"][0]["content"] for line in lines] == ["one", "  two ", "three"]
    assert [line["custom_id"] for line in lines] == ["line-1", "line-3", "line-4"]
    assert {line["body"]["temperature"] for line in lines} == {0.5}
    assert result.out.endswith("\n")


@pytest.mark.slow
def test_prepare_writes_a_file_and_says_what_is_next() -> None:
    """`prepare -o` writes a file, replaces it only with --force, and prints the next command."""
    Path("prompts.txt").write_text("one\ntwo\n", encoding="utf-8")
    words = ("prepare", "prompts.txt", "-o", "in.jsonl", "-m", "text-embedding-3-small", "--embeddings")
    result = invoke(*words).succeeded()
    assert result.err == "2 requests in in.jsonl, model text-embedding-3-small\nhint: obatch submit in.jsonl\n"
    assert ids("in.jsonl") == ["line-1", "line-2"]
    invoke(*words).failed(1, "in.jsonl already exists", "--force")
    invoke(*words, "--force").succeeded()
    assert invoke("check", "in.jsonl").succeeded().err.startswith("in.jsonl: 2 requests for /v1/embeddings")


@pytest.mark.slow
def test_prepare_refuses_bad_arguments() -> None:
    """Options that exclude each other, no prompts, and invalid UTF-8 are errors with the right exit code."""
    words = ("prepare", "-", "-m", "gpt-4o-mini")
    invoke(*words, "-e", "--score", "x", stdin="a\n").failed(2, "cannot be used together", "choose one")
    invoke(*words, "--param", "top", stdin="a\n").failed(2, "--param 'top' is not KEY=VALUE", "--param top=VALUE")
    invoke(*words, stdin="\n").failed(3, "there is no prompt", "one prompt per line")
    invoke(*words, stdin=b"a\n\xff\n").failed(3, "<stdin>:2: not UTF-8", "UTF-8")
    invoke("prepare", "nowhere.txt", "-m", "gpt-4o-mini").failed(3, "nowhere.txt: No such file")
    invoke("prepare", "-", stdin="a\n").failed(2, "which provider?", "-p")


@pytest.mark.slow
def test_prepare_pipes_into_submit(faulty: FaultServer) -> None:
    """`prepare | submit -` makes one job of prompts, and the registry keeps what a later retry needs."""
    requests = invoke("prepare", "-", "-p", "faulty", "-m", "echo-1", stdin="one\ntwo\n").succeeded().out
    result = invoke("submit", "-", "-p", "faulty", stdin=requests).succeeded()
    assert result.fields["requests"] == "0/2"
    assert len(faulty.batches) == 1
    invoke("wait", "-q").succeeded()
    invoke("download", "-o", "out.jsonl").succeeded()
    assert ids("out.jsonl") == ["line-1", "line-2"]


@pytest.mark.slow
def test_prompts_instead_of_requests(faulty: FaultServer) -> None:
    """`submit` and `check` on a file of prompts name the command that takes prompts."""
    Path("prompts.txt").write_text("Tell me a joke\n", encoding="utf-8")
    Path("table.jsonl").write_text('{"id":1,"text":"a"}\n' * 20, encoding="utf-8")
    Path("many.txt").write_text("Tell me a joke\n" * 20, encoding="utf-8")
    for name in ("prompts.txt", "many.txt", "table.jsonl"):
        result = invoke("submit", name, "-p", "faulty").failed(3, f"{name}: it is not a batch file", "obatch run")
        assert len(result.err.splitlines()) == 2
        result = invoke("check", name, "-p", "faulty").failed(3, "1 problem", f"obatch prepare {name}")
        assert f"{name}:1: the line is not a request" in result.out
    invoke("submit", "prompts.txt", "many.txt", "-p", "faulty").failed(3, "prompts.txt: it is not a batch file")
    invoke("submit", "/dev/null", "-p", "faulty").failed(3, "not a regular file", "standard input")
    invoke("submit", "-", "-p", "faulty").failed(3, "has no requests")
    assert faulty.requests == []


def test_a_terminal_on_standard_input_is_announced() -> None:
    """If standard input is a terminal, the command says that it reads prompts from it."""
    terminal = Terminal("prepare", "-m", "gpt-4o-mini")
    terminal.child.expect("reading prompts from the terminal, one per line; Ctrl-D ends them")
    terminal.child.sendline("hello")
    terminal.child.sendeof()
    assert '"content":"hello"' in terminal.finish().succeeded().out


def test_check_in_a_terminal() -> None:
    """`check` prints its summary in a terminal too."""
    write("in.jsonl", [request("a")])
    assert "1 request for" in see("check", "in.jsonl", "-p", "openai").succeeded().out
