"""`obatch run` pays for each row once, also if the input has repeated rows, grows or changes."""

from __future__ import annotations

import json
import shutil
import subprocess
import time
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from support.command import COMMAND, environment, ids, invoke, request, write
from support.sample_results import read_csv

if TYPE_CHECKING:
    from support.faults import FaultServer
    from support.servers import LocalServer

pytestmark = pytest.mark.slow


PLAN = "fault:end=completed"


def table(*texts: str, name: str = "t.csv") -> str:
    """Write a table of one column."""
    Path(name).write_text("".join(f"{text}\n" for text in ("text", *texts)), encoding="utf-8")
    return name


def run(*words: str, plan: str = PLAN, output: str = "out.jsonl", code: int = 0, name: str = "t.csv") -> str:
    """Run the table at the provider that fails as planned; return standard error."""
    model = () if name.endswith(".jsonl") else ("-m", plan)
    made = invoke("run", name, "-p", "faulty", *model, "-o", output, *words)
    assert made.code == code, made
    return made.err


def sent(server: FaultServer) -> list[list[str]]:
    """Return the prompts of each batch, in the order of its requests."""
    return [
        [json.loads(line)["body"]["messages"][-1]["content"] for line in batch.input.data.splitlines()]
        for batch in server.batches.values()
    ]


def answers(path: str = "out.jsonl") -> list[str]:
    """Return the answers, in the order of the results."""
    lines = Path(path).read_text(encoding="utf-8").splitlines()
    return [json.loads(line)["response"]["body"]["choices"][0]["message"]["content"] for line in lines]


def test_identical_rows_are_sent_once(real: LocalServer) -> None:
    """Identical rows are sent once, and each gets the answer under its own id."""
    assert real.token
    table("a", "b", "a", "c", "a", "b")
    made = invoke("run", "t.csv", "-p", "real", "-m", "echo-1", "-o", "out.jsonl").succeeded()
    assert "3 requests for 6 rows (3 repeated)" in made.err
    assert ids("out.jsonl") == [f"line-{n}" for n in range(1, 7)]
    assert answers() == [f"echo: {text}" for text in "abacab"]
    record = invoke("status", "--json").succeeded().json
    assert record["requests"]["total"] == record["reused"] == 3
    assert record["answered"] == 6


def test_no_dedup_sends_every_row(faulty: FaultServer) -> None:
    """With --no-dedup each row gets an answer of its own; an answer of an earlier job counts as one."""
    table("a", "a", "b")
    run("--no-dedup")
    assert sent(faulty) == [["a", "a", "b"]]
    table("x", "x", "y", name="u.csv")
    run(name="u.csv", output="once.jsonl")
    run("--no-dedup", name="u.csv", output="each.jsonl")
    assert sent(faulty)[1:] == [["x", "y"], ["x"]]
    assert ids("each.jsonl") == ["line-1", "line-2", "line-3"]
    assert len({json.dumps(json.loads(line)["response"]) for line in Path("each.jsonl").read_text().splitlines()}) == 3


def test_ready_requests_are_sent_as_they_are(faulty: FaultServer) -> None:
    """Identical requests of a batch file are all sent; --dedup sends them once."""
    write("in.jsonl", [request(f"r{n}", PLAN) for n in range(4)])
    run(name="in.jsonl")
    write("once.jsonl", [request(f"r{n}", PLAN) for n in range(4)])
    run("--dedup", name="once.jsonl", output="once.out.jsonl")
    assert [len(texts) for texts in sent(faulty)] == [4, 1]
    assert ids("once.out.jsonl") == ["r0", "r1", "r2", "r3"]


def test_a_grown_input_sends_its_new_rows(real: LocalServer) -> None:
    """The same command on a longer table sends only the new rows, and its output has all answers."""
    assert real.token
    table("a", "b")
    invoke("run", "t.csv", "-p", "real", "-m", "echo-1", "-o", "out.csv").succeeded()
    table("a", "b", "c")
    made = invoke("run", "t.csv", "-p", "real", "-m", "echo-1", "-o", "out.csv").succeeded()
    assert "1 request for 3 rows (2 answered before)" in made.err
    assert [row["answer"] for row in read_csv("out.csv")] == ["echo: a", "echo: b", "echo: c"]
    assert not Path("out.csv.1").exists()


