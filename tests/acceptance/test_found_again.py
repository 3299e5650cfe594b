"""Jobs with repeated or reused rows that are recovered without the registry or their folder."""

from __future__ import annotations

import itertools
import json
import shutil
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from acceptance.conftest import configure
from support.command import environment, ids, invoke, request, write

from openai_batch.errors import NotFoundError
from openai_batch.jobs.store import reused_answers
from openai_batch.jobs.store.reused_answers import AnswerFile, AnswerFiles, SkippedRows
from openai_batch.results.merge import OrderedResult
from openai_batch.results.outcome import Outcome
from openai_batch.results.result import Result

if TYPE_CHECKING:
    from support.faults import FaultServer

pytestmark = pytest.mark.slow


PLAN = "fault:end=completed"


def state() -> Path:
    """Return the folder of the registry."""
    return Path(environment()["OBATCH_STATE_DIR"])


def lose_registry() -> None:
    """Delete the registry; what jobs keep beside it stays."""
    for path in state().glob("registry.db*"):
        path.unlink()


def table(*texts: str) -> None:
    """Write a table of one column."""
    Path("t.csv").write_text("".join(f"{text}\n" for text in ("text", *texts)), encoding="utf-8")


def run(*words: str, output: str = "out.jsonl", name: str = "t.csv") -> list[str]:
    """Run the table to its end; return which request each result answers."""
    model = () if name.endswith(".jsonl") else ("-m", PLAN)
    invoke("run", name, "-p", "faulty", *model, "-o", output, *words).succeeded()
    return asked(output)


def asked(output: str) -> list[str]:
    """Return, for each result, the id of the request that was answered."""
    lines = Path(output).read_text(encoding="utf-8").splitlines()
    texts = [json.loads(line)["response"]["body"]["choices"][0]["message"]["content"] for line in lines]
    return [text.removeprefix("answer to line-") for text in texts]


def sent(server: FaultServer) -> list[int]:
    """Return how many requests each batch has."""
    return [len(batch.input.data.splitlines()) for batch in server.batches.values()]


def open_files() -> int:
    """Return how many files this process has open."""
    return len(list(Path("/dev/fd").iterdir()))


def test_a_lost_registry_of_a_job_with_repeats(faulty: FaultServer) -> None:
    """After the registry is lost, a grown table sends only its new row, and the plan of the old job is not changed."""
    table("a", "a", "b", "b")
    assert run() == ["1", "1", "3", "3"]
    (plan,) = state().glob("jobs/*/reused.sqlite")
    before = plan.read_bytes()
    lose_registry()
    table("a", "a", "b", "b", "c")
    assert run("--force") == ["1", "1", "3", "3", "5"]
    assert plan.read_bytes() == before
    assert sent(faulty) == [2, 1]
    record = invoke("status", "1", "--json").succeeded().json
    assert (record["requests"]["total"], record["reused"]) == (2, 2)
    assert invoke("download", "1", "-o", "one.jsonl").succeeded()
    assert asked("one.jsonl") == ["1", "1", "3", "3"]


def test_a_recovered_job_uses_the_ids_kept_here(faulty: FaultServer) -> None:
    """A recovered job does not need its input from the provider."""
    table("a", "b")
    run()
    lose_registry()
    for name in [name for name, file in faulty.files.items() if file.purpose == "batch"]:
        del faulty.files[name]
    table("a", "b", "c")
    assert run("--force") == ["1", "2", "3"]
    assert sent(faulty) == [2, 1]


@pytest.mark.parametrize("lost", ["folder", "all"])
def test_another_machine(faulty: FaultServer, lost: str) -> None:
    """Without the job folder `download` is an error, and the same command gives every row without sending any."""
    table("a", "b", "a")
    run()
    if lost == "all":
        shutil.rmtree(state())
        invoke("recover", "-p", "faulty").succeeded()
    else:
        shutil.rmtree(next(state().glob("jobs/*")))
    told = invoke("download", "1", "-o", "one.jsonl").failed(1, "have the answers of other rows", "same command")
    assert "2 of 2" not in told.err
    assert not Path("one.jsonl").exists()
    assert run("--force") == ["1", "2", "1"]
    assert run(output="two.jsonl") == ["1", "2", "1"]
    record = invoke("status", "1", "--json").succeeded().json
    assert (record["requests"]["total"], record["reused"]) == (2, 1)
    assert sent(faulty) == [2]


def test_another_machine_looks_first(faulty: FaultServer) -> None:
    """With --check-remote, another machine finds the job, including its repeated rows."""
    table("a", "b", "a")
    run()
    shutil.rmtree(state())
    assert run("--check-remote", "--force") == ["1", "2", "1"]
    assert sent(faulty) == [2]


