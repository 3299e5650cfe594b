"""Results of rows that are not sent: put between those that are, in order, whatever is missing or failed."""

from __future__ import annotations

import io
import sqlite3
from contextlib import closing
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from openai_batch.errors import BatchError
from openai_batch.jobs.store.reused_answers import (
    THIS_JOB,
    AnswerFile,
    AnswerFiles,
    completed,
    count_skipped,
    skipped_rows,
)
from openai_batch.jobs.store.row_set import RowSet
from openai_batch.results.merge import OrderedResult
from openai_batch.results.outcome import OUTCOMES, Outcome
from openai_batch.results.result import Result

# How a row ends: it is sent, with a result or without one; it repeats an earlier row; another job answered it.
SENT = ("good", "bad", "lost")


def answer(row: int) -> bytes:
    """Return the result line of a row."""
    return b'{"custom_id": "%d", "response": {"status_code": 200, "body": "taken"}}\n' % row


def all_results(table: Path, results: list[OrderedResult], files: list[Path]) -> list[OrderedResult]:
    """Complete the results of a job with those of its skipped rows."""
    answers = AnswerFiles(files, 1)
    scratch = table.with_name("scratch")
    scratch.write_bytes(b"")
    with skipped_rows(table) as skipped:
        found = list(completed(iter(results), skipped, answers, scratch, Result.of))
    answers.close()
    return found


