"""Results of rows that are not sent are placed in order between the results of the rows that are sent."""

from __future__ import annotations

import itertools
import json
import sqlite3
from contextlib import closing
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from openai_batch import version
from openai_batch.errors import BatchError, NotFoundError
from openai_batch.jobs.store import reused_answers
from openai_batch.jobs.store.reused_answers import (
    THIS_JOB,
    AnswerFile,
    AnswerFiles,
    AnswerReader,
    SkippedRows,
    completed,
    count_skipped,
    skipped_rows,
)
from openai_batch.requests.row_set import RowSet
from openai_batch.results.merge import OrderedResult, Successes
from openai_batch.results.outcome import OUTCOMES, Outcome
from openai_batch.results.result import Result

if TYPE_CHECKING:
    from pathlib import Path

# How a row ends: it is sent, with or without a result; it repeats an earlier row; another job answered it.
SENT = ("good", "bad", "lost")


def answer(row: int, outcome: Outcome = Outcome.SUCCESS, file: int = 1) -> bytes:
    """Return the result line of a row with this outcome."""
    message = {"content": "no", "refusal": "no"} if outcome is Outcome.REFUSED else {"content": f"taken from {file}"}
    choice = {"message": message, "finish_reason": "length" if outcome is Outcome.CUT else "stop"}
    response = {"status_code": 500 if outcome is Outcome.ERROR else 200, "body": {"choices": [choice]}}
    return json.dumps({"custom_id": str(row), "response": response}).encode() + b"\n"


def all_results(table: Path, results: list[OrderedResult], files: list[Path]) -> list[OrderedResult]:
    """Return the results of a job together with those of its skipped rows."""
    answers = AnswerFiles(files, 1, Result.of)
    scratch = table.with_name("scratch")
    scratch.write_bytes(b"")
    with skipped_rows(table) as skipped:
        found = [each for result in completed(iter(results), skipped, answers, scratch) for each in one_by_one(result)]
    answers.close()
    return found


def one_by_one(result: OrderedResult | Successes) -> list[OrderedResult]:
    """Return the results of single rows."""
    if isinstance(result, OrderedResult):
        return [result]
    found = [OrderedResult(row, Outcome.SUCCESS, line) for row, line in enumerate(result, result.row)]
    assert len(found) == result.count
    return found


def stored(path: Path, results: list[OrderedResult]) -> Path:
    """Write a file of answers with its index, and return its path."""
    answers = AnswerFile(path)
    with answers.lines.open("wb") as lines, answers.index.open("wb") as index:
        answers.write(iter(results), lines, index)
    return path


