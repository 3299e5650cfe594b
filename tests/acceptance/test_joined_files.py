"""Several batch files are one input: lines keep their order and bytes, and problems are reported by file."""

from __future__ import annotations

import gzip
import json
from typing import TYPE_CHECKING, Any

import pytest
from support.command import ids, invoke, request, write

from openai_batch.errors import BatchError, InputError, UsageError
from openai_batch.files.compression import _zstd
from openai_batch.inputs.formats import Inputs
from openai_batch.requests.batch_file import check_file
from openai_batch.requests.limits import Limits

if TYPE_CHECKING:
    from pathlib import Path

    from openai_batch.requests.batch_file import BatchFile

BOM = b"\xef\xbb\xbf"


def line(custom_id: str, **changes: Any) -> bytes:
    """Return the line of a request, without a line ending."""
    return json.dumps({**request(custom_id), **changes}).encode()


def checked(folder: Path, **files: bytes) -> BatchFile:
    """Check these batch files (`a` is a.jsonl) as one input."""
    for name, content in files.items():
        (folder / f"{name}.jsonl").write_bytes(content)
    work = folder / "spool"
    work.mkdir()
    source = Inputs([str(folder / f"{name}.jsonl") for name in files], work).requests()
    assert source is not None
    return check_file(source, Limits(), work)


def test_the_lines_of_all_files_are_sent_in_order_and_unchanged(tmp_path: Path) -> None:
    """Spacing and escapes are kept; line endings, byte order marks and blank lines are cleaned up."""
    odd = b'{ "custom_id":"a-2" ,"method":"POST","url":"\\/v1\\/chat\\/completions","body":{"model":"echo-1","x":1.50}}'
    found = checked(
        tmp_path,
        a=line("a-1") + b"\n" + odd,
        b=b"",
        c=BOM + line("c-1") + b"\r\n\r\n" + line("c-2") + b"\r\n",
        d=line("d-1") + b"\n\n",
    )
    expected = [line("a-1"), odd, line("c-1"), line("c-2"), line("d-1")]
    assert found.path.read_bytes() == b"".join(each + b"\n" for each in expected)
    assert found.ids.read_text().split() == ['"a-1"', '"a-2"', '"c-1"', '"c-2"', '"d-1"']
    assert found.report.requests == 5
    (warning,) = found.report.problems
    assert (warning.file, warning.line, warning.warning) == (str(tmp_path / "c.jsonl"), 1, True)


def test_a_problem_names_its_own_file_and_line(tmp_path: Path) -> None:
    """Each problem is reported as `file:line`; a repeated id also names the file and line of the first one."""
    with pytest.raises(InputError) as told:
        checked(
            tmp_path,
            a=line("one") + b"\n" + line("two"),
            b=b"{not json\n" + line("three") + b"\n\n" + line("two") + b"\n",
            c=b"BZh91AY" + line("four"),
            d=line("five", url="/v1/embeddings") + b"\n" + line("one"),
        )
    text = str(told.value).replace(f"{tmp_path}/", "")
    for words in (
        "the input of 4 files has 5 problems",
        "b.jsonl:1: not valid JSON",
        'b.jsonl:4: custom_id "two" is also in a.jsonl:2:',
        "c.jsonl:1: the file is compressed with bzip2",
        "d.jsonl:1: url is /v1/embeddings, but the batch's endpoint is /v1/chat/completions: send each one separately",
        'd.jsonl:2: custom_id "one" is also in a.jsonl:1:',
    ):
        assert words in text, text
    assert told.value.hint == "fix the files, then run the same command again"
    places = [((problem.file or "")[-7:], problem.line) for problem in told.value.problems]
    assert places == [("b.jsonl", 1), ("b.jsonl", 4), ("c.jsonl", 1), ("d.jsonl", 1), ("d.jsonl", 2)]