def test_changed_and_moved_rows(faulty: FaultServer) -> None:
    """Only changed rows are sent, and moved rows keep their answers."""
    table("a", "b", "c", "d")
    run()
    before = dict(zip("abcd", Path("out.jsonl").read_bytes().splitlines(), strict=True))
    table("x", "d", "a", "y", "x", "b")
    told = run()
    assert sent(faulty) == [list("abcd"), ["x", "y"]]
    assert ids("out.jsonl") == [f"line-{n}" for n in range(1, 7)]
    after = Path("out.jsonl").read_bytes().splitlines()
    for row, text in ((1, "d"), (2, "a"), (5, "b")):
        assert json.loads(after[row]) == json.loads(before[text]) | {"custom_id": f"line-{row + 1}"}
    assert "out.jsonl.1" in told
    assert Path("out.jsonl.1").read_bytes().splitlines() == list(before.values())


def test_day_after_day(faulty: FaultServer) -> None:
    """A table that grows for ten days sends each row once, and the results have all rows each day."""
    for day in range(1, 11):
        table(*(f"row {n}" for n in range(3 * day)))
        run()
        assert len(ids("out.jsonl")) == 3 * day
    assert sent(faulty) == [[f"row {n}" for n in range(3 * day, 3 * day + 3)] for day in range(10)]
    assert not list(Path().glob("out.jsonl.*"))


def test_a_shorter_input_sends_nothing(faulty: FaultServer) -> None:
    """If all rows already have answers, nothing is sent, and the new job is completed."""
    table("a", "b", "c")
    run()
    table("c", "a")
    run(output="two.jsonl")
    assert len(faulty.batches) == 1
    assert len(faulty.uploads) == 1
    assert ids("two.jsonl") == ["line-1", "line-2"]
    assert invoke("status", "--json").succeeded().json["status"] == "completed"
    assert invoke("ls", "--json").succeeded().json[0]["id"] == 2
    run(output="two.jsonl")
    invoke("results", "--as", "csv").succeeded()
    invoke("wait").succeeded()


def test_failed_rows_are_sent_with_the_new_ones(faulty: FaultServer) -> None:
    """Rows without a success are sent again with the new rows."""
    table("a", "b", "c", "d")
    run(plan="fault:end=expired;rows=expired", code=5)
    done = [json.loads(line) for line in Path("out.jsonl").read_text(encoding="utf-8").splitlines()]
    good = [row["custom_id"] for row in done if not row.get("error")]
    assert 0 < len(good) < 4
    table("a", "b", "c", "d", "e")
    told = run("--dry-run", plan="fault:end=expired;rows=expired")
    assert f"{5 - len(good)} requests for 5 rows ({len(good)} answered before)" in told
    assert "would be sent too" not in told
    invoke("prune", "--older-than", "0s").succeeded()
    assert "would be sent too" in run("--dry-run", plan="fault:end=expired;rows=expired")
    run(plan="fault:end=expired;rows=expired", code=5)
    first, second = sent(faulty)
    assert first == list("abcd")
    assert second == [text for n, text in enumerate("abcde", 1) if f"line-{n}" not in good]


def test_another_prompt_sends_every_row(faulty: FaultServer) -> None:
    """With another system prompt all rows are sent, and the old output is replaced only with --force."""
    table("a", "b")
    run("--system", "one")
    before = Path("out.jsonl").read_bytes()
    told = run("--system", "two", code=1)
    assert "--force" in told
    assert Path("out.jsonl").read_bytes() == before
    run("--system", "two", "--force")
    assert sent(faulty) == [["a", "b"], ["a", "b"]]


def test_again_sends_everything(faulty: FaultServer) -> None:
    """--again reuses no answers."""
    table("a", "b")
    run()
    table("a", "b", "c")
    run("--again", "--force")
    assert sent(faulty) == [["a", "b"], ["a", "b", "c"]]