@pytest.mark.slow
@settings(max_examples=200, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(data=st.data(), size=st.integers(0, 40), block=st.sampled_from([1, 200, 1 << 18]))
def test_every_row_gets_its_own_result(data: st.DataObject, size: int, block: int, tmp_path: Path) -> None:
    """Each row has one result: of its own request, of the row that it repeats, or of an earlier job."""
    expected: dict[int, OrderedResult] = {}
    results: list[OrderedResult] = []
    records: list[tuple[int, int, int, int]] = []
    sent: list[int] = []
    files = [tmp_path / "answers-1.jsonl", tmp_path / "answers-2.jsonl"]
    kept = data.draw(st.lists(st.sampled_from(OUTCOMES), min_size=1, max_size=20))
    answered = [row for row, outcome in enumerate(kept) if outcome.answered]
    row = 0
    while row < size:
        kind = data.draw(st.sampled_from([*SENT, *(["taken"] if answered else []), *(["same"] if sent else [])]))
        if kind == "same":
            original = data.draw(st.sampled_from(sent))
            records.append((row, 1, THIS_JOB, original))
            if original in expected:
                expected[row] = expected[original]._replace(row=row)
        elif kind == "taken":
            file, place = data.draw(st.integers(1, 2)), data.draw(st.sampled_from(answered))
            most = next(n for n in range(1, len(kept) + 1) if place + n not in answered)
            length = data.draw(st.integers(1, most))
            records.append((row, length, file, place))
            for number in range(length):
                expected[row + number] = OrderedResult(
                    row + number, kept[place + number], answer(place + number, kept[place + number], file)
                )
            row += length - 1
        else:
            sent.append(row)
            if kind != "lost":
                expected[row] = OrderedResult(
                    row, Outcome.SUCCESS if kind == "good" else Outcome.ERROR, b"%s %d\n" % (kind.encode(), row)
                )
                results.append(expected[row])
        row += 1
    for file, path in enumerate(files, 1):
        stored(path, [OrderedResult(row, outcome, answer(row, outcome, file)) for row, outcome in enumerate(kept)])
    table = tmp_path / "reused.sqlite"
    with skipped_rows(table, "rwc") as skipped:
        skipped.add(data.draw(st.permutations(records)))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(reused_answers, "_BLOCK", block)
        assert all_results(table, results, files) == [expected[row] for row in sorted(expected)]


def test_a_result_of_a_skipped_row_is_ignored(tmp_path: Path) -> None:
    """A result for a skipped row is ignored."""
    table = tmp_path / "reused.sqlite"
    with skipped_rows(table, "rwc") as skipped:
        skipped.add([(1, 1, 1, 0)])
    good, bad = Outcome.SUCCESS, Outcome.ERROR
    results = [OrderedResult(0, good, b"a\n"), OrderedResult(1, bad, b"b\n"), OrderedResult(3, good, b"d\n")]
    answers = stored(tmp_path / "answers-1.jsonl", [OrderedResult(0, good, answer(1))])
    found = all_results(table, results, [answers])
    assert found == [results[0], OrderedResult(1, good, answer(1)), results[2]]


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(rows=st.lists(st.sampled_from([*OUTCOMES, Outcome.SUCCESS]), max_size=30), at_once=st.sampled_from([1, 3, 4096]))
def test_answers_are_found_by_row(rows: list[Outcome], at_once: int, tmp_path: Path) -> None:
    """Each answered result that is kept for later jobs is found by its row, and the others are not."""
    results = [OrderedResult(row, outcome, answer(row, outcome)) for row, outcome in enumerate(rows)]
    path = stored(tmp_path / "answers-1.jsonl", results)
    with pytest.MonkeyPatch.context() as patch, AnswerReader(AnswerFile(path)) as reader:
        patch.setattr(reused_answers, "_ROWS_AT_ONCE", at_once)
        found = [row for first, length in reader.ranges(0, len(rows) + 2) for row in range(first, first + length)]
        assert found == [row for row, outcome in enumerate(rows) if outcome.answered]
        for first, length in reader.ranges(1, len(rows)):
            read = reader.results(SkippedRows(first, length, 1, first), Result.of)
            assert [each for one in read for each in one_by_one(one)] == results[first : first + length]
        for row, outcome in enumerate([*rows, Outcome.MISSING]):
            if not outcome.answered:
                with pytest.raises(NotFoundError, match="are gone"):
                    list(reader.results(SkippedRows(row, 1, 1, row), Result.of))


@pytest.mark.parametrize("kind", [".jsonl", ".places"])
@pytest.mark.parametrize("block", [1, 1 << 18])
def test_a_truncated_file_is_an_error(kind: str, block: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """If a file of answers or its index is cut short anywhere, reading it is an error."""
    monkeypatch.setattr(reused_answers, "_BLOCK", block)
    path = stored(tmp_path / "answers-1.jsonl", [OrderedResult(row, Outcome.SUCCESS, answer(row)) for row in range(4)])
    whole = path.with_suffix(kind).read_bytes()
    for length in range(len(whole)):
        path.with_suffix(kind).write_bytes(whole[:length])
        with AnswerReader(AnswerFile(path)) as reader, pytest.raises(NotFoundError, match="are gone"):
            list(reader.results(SkippedRows(0, 4, 1, 0), Result.of))


def test_another_version_reads_the_lines_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Outcomes that another version stored are not used; the lines are read again."""
    monkeypatch.setattr(version, "__version__", "0.0.1")
    cut = answer(0, Outcome.CUT)
    path = stored(tmp_path / "answers-1.jsonl", [OrderedResult(0, Outcome.SUCCESS, cut)])
    rows = SkippedRows(5, 1, 1, 0)
    with AnswerReader(AnswerFile(path)) as reader:
        assert [type(each) for each in reader.results(rows, Result.of)] == [Successes]
    monkeypatch.setattr(version, "__version__", "0.0.2")
    with AnswerReader(AnswerFile(path)) as reader:
        assert list(reader.results(rows, Result.of)) == [OrderedResult(5, Outcome.CUT, cut)]


def test_an_answer_is_checked_with_the_schema_of_its_job(tmp_path: Path) -> None:
    """An answer of an earlier job is checked against the schema of the job that uses it."""
    path = stored(tmp_path / "answers-1.jsonl", [OrderedResult(0, Outcome.SUCCESS, answer(0))])

    def judge(line: bytes) -> Result:
        return replace(Result.of(line), outcome=Outcome.ERROR)

    with AnswerReader(AnswerFile(path)) as reader:
        assert list(reader.results(SkippedRows(0, 1, 1, 0), judge)) == [OrderedResult(0, Outcome.ERROR, answer(0))]


def test_the_table_is_read_as_it_was_written(tmp_path: Path) -> None:
    """Rows are read in order, and files of answers keep their numbers."""
    table = tmp_path / "reused.sqlite"
    with skipped_rows(table, "rwc") as skipped:
        assert [skipped.number_of(name) for name in ("a/x", "b/x", "a/x")] == [1, 2, 1]
        skipped.add([(7, 3, 2, 40), (3, 1, THIS_JOB, 1), (4, 1, THIS_JOB, 9)])
        assert [row in skipped for row in range(11)] == [row in {3, 4, 7, 8, 9} for row in range(11)]
        assert list(skipped.among(0, 20)) == [(3, 1, THIS_JOB, 1), (4, 1, THIS_JOB, 9), (7, 3, 2, 40)]
        assert list(skipped.among(4, 4)) == [(4, 1, THIS_JOB, 9), (7, 1, 2, 40)]
        assert list(skipped.among(8, 1)) == [(8, 1, 2, 41)]
        assert not [*skipped.among(5, 2), *skipped.among(10, 9), *skipped.among(0, 3)]
        assert skipped.count() == (2, 3)
    with skipped_rows(table, "rw") as skipped:
        assert skipped.number_of("c/x") == 3
        skipped.resolve()
    with skipped_rows(table) as skipped:
        assert list(skipped) == [(3, 1, THIS_JOB, 1), (4, 1, 2, 42), (7, 3, 2, 40)]
        assert skipped.files() == ["a/x", "b/x", "c/x"]
        assert [row in skipped.originals() for row in range(9)] == [row == 1 for row in range(9)]
        assert list(skipped.repeated()) == [(3, 1)]
    assert count_skipped(table) == 5
    with skipped_rows(table, "rwc") as skipped:
        assert not list(skipped)


def test_ranges_that_follow_each_other_are_read_as_one(tmp_path: Path) -> None:
    """Ranges are joined if they follow each other in both jobs and in the same file of answers."""
    table = tmp_path / "reused.sqlite"
    kept = [(0, 2, 1, 5), (5, 1, 1, 9), (6, 1, 2, 10), (7, 1, 2, 12), (8, 1, THIS_JOB, 3), (9, 1, THIS_JOB, 4)]
    with skipped_rows(table, "rwc") as skipped:
        skipped.add([*kept, (2, 2, 1, 7)])
        assert list(skipped) == [(0, 4, 1, 5), *kept[1:]]


def test_any_program_can_read_the_table(tmp_path: Path) -> None:
    """The table is a plain SQLite file."""
    table = tmp_path / "reused.sqlite"
    with skipped_rows(table, "rwc") as skipped:
        skipped.add([(2, 3, skipped.number_of("uid/answers-1.jsonl"), 5)])
    with closing(sqlite3.connect(table)) as db:
        rows = db.execute("SELECT row, length, name, place FROM skipped JOIN files ON files.id = file").fetchall()
    assert rows == [(2, 3, "uid/answers-1.jsonl", 5)]


def test_reading_changes_nothing(tmp_path: Path) -> None:
    """A table that is opened for reading cannot be changed, and no file is created next to it."""
    table = tmp_path / "job" / "reused.sqlite"
    table.parent.mkdir()
    with skipped_rows(table, "rwc") as skipped:
        skipped.add([(2, 1, 1, 5)])
    before = table.read_bytes()
    with skipped_rows(table) as skipped:
        assert list(skipped.among(2, 1)) == [(2, 1, 1, 5)]
        assert list(table.parent.iterdir()) == [table]
    with pytest.raises(BatchError, match="readonly"), skipped_rows(table) as skipped:
        skipped.add([(0, 1, 1, 1)])
    assert table.read_bytes() == before
    assert list(table.parent.iterdir()) == [table]
    with pytest.raises(BatchError, match="none"), skipped_rows(tmp_path / "none"):
        pass


@given(
    st.lists(st.tuples(st.booleans(), st.integers(0, 100), st.integers(1, 9)), max_size=50),
    st.integers(0, 60),
    st.integers(0, 80),
)
def test_a_row_set_works_like_a_set(steps: list[tuple[bool, int, int]], first: int, count: int) -> None:
    """A RowSet contains the added rows that were not removed, and lists the rows that it does not contain."""
    rows, expected = RowSet(), set[int]()
    for added, row, length in steps:
        if added:
            rows.add(row, length)
            expected.update(range(row, row + length))
        else:
            rows.discard(row)
            expected.discard(row)
    assert {row for row in range(120) if row in rows} == expected
    assert len(rows) == len(expected)
    ranges = list(rows.lacking(first, count))
    assert [row for at, n in ranges for row in range(at, at + n)] == [
        row for row in range(first, first + count) if row not in expected
    ]
    assert all(at + n < after for (at, n), (after, _) in itertools.pairwise(ranges))
