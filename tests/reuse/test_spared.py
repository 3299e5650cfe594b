"""Results of rows that are not sent: put between those that are, in order, whatever is missing or failed."""

from __future__ import annotations

import io
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from openai_batch._spared import OWN, Answers, Spared, Stores, completed, read_records

if TYPE_CHECKING:
    from openai_batch._merge import Result

# What becomes of a row: it is sent, with a result or without one; it repeats an earlier row; another job answered it.
SENT = ("good", "bad", "lost")


@settings(max_examples=200, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(data=st.data(), size=st.integers(0, 40))
def test_every_row_gets_its_own(data: st.DataObject, size: int, tmp_path: Path) -> None:
    """Each row comes once, with what its own request, the one it repeats, or an earlier job has brought."""
    expected: dict[int, tuple[bool, bytes]] = {}
    results: list[Result] = []
    sent: list[int] = []
    stored = [b"", b""]
    files = [tmp_path / "store-1", tmp_path / "store-2"]
    path = tmp_path / "spared"
    path.unlink(missing_ok=True)
    with Spared(path, size) as spared:
        for row in range(size):
            kind = data.draw(st.sampled_from([*SENT, "taken", *(["same"] if sent else [])]))
            if kind == "same":
                original = data.draw(st.sampled_from(sent))
                spared[row] = (OWN, original + 1)
                if original in expected:
                    expected[row] = expected[original]
            elif kind == "taken":
                store = data.draw(st.integers(0, 1))
                line = b"taken %d\n" % row
                spared[row] = (store + 1, len(stored[store]) + 1)
                stored[store] += line
                expected[row] = (True, line)
            else:
                sent.append(row)
                if kind != "lost":
                    expected[row] = (kind == "good", b"%s %d\n" % (kind.encode(), row))
                    results.append((row, *expected[row]))
    for file, lines in zip(files, stored, strict=True):
        file.write_bytes(lines)
    stores = Stores(files, 1)
    found = list(completed(iter(results), path, stores, io.BytesIO(), io.BytesIO()))
    stores.close()
    assert found == [(row, *expected[row]) for row in sorted(expected)]


def test_a_result_of_a_spared_row_stops_nothing(tmp_path: Path) -> None:
    """A result that a plan of another machine has brought for a row that is spared here is passed over."""
    path = tmp_path / "spared"
    with Spared(path, 4) as spared:
        spared[1] = (1, 1)
    results: list[Result] = [(0, True, b"a\n"), (1, False, b"b\n"), (3, True, b"d\n")]
    (tmp_path / "store").write_bytes(b"theirs\n")
    stores = Stores([tmp_path / "store"], 1)
    found = list(completed(iter(results), path, stores, io.BytesIO(), io.BytesIO()))
    stores.close()
    assert found == [(0, True, b"a\n"), (1, True, b"theirs\n"), (3, True, b"d\n")]


@given(rows=st.lists(st.tuples(st.booleans(), st.binary(max_size=9)), max_size=30))
def test_answers_are_found_by_row(rows: list[tuple[bool, bytes]]) -> None:
    """Of the results that are kept for later jobs each success is found by its row, and nothing else is."""
    answers = Answers(Path(), Path())
    lines, places = io.BytesIO(), io.BytesIO()
    texts = [text.replace(b"\n", b"") + b"\n" for _, text in rows]
    answers.write(((row, good, texts[row]) for row, (good, _) in enumerate(rows)), lines, places)
    for row, (good, _) in enumerate(rows):
        place = answers.place_of(row, places)
        assert bool(place) == good
        if place:
            lines.seek(place - 1)
            assert lines.readline() == texts[row]
    assert answers.place_of(len(rows), places) == 0


def test_records_are_read_as_they_were_written(tmp_path: Path) -> None:
    """A row that nobody wrote is one that is sent; large places keep their value."""
    with Spared(tmp_path / "spared", 3) as spared:
        spared[1] = (7, 1 << 40)
        assert spared[1] == (7, 1 << 40)
    assert list(read_records(tmp_path / "spared")) == [(OWN, 0), (7, 1 << 40), (OWN, 0)]


def test_reading_changes_nothing(tmp_path: Path) -> None:
    """A plan that is opened to be read takes no record."""
    path = tmp_path / "spared"
    with Spared(path, 3) as spared:
        spared[2] = (1, 5)
    before = path.read_bytes()
    with Spared(path) as spared:
        assert spared[2] == (1, 5)
        with pytest.raises(OSError, match="descriptor"):
            spared[0] = (1, 1)
    assert path.read_bytes() == before
    with pytest.raises(FileNotFoundError), Spared(tmp_path / "none"):
        pass