def test_a_pipe_is_known_by_its_output(faulty: FaultServer) -> None:
    """Input from a pipe with the same output reuses the answers of the earlier job."""
    words = ("run", "-", "-p", "faulty", "-m", PLAN, "-o", "out.jsonl")
    invoke(*words, stdin="a\nb\n").succeeded()
    invoke(*words, stdin="a\nb\nc\n").succeeded()
    assert sent(faulty) == [["a", "b"], ["c"]]
    assert len(ids("out.jsonl")) == 3


def test_ready_requests_that_grow(faulty: FaultServer) -> None:
    """Requests of a batch file are compared without their ids, and a changed request is sent again."""
    write("in.jsonl", [request(f"r{n}", PLAN, f"text {n}") for n in range(3)])
    run(name="in.jsonl")
    texts = ["text 0", "Else", "text 2", "text 3"]
    write("in.jsonl", [request(f"r{n}", PLAN, text) for n, text in enumerate(texts)])
    run(name="in.jsonl")
    assert [[json.loads(line)["custom_id"] for line in b.input.data.splitlines()] for b in faulty.batches.values()] == [
        ["r0", "r1", "r2"],
        ["r1", "r3"],
    ]
    assert ids("out.jsonl") == ["r0", "r1", "r2", "r3"]
    write("in.jsonl", [request(f"r{n + 7}", PLAN, f"text {n}") for n in (0, 2, 3)])
    run(name="in.jsonl")
    assert len(faulty.batches) == 2
    assert ids("out.jsonl") == ["r7", "r9", "r10"]
    for line in Path("out.jsonl").read_text(encoding="utf-8").splitlines():
        assert json.loads(line)["response"]["status_code"] == 200


def test_a_job_that_runs_is_waited_for(faulty: FaultServer) -> None:
    """The command waits for an earlier job that still runs, and does not send its rows again."""
    steps = "fault:steps=in_progress,in_progress,in_progress"
    table("a", "b")
    run("--timeout", "0s", plan=steps, code=124)
    table("a", "b", "c")
    told = run(plan=steps)
    assert "waiting for it" in told
    assert sent(faulty) == [["a", "b"], ["c"]]
    assert len(ids("out.jsonl")) == 3


def test_a_job_that_was_never_sent_is_withdrawn(faulty: FaultServer) -> None:
    """The new job sends the rows that an earlier job could not send, and the earlier job is withdrawn."""
    table("a", "b")
    plan = "fault:create=401*9"
    run(plan=plan, code=4)
    table("a", "b", "c")
    assert not faulty.batches
    faulty.settle()
    told = invoke(
        "run", "t.csv", "-p", "faulty", "-m", plan, "-o", "out.jsonl", env={"TEST_KEY": "sk-hidden-0123456789"}
    )
    assert "has not sent yet" in told.err, told
    invoke("wait", "1")
    assert len(faulty.batches) <= 1
    assert invoke("status", "1", "--json").json["status"] == "withdrawn"


def test_a_cancelled_job_sends_nothing_more(faulty: FaultServer) -> None:
    """After a job is cancelled, `wait` does not send its waiting parts."""
    faulty.queue_bytes = 700
    write("in.jsonl", [request(f"r{n}", "fault:steps=in_progress*50") for n in range(12)])
    shutil.copy("in.jsonl", "copy.jsonl")
    with Path(environment()["OBATCH_CONFIG"]).open("a", encoding="utf-8") as handle:
        handle.write("\n")
    text = Path(environment()["OBATCH_CONFIG"]).read_text(encoding="utf-8")
    Path(environment()["OBATCH_CONFIG"]).write_text(
        text.replace("[providers.faulty]", "[providers.faulty]\nmax_requests = 3"), encoding="utf-8"
    )
    invoke("submit", "in.jsonl", "-p", "faulty").succeeded()
    before = len(faulty.batches)
    assert before < 4
    invoke("cancel", "1").succeeded()
    invoke("wait", "1")
    assert len(faulty.batches) == before
    assert invoke("status", "1", "--json").json["parts"]["waiting"] == 0


def test_repeats_are_not_sent_again_by_a_retry(faulty: FaultServer) -> None:
    """A retry sends only the request that failed, not the rows that repeat it."""
    table("a", "b", "a", "b", "a")
    run(plan="fault:end=expired;rows=expired", code=5)
    assert sent(faulty) == [["a", "b"]]
    invoke("retry", "--all").succeeded()
    assert len(sent(faulty)) == 2
    assert len(sent(faulty)[1]) == 1
    again = invoke("wait")
    assert again.code in (0, 5)