def test_several_models_and_parts_on_another_machine(faulty: FaultServer) -> None:
    """On another machine, the results of a job with several models and parts are in input order."""
    configure("small", faulty.base_url, max_requests=2)
    write("in.jsonl", [request(f"r{n}", f"model-{n % 2}") for n in range(9)])
    invoke("run", "in.jsonl", "-p", "small", "-o", "out.jsonl").succeeded()
    shutil.rmtree(state())
    invoke("run", "in.jsonl", "-p", "small", "-o", "again.jsonl", "--check-remote").succeeded()
    assert Path("again.jsonl").read_bytes() == Path("out.jsonl").read_bytes()
    assert len(faulty.batches) == 5


def test_missing_requests_of_a_recovered_job(faulty: FaultServer) -> None:
    """`download --missing` of a recovered job works after its input was submitted again."""
    configure("small", faulty.base_url, max_requests=4)
    lines = [request(f"r{n}", "fault:rows=absent") for n in range(40)]
    write("in.jsonl", lines)
    assert invoke("run", "in.jsonl", "-p", "small", "-o", "out.jsonl").code == 5
    lose_registry()
    invoke("recover", "-p", "small").succeeded()
    words = ("download", "1", "-o", "again.jsonl", "--missing", "rest.jsonl")
    invoke(*words).failed(3, "was found again", "with its input")
    invoke("submit", "in.jsonl", "-p", "small").succeeded()
    assert invoke(*words).code == 5
    assert ids("rest.jsonl") == [f"r{n}" for n in range(40) if n % 4 > 1]
    assert len(faulty.batches) == 10


def test_nothing_missing_needs_no_input(faulty: FaultServer) -> None:
    """If every request has a success, --missing writes an empty file, also after the input was removed."""
    assert not faulty.batches
    table("a", "b")
    words = ("run", "t.csv", "-p", "faulty", "-m", PLAN, "-o", "out.csv", "--missing", "rest.jsonl")
    for _ in range(2):
        invoke(*words).succeeded()
        assert Path("rest.jsonl").read_bytes() == b""


def test_deleted_answers_are_reported(faulty: FaultServer) -> None:
    """If the folder with reused answers was deleted, the error names it, and the hint is --again."""
    table("a", "b")
    run()
    earlier = next(state().glob("jobs/*"))
    table("a", "b", "c")
    run()
    shutil.rmtree(earlier)
    told = invoke("download", "2", "-o", "two.jsonl").failed(6, "job 2 takes from an earlier job are gone", "--again")
    assert earlier.name in told.err
    assert not Path("two.jsonl").exists()
    assert sent(faulty) == [2, 1]


@pytest.mark.parametrize("kind", ["jsonl", "places"])
def test_nothing_is_sent_if_reused_answers_are_gone(faulty: FaultServer, kind: str) -> None:
    """If the reused answers cannot be read, the command fails before it sends anything."""
    for texts in ("ab", "abc"):
        table(*texts)
        run()
    for path in state().glob("jobs/*/answers-1.*"):
        if path.suffix == f".{kind}":
            path.unlink()
    table(*"abcd")
    words = ("run", "t.csv", "-p", "faulty", "-m", PLAN, "-o", "out.jsonl")
    told = invoke(*words).failed(6, "are no longer available", "--again")
    assert f"answers-1.{kind} is gone" in told.err
    assert sent(faulty) == [2, 1]


def test_many_files_of_answers_need_few_open_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Reading answers from many files keeps only a few of them open."""
    monkeypatch.setattr(reused_answers, "MAX_OPEN_FILES", 3)
    paths = [tmp_path / f"store-{n}.jsonl" for n in range(1, 8)]
    for number, path in enumerate(paths, 1):
        answers = AnswerFile(path)
        with answers.lines.open("wb") as lines, answers.index.open("wb") as index:
            found = (OrderedResult(row, Outcome.SUCCESS, b"%d %d\n" % (number, row)) for row in range(3))
            answers.write(found, lines, index)
    files = AnswerFiles(paths, 1, Result.of)
    before = open_files()
    for number in itertools.chain(range(1, 8), (7, 1, 6), range(1, 8)):
        (found_rows,) = files.results(SkippedRows(7, 2, number, 1))
        assert list(found_rows) == [b"%d 1\n" % number, b"%d 2\n" % number]
        assert open_files() <= before + 3 * 2  # each file has an index
    files.close()
    assert open_files() == before
    paths[4].unlink()
    with pytest.raises(NotFoundError, match="store-5"):
        files.results(SkippedRows(7, 2, 5, 1))
