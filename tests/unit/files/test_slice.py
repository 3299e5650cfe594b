"""A slice of a file reads like a file of its own."""

from __future__ import annotations

import io
import os

import pytest
from hypothesis import given
from hypothesis import strategies as st

from openai_batch.files.slice import FileSlice

DATA = bytes(range(256)) * 4
STEPS = st.lists(
    st.tuples(st.just("read"), st.none() | st.integers(-1, 400), st.just(0))
    | st.tuples(st.just("seek"), st.integers(0, 300), st.just(os.SEEK_SET))
    | st.tuples(st.just("seek"), st.just(0), st.sampled_from([os.SEEK_CUR, os.SEEK_END])),
    max_size=12,
)


@given(st.integers(0, 500), st.integers(0, 500), STEPS)
def test_it_reads_like_a_file_of_its_bytes(offset: int, length: int, steps: list[tuple[str, int | None, int]]) -> None:
    """Any reads and seeks give the same bytes and positions as in a file that contains only the slice."""
    source = io.BytesIO(DATA)
    piece, model = FileSlice(source, offset, length), io.BytesIO(DATA[offset : offset + length])
    assert len(piece) == length
    for act, number, whence in steps:
        if act == "read":
            assert piece.read(number) == model.read(number)
        elif number is not None:
            model.seek(min(number, length) if whence == os.SEEK_SET else number, whence)
            assert piece.seek(number, whence) == model.tell()
        assert piece.tell() == model.tell()
        source.seek(17)  # another user of the source moves its position


def test_without_a_length_it_ends_with_the_file() -> None:
    """Without a length, the slice is the rest of the file."""
    assert FileSlice(io.BytesIO(DATA), 1000).read() == DATA[1000:]
    assert len(FileSlice(io.BytesIO(DATA), 5000)) == 0


def test_it_reports_progress_and_leaves_the_source_open() -> None:
    """Progress counts the bytes of the slice, and closing the slice does not close the source."""
    heard: list[int] = []
    source = io.BytesIO(DATA)
    piece = FileSlice(source, 100, 50, heard.append)
    while piece.read(20):
        pass
    assert heard == [20, 40, 50]
    piece.close()
    assert not source.closed
    assert piece.readable()
    assert piece.seekable()


def test_it_does_not_read_past_its_end() -> None:
    """Reads and seeks beyond the end of the slice stop at its end."""
    piece = FileSlice(io.BytesIO(DATA), 10, 5)
    assert piece.seek(99) == 5
    assert piece.read(3) == b""
    assert piece.seek(-99, os.SEEK_END) == 0
    assert piece.read(99) == DATA[10:15]
    with pytest.raises(KeyError):
        piece.seek(0, 9)