def test_a_dry_run_of_a_grown_input_sends_nothing(faulty: FaultServer) -> None:
    """--dry-run on a grown input shows what would be sent, and sends no request."""
    table("a", "b", "a")
    run()
    seen = len(faulty.requests)
    table("a", "b", "a", "c")
    told = run("--dry-run")
    assert "a batch of 1 request" in told
    assert "1 request for 4 rows (3 answered before)" in told
    table("b", "a")
    assert "nothing would be sent: 2 rows were in earlier jobs" in run("--dry-run")
    assert len(faulty.requests) == seen


def test_an_output_that_another_program_changed_is_moved(faulty: FaultServer) -> None:
    """An output that was changed by hand is renamed before the new results replace it."""
    table("a", "b")
    run()
    with Path("out.jsonl").open("a", encoding="utf-8") as handle:
        handle.write("a remark\n")
    table("a", "b", "c")
    run()
    assert Path("out.jsonl.1").read_text(encoding="utf-8").endswith("a remark\n")
    assert len(ids("out.jsonl")) == 3
    assert len(faulty.batches) == 2


def test_lost_results_are_not_paid_again_without_again(faulty: FaultServer) -> None:
    """If the results of an earlier job are lost, rows are sent again only with --again."""
    table("a", "b")
    run()
    for name in [name for name, file in faulty.files.items() if file.purpose != "batch"]:
        del faulty.files[name]
    invoke("prune", "--older-than", "0s").succeeded()
    table("a", "b", "c")
    told = run(code=6)
    assert "--again" in told
    assert len(faulty.batches) == 1


def test_a_lost_registry(faulty: FaultServer) -> None:
    """After the registry is lost, the earlier job is found at the provider, and its rows are not sent again."""
    table("a", "b")
    run()
    for path in Path(environment()["OBATCH_STATE_DIR"]).glob("registry.db*"):
        path.unlink()
    table("a", "b", "c")
    run("--force")
    assert sent(faulty) == [["a", "b"], ["c"]]
    assert len(ids("out.jsonl")) == 3


def test_two_identical_runs_of_a_grown_input_make_one_job(faulty: FaultServer) -> None:
    """Two identical commands at the same time create one job, and both exit with code 0."""
    table("a", "b")
    run()
    table("a", "b", "c", "d", "c")
    command = [*COMMAND, "run", "t.csv", "-p", "faulty", "-m", PLAN, "-o", "out.jsonl"]
    both = [subprocess.Popen(command, stderr=subprocess.PIPE, env=environment()) for _ in range(2)]
    ends = [process.communicate()[1].decode() for process in both]
    assert [process.returncode for process in both] == [0, 0], ends
    assert sent(faulty) == [["a", "b"], ["c", "d"]]
    assert len(ids("out.jsonl")) == 5


def test_rows_of_a_pipe_that_are_running_are_waited_for(faulty: FaultServer) -> None:
    """Rows from a pipe that are still running in a job with the same output are not sent again."""
    words = ("run", "-", "-p", "faulty", "-m", "fault:steps=in_progress", "-o", "out.jsonl")
    assert invoke(*words, "--timeout", "0s", stdin="a\nb\n").code == 124
    invoke(*words, stdin="a\nb\nc\n").succeeded()
    assert sent(faulty) == [["a", "b"], ["c"]]


def test_run_reuses_the_answers_of_submit(faulty: FaultServer) -> None:
    """`run` on a grown file reuses the answers of a job that `submit` started."""
    write("in.jsonl", [request(f"r{n}", PLAN, f"text {n}") for n in range(2)])
    invoke("submit", "in.jsonl", "-p", "faulty").succeeded()
    write("in.jsonl", [request(f"r{n}", PLAN, f"text {n}") for n in range(3)])
    run(name="in.jsonl")
    assert sent(faulty) == [["text 0", "text 1"], ["text 2"]]