@pytest.mark.slow
@settings(max_examples=200, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(data=st.data(), size=st.integers(0, 40))
def test_every_row_gets_its_own(data: st.DataObject, size: int, tmp_path: Path) -> None:
    """Each row comes once, with what its own request, the one it repeats, or an earlier job has brought."""
    expected: dict[int, OrderedResult] = {}
    results: list[OrderedResult] = []
    records: list[tuple[int, int, int]] = []
    sent: list[int] = []
    stored = [b"", b""]
    files = [tmp_path / "answers-1", tmp_path / "answers-2"]
    for row in range(size):
        kind = data.draw(st.sampled_from([*SENT, "taken", *(["same"] if sent else [])]))
        if kind == "same":
            original = data.draw(st.sampled_from(sent))
            records.append((row, THIS_JOB, original))
            if original in expected:
                expected[row] = expected[original]._replace(row=row)
        elif kind == "taken":
            file = data.draw(st.integers(0, 1))
            line = answer(row)
            records.append((row, file + 1, len(stored[file])))
            stored[file] += line
            expected[row] = OrderedResult(row, Outcome.SUCCESS, line)
        else:
            sent.append(row)
            if kind != "lost":
                expected[row] = OrderedResult(
                    row, Outcome.SUCCESS if kind == "good" else Outcome.ERROR, b"%s %d\n" % (kind.encode(), row)
                )
                results.append(expected[row])
    for path, lines in zip(files, stored, strict=True):
        path.write_bytes(lines)
    table = tmp_path / "reused.sqlite"
    with skipped_rows(table, "rwc") as skipped:
        skipped.add(data.draw(st.permutations(records)))
    assert all_results(table, results, files) == [expected[row] for row in sorted(expected)]


def test_a_result_of_a_skipped_row_stops_nothing(tmp_path: Path) -> None:
    """A result that a plan of another machine has brought for a row that is skipped here is passed over."""
    table = tmp_path / "reused.sqlite"
    with skipped_rows(table, "rwc") as skipped:
        skipped.add([(1, 1, 0)])
    good, bad = Outcome.SUCCESS, Outcome.ERROR
    results = [OrderedResult(0, good, b"a\n"), OrderedResult(1, bad, b"b\n"), OrderedResult(3, good, b"d\n")]
    (tmp_path / "answers").write_bytes(answer(1))
    found = all_results(table, results, [tmp_path / "answers"])
    assert found == [results[0], OrderedResult(1, good, answer(1)), results[2]]


@given(rows=st.lists(st.tuples(st.sampled_from(OUTCOMES), st.binary(max_size=9)), max_size=30))
def test_answers_are_found_by_row(rows: list[tuple[Outcome, bytes]]) -> None:
    """Of the results that are kept for later jobs each answer is found by its row, and nothing else is."""
    answers = AnswerFile(Path(), Path())
    lines, offsets = io.BytesIO(), io.BytesIO()
    texts = [text.replace(b"\n", b"") + b"\n" for _, text in rows]
    answers.write((OrderedResult(row, outcome, texts[row]) for row, (outcome, _) in enumerate(rows)), lines, offsets)
    for row, (outcome, _) in enumerate(rows):
        offset = answers.offset_of(row, offsets)
        assert (offset is not None) == outcome.answered
        if offset is not None:
            lines.seek(offset)
            assert lines.readline() == texts[row]
    assert answers.offset_of(len(rows), offsets) is None


def test_the_table_is_read_as_it_was_written(tmp_path: Path) -> None:
    """Rows come in order, large offsets keep their value, and files of answers keep their numbers."""
    table = tmp_path / "reused.sqlite"
    with skipped_rows(table, "rwc") as skipped:
        assert [skipped.number_of(name) for name in ("a/x", "b/x", "a/x")] == [1, 2, 1]
        skipped.add([(7, 2, 1 << 40), (3, THIS_JOB, 1), (4, THIS_JOB, 7)])
        assert [row in skipped for row in range(9)] == [row in {3, 4, 7} for row in range(9)]
        assert (skipped.find(7), skipped.find(1)) == ((7, 2, 1 << 40), None)
        assert skipped.count() == (2, 1)
    with skipped_rows(table, "rw") as skipped:
        assert skipped.number_of("c/x") == 3
        skipped.resolve()
    with skipped_rows(table) as skipped:
        assert list(skipped) == [(3, THIS_JOB, 1), (4, 2, 1 << 40), (7, 2, 1 << 40)]
        assert skipped.files() == ["a/x", "b/x", "c/x"]
        assert [row in skipped.originals() for row in range(9)] == [row == 1 for row in range(9)]
    assert count_skipped(table) == 3
    with skipped_rows(table, "rwc") as skipped:
        assert not list(skipped)


def test_any_program_can_read_the_table(tmp_path: Path) -> None:
    """It is a plain SQLite file."""
    table = tmp_path / "reused.sqlite"
    with skipped_rows(table, "rwc") as skipped:
        skipped.add([(2, skipped.number_of("uid/answers-1.jsonl"), 5)])
    with closing(sqlite3.connect(table)) as db:
        rows = db.execute("SELECT row, name, place FROM skipped JOIN files ON files.id = file").fetchall()
    assert rows == [(2, "uid/answers-1.jsonl", 5)]


def test_reading_changes_nothing(tmp_path: Path) -> None:
    """A table that is opened to be read takes no row, and nothing appears beside it."""
    table = tmp_path / "job" / "reused.sqlite"
    table.parent.mkdir()
    with skipped_rows(table, "rwc") as skipped:
        skipped.add([(2, 1, 5)])
    before = table.read_bytes()
    with skipped_rows(table) as skipped:
        assert skipped.find(2) == (2, 1, 5)
        assert list(table.parent.iterdir()) == [table]
    with pytest.raises(BatchError, match="readonly"), skipped_rows(table) as skipped:
        skipped.add([(0, 1, 1)])
    assert table.read_bytes() == before
    assert list(table.parent.iterdir()) == [table]
    with pytest.raises(BatchError, match="none"), skipped_rows(tmp_path / "none"):
        pass


@given(st.lists(st.tuples(st.booleans(), st.integers(0, 100)), max_size=50))
def test_a_row_set_is_a_set(steps: list[tuple[bool, int]]) -> None:
    """It holds what was added and not removed since."""
    rows, expected = RowSet(), set[int]()
    for added, row in steps:
        (rows.add if added else rows.discard)(row)
        (expected.add if added else expected.discard)(row)
    assert {row for row in range(120) if row in rows} == expected