@pytest.mark.parametrize(
    ("names", "table"),
    [
        (("a.jsonl", "t.csv"), "t.csv"),
        (("t.csv", "a.jsonl"), "t.csv"),
        (("empty.jsonl", "a.jsonl", "t.jsonl"), "t.jsonl"),
        (("a.jsonl", "prompts.txt"), "prompts.txt"),
    ],
)
def test_a_mixture_of_tables_and_requests_is_refused(folder: Path, names: tuple[str, ...], table: str) -> None:
    """The error names the table and the batch file, in any order, and the hint converts the table."""
    write("a.jsonl", [request("a")])
    write("t.jsonl", [{"text": "x"}])
    (folder / "empty.jsonl").touch()
    (folder / "t.csv").write_text("id,text\n1,x\n")
    (folder / "prompts.txt").write_text("Hello there\n")
    work = folder / "spool"
    work.mkdir()

    def read() -> None:
        inputs = Inputs(names, work)
        assert inputs.requests() is None
        for each in inputs.tables():
            assert list(each.rows)

    with pytest.raises(UsageError, match=f"^{table} is not a batch file, but a.jsonl is") as told:
        read()
    assert f"obatch prepare {table} -o" in told.value.hint


def test_a_full_disk_names_the_folder(tmp_path: Path) -> None:
    """If the files cannot be joined because the disk is full, the error names the folder."""
    path = tmp_path / "a.jsonl"
    path.write_bytes(line("a") + b"\n")
    (tmp_path / "spool" / "joined.jsonl").parent.mkdir()
    (tmp_path / "spool" / "joined.jsonl").symlink_to("/dev/full")
    with pytest.raises(BatchError, match=r"cannot keep the input in .*spool: No space") as told:
        Inputs([str(path), str(path)], tmp_path / "spool").requests()
    assert told.value.hint == "check the free space and the permissions there"


@pytest.mark.slow
@pytest.mark.usefixtures("real")
def test_shards_are_run_as_one_job() -> None:
    """A pattern, compressed files and standard input are one job, with the results in the order of the files."""
    write("shard-1.jsonl", [request(f"one-{n}") for n in range(3)])
    for number, pack in ((2, gzip.compress), (3, _zstd().compress)):
        path = write(f"shard-{number}.jsonl", [request(f"{number}-{n}") for n in range(2)])
        path.rename(f"{path}.gz")  # the name does not show the format
        path.with_name(f"{path}.gz").write_bytes(pack(path.with_name(f"{path}.gz").read_bytes()))
    more = json.dumps(request("stdin"))
    command = ("run", "shard-*", "-", "-o", "out.jsonl", "-p", "real")
    invoke(*command, stdin=more).succeeded()
    expected = ["one-0", "one-1", "one-2", "2-0", "2-1", "3-0", "3-1", "stdin"]
    assert ids("out.jsonl") == expected
    assert "resuming job" in invoke(*command, stdin=more).succeeded().err
    assert invoke("submit", "shard-*", "-", "-p", "real", "-q", stdin=more).succeeded().out == "1\n"
    assert invoke("ls", "-q").succeeded().out == "1\n"


@pytest.mark.slow
def test_each_of_several_files_is_checked() -> None:
    """`check` reports on each file, and prints one summary, with one exit code."""
    write("a.jsonl", [request("a-1"), request("a-2")])
    write("b.jsonl", [request("a-1")])
    good = invoke("check", "?.jsonl", "-p", "openai").succeeded()
    assert good.out == ""
    assert good.err.splitlines()[1:] == [
        "b.jsonl: 1 request for /v1/chat/completions, within the limits of OpenAI",
        "2 files: 3 requests, no problems",
    ]
    write("c.jsonl", [request("c-1"), "no object"])
    bad = invoke("check", "a.jsonl", "c.jsonl", "b.jsonl", "-p", "openai").failed(3, "1 of 3 files has problems")
    assert bad.out.startswith("c.jsonl:2: the line is not a JSON object")
    assert "c.jsonl has 1 problem for OpenAI" in bad.err
    told = invoke("check", "a.jsonl", "c.jsonl", "-p", "openai", "--json")
    assert told.code == 3
    assert (told.json["ok"], [each["ok"] for each in told.json["files"]]) == (False, [True, False])
    assert [each["line"] for each in told.json["files"][1]["problems"]] == [2]