def test_an_earlier_job_is_found_behind_many_others(faulty: FaultServer) -> None:
    """The job with the same rows is found, even after many later jobs of the same input."""
    table("a", "b")
    run()
    for number in range(22):
        run("--limit", "1", "--system", f"try {number}", output=f"o{number}.jsonl")
    table("a", "b", "c")
    run()
    assert sent(faulty)[-1] == ["c"]


def test_the_grown_job_takes_over_the_name(faulty: FaultServer) -> None:
    """The job of the grown input takes over the name; the name of another input's job is refused."""
    table("a")
    run("--name", "nightly")
    table("a", "b")
    run("--name", "nightly")
    assert invoke("status", "nightly", "--json").succeeded().json["id"] == 2
    table("z", name="u.csv")
    run("--name", "nightly", name="u.csv", output="u.jsonl", code=1)
    assert sent(faulty) == [["a"], ["b"]]


def test_a_foreign_output_is_refused_before_waiting(faulty: FaultServer) -> None:
    """If the output is an unrelated file, the command stops before it waits for the earlier job."""
    plan = "fault:steps=in_progress,in_progress"
    table("a", "b")
    run("--timeout", "0s", plan=plan, code=124)
    table("a", "b", "c")
    Path("mine.txt").write_text("precious", encoding="utf-8")
    told = run(plan=plan, output="mine.txt", code=1)
    assert "waiting" not in told
    assert Path("mine.txt").read_text(encoding="utf-8") == "precious"
    assert len(faulty.batches) == 1


def test_the_file_of_missing_requests_is_renewed_when_the_input_has_grown(faulty: FaultServer) -> None:
    """If the input has grown, the same command with --missing replaces the file that it wrote before."""
    plan = "fault:rows=mixed"
    table("a", "b")
    run("--missing", "rest.jsonl", plan=plan, code=5)
    assert ids("rest.jsonl") == ["line-2"]
    table("a", "b", "c", "d")
    run("--missing", "rest.jsonl", plan=plan, code=5)
    assert sent(faulty) == [["a", "b"], ["b", "c", "d"]]
    assert ids("rest.jsonl") == ["line-3"]


def test_the_file_of_missing_requests_is_renewed_if_results_go_to_standard_output(faulty: FaultServer) -> None:
    """The same command again replaces the file of --missing, also if it writes the results to standard output."""
    table("a", "b")
    for _ in range(2):
        run("--missing", "rest.jsonl", plan="fault:rows=mixed", output="-", code=5)
        assert ids("rest.jsonl") == ["line-2"]
    assert len(faulty.batches) == 1


def test_missing_does_not_replace_an_unrelated_file_if_the_job_was_not_sent(faulty: FaultServer) -> None:
    """If a job is stored and was not sent, --missing does not replace an unrelated file either: nothing is sent."""
    table("a", "b")
    run(plan="fault:upload=400*1", code=1)
    Path("precious.jsonl").write_text("precious", encoding="utf-8")
    told = run("--missing", "precious.jsonl", plan="fault:upload=400*1", code=1)
    assert "precious.jsonl already exists" in told
    assert Path("precious.jsonl").read_text(encoding="utf-8") == "precious"
    assert not faulty.batches


def test_missing_does_not_replace_an_unrelated_file(faulty: FaultServer) -> None:
    """--missing does not replace an unrelated file, and nothing is sent."""
    table("a", "b")
    run()
    table("a", "b", "c")
    Path("precious.jsonl").write_text("precious", encoding="utf-8")
    run("--missing", "precious.jsonl", code=1)
    assert Path("precious.jsonl").read_text(encoding="utf-8") == "precious"
    assert len(faulty.batches) == 1


def test_an_output_changed_by_another_program_is_moved(faulty: FaultServer) -> None:
    """An output that changes while the grown job runs is renamed, not lost."""
    plan = "fault:steps=in_progress,in_progress"
    table("a", "b")
    run(plan=plan)
    table("a", "b", "c")
    run("--timeout", "0s", plan=plan, code=124)
    with Path("out.jsonl").open("a", encoding="utf-8") as handle:
        handle.write("a remark\n")
    run(plan=plan)
    assert Path("out.jsonl.1").read_text(encoding="utf-8").endswith("a remark\n")
    assert len(ids("out.jsonl")) == 3
    assert sent(faulty) == [["a", "b"], ["c"]]


def test_two_different_grown_inputs_pay_each_row_once(faulty: FaultServer) -> None:
    """If two grown inputs run at the same time, the second does not send the rows of the first again."""
    table(*(f"row {n}" for n in range(3)))
    run()
    words = [*COMMAND, "run", "t.csv", "-p", "faulty", "-m", PLAN, "-o", "out.jsonl"]
    ends = []
    for size in (5, 7):
        table(*(f"row {n}" for n in range(size)), name=f"{size}.csv")
    processes = []
    for size in (5, 7):
        Path(f"{size}.csv").replace("t.csv")
        processes.append(subprocess.Popen(words, stderr=subprocess.PIPE, env=environment()))
        if size == 5:
            while processes[0].poll() is None and len(faulty.uploads) < 2:
                time.sleep(0.01)
    ends = [process.communicate()[1].decode() for process in processes]
    assert processes[1].returncode == 0, ends
    assert sorted(text for texts in sent(faulty) for text in texts) == [f"row {n}" for n in range(7)], ends
    assert len(ids("out.jsonl")) == 7, ends


def test_an_uncertain_job_can_be_given_up(faulty: FaultServer) -> None:
    """Rows of an uncertain job stop a grown input, until --resubmit-uncertain sends them again."""
    configuration = Path(environment()["OBATCH_CONFIG"])
    text = configuration.read_text(encoding="utf-8")
    configuration.write_text(text.replace("= 30", "= 1"), encoding="utf-8")
    plan = "fault:create=reset"
    table("a", "b")
    run(plan=plan, code=7)
    table("a", "b", "c")
    run(plan=plan, code=7)
    assert not faulty.batches
    run("--resubmit-uncertain", plan=plan)
    assert sent(faulty) == [["a", "b", "c"]]


def test_results_with_removed_rows_are_kept(faulty: FaultServer) -> None:
    """Old results with more rows than the new ones are renamed, not deleted."""
    Path("t.csv").write_text("id,text\n1,a\n2,b\n9,a\n", encoding="utf-8")
    run("--id", "id", output="o.csv")
    Path("t.csv").write_text("id,text\n1,a\n2,b\n", encoding="utf-8")
    run("--id", "id", output="o.csv")
    assert Path("o.csv.1").read_text(encoding="utf-8").count("\n") == 4
    assert len(faulty.batches) == 1


def test_a_copy_of_the_results_changes_nothing(faulty: FaultServer) -> None:
    """A download to another path does not change which file is the job's output."""
    table("a", "b")
    run()
    invoke("download", "-o", "copy.jsonl").succeeded()
    run()
    table("a", "b", "c")
    run()
    assert sent(faulty) == [["a", "b"], ["c"]]
    assert not Path("out.jsonl.1").exists()


def test_counts_after_retries_are_true(faulty: FaultServer) -> None:
    """A retry that fails again does not change the counts of the job."""
    table("a", "b", "c", "d")
    run("--retries", "2", plan="fault:rows=allerrors", code=5)
    invoke("retry", "--all").succeeded()
    assert invoke("wait").code == 5
    assert invoke("status", "--json").json["requests"] == {"total": 4, "completed": 0, "failed": 4}
    assert len(faulty.batches) == 2


def test_an_expired_job_is_completed_by_retries(faulty: FaultServer) -> None:
    """If retries answer every request, a job whose first batch expired is completed."""
    table("a", "b", "c", "d")
    run(plan="fault:end=expired;rows=expired", code=5)
    for _ in range(3):
        invoke("retry", "--all").succeeded()
        ended = invoke("wait")
    assert ended.code == 0, ended
    assert invoke("status", "--json").json["status"] == "completed"
    assert len(faulty.batches) == 3


def test_a_job_of_another_endpoint_is_ignored(faulty: FaultServer) -> None:
    """A later job of the same input for another endpoint does not affect which rows are sent."""
    table("a", "b")
    run()
    run("--embeddings", output="vectors.jsonl")
    table("a", "b", "c")
    run()
    assert [len(batch.input.data.splitlines()) for batch in faulty.batches.values()] == [2, 2, 1]
