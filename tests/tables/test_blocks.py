"""Prompts that are handled in blocks give what they give one by one, to the byte."""

from __future__ import annotations

import io
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from openai_batch._columns import noted
from openai_batch._prepare import prepare
from openai_batch._recipe import Recipe
from openai_batch._rows import Block, Prompts, _each_line, _prompts
from openai_batch._tables import Table
from openai_batch.errors import InputError

if TYPE_CHECKING:
    from collections.abc import Iterator

RECIPES: list[dict[str, Any]] = [
    {},
    {"system": '100% "sure"', "params": {"temperature": 0, "stop": "%d"}},
    {"prompt": "Label \x85%s: {{ prompt }} \\"},
    {"prompt": "{{ prompt }}, {{ prompt }}"},
    {"prompt": "{{ prompt|upper }}"},
    {"prompt": "half a pair \udc80 {{ prompt }}"},
    {"system": "Say {{ prompt }}"},
    {"rerank": "which %"},
    {"embeddings": True, "prefix": 'a "%d" \x7f'},
    {"score": "x \x7f"},
    {"id_column": "prompt"},
    {"endpoint": "responses", "prefix": "%"},
]

# What a way of short cuts could take for something else: quotes and backslashes at the ends of lines, per cent signs,
# blanks, controls, what looks like an end of a line and is none.
SOUND = [
    *("a", "b c", '"', "\\", '\\"', '","', "\\n", "%", "%d", "%%", "%b", "{{ prompt }}", "\r", "\t", " ", "\0", "\x1c"),
    *("\x1f", "\xa0", "\u3000", "\u2028", "\x85", "\ufeff", "é", "“", "漢字", "😀", "\u200b", "x" * 40),
]
# Marks, blank lines, broken and foreign bytes.
ODD = [
    b"\x7f",
    b"\x7f\x7f",
    b"\n",
    b" \n",
    b"\r\n",
    b"\xc2\xa0\n",
    b"\xff",
    b"\xc3",
    b"\xed\xa0\x80",
    b"\xff\xfe",
    b"PK\x03\x04",
]
LINES = st.lists(
    st.builds(
        lambda pieces, end: ("".join(pieces) + end).encode(),
        st.lists(st.sampled_from(SOUND), min_size=1, max_size=4)
        | st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=4).map(list),
        st.sampled_from(["\n", "\n", "\r\n"]),
    ),
    max_size=9,
).map(b"".join)
CONTENT = st.lists(LINES, max_size=3).flatmap(
    lambda parts: st.builds(
        lambda odd, start, end: start + odd.join(parts) + end,
        st.sampled_from([b"", *ODD]),
        st.sampled_from([b"", b"", b"\xef\xbb\xbf"]),
        st.sampled_from([b"", b"", b"an end"]),
    )
)


def outcome(rows: Any, limit: int | None, recipe: dict[str, Any]) -> tuple[Any, ...]:
    """Return what preparing gives or raises, with the bytes that were written, and what was noted."""
    out, notes = io.BytesIO(), io.BytesIO()
    try:
        found: Any = prepare(noted([Table("t", "txt", rows, None)], notes), Recipe("m", **recipe), out, limit=limit)
    except InputError as exc:
        return str(exc), exc.hint, notes.getvalue()
    return found, out.getvalue(), notes.getvalue()


@settings(max_examples=400, deadline=None)
@given(
    content=CONTENT,
    size=st.sampled_from([4, 9, 20, 60, 1000]),
    limit=st.none() | st.integers(1, 9),
    recipe=st.sampled_from(RECIPES),
)
@example(content=b'a\\\nb\\\\\nc\\"\n"\n', size=60, limit=None, recipe={})
@example(content=b"a\x7fb\nc\n", size=60, limit=None, recipe={})
@example(content=b"a\n \nb\n\xff\n", size=4, limit=None, recipe={})
@example(content=b"a\nb\nc\nd\n", size=4, limit=3, recipe={})
@example(content=b"a\nb\nc\nd\n", size=1000, limit=3, recipe={})
@example(content=b"\xff\xfea\n\0b\n\0", size=4, limit=None, recipe={})
def test_blocks_give_what_rows_give(content: bytes, size: int, limit: int | None, recipe: dict[str, Any]) -> None:
    """Requests, problems and noted rows are the same in blocks of any size as row by row, with any limit."""
    by_rows = outcome(_prompts(_each_line(io.BytesIO(content), 0)), limit, recipe)
    assert outcome(Prompts(io.BytesIO(content), size), limit, recipe) == by_rows
    assert outcome(iter(Prompts(io.BytesIO(content), size)), limit, recipe) == by_rows


def test_plain_prompts_come_in_blocks() -> None:
    """Prompts with quotes, controls and CRLF are plain; what is not costs its own block the short way, no other."""
    content = b"".join(b'%d "\\\t\0\xc3\xa9\r\n' % number for number in range(10_000))
    blocks = list(Prompts(io.BytesIO(content)).pieces())
    assert len(blocks) > 1
    assert all(isinstance(piece, Block) for piece in blocks)
    assert sum(piece.count for piece in blocks if isinstance(piece, Block)) == 10_000
    half = len(content) // 2
    mixed = list(Prompts(io.BytesIO(content[:half] + b"\n\n" + content[half:])).pieces())
    assert sum(isinstance(piece, list) for piece in mixed) == 1


@pytest.mark.parametrize("recipe", RECIPES[:3])
def test_a_plain_recipe_takes_no_rows(recipe: dict[str, Any]) -> None:
    """Plain prompts are never told into rows, which is what the speed is from."""

    class Whole(Prompts):
        def __iter__(self) -> Iterator[Any]:
            raise AssertionError

    out = io.BytesIO()
    table = Table("t", "txt", Whole(io.BytesIO(b"one\ntwo\n")), None)
    assert prepare([table], Recipe("m", **recipe), out) == 2


def test_places_beyond_blocks_are_right() -> None:
    """A problem far into a file has its own line, whatever stood before it."""
    plain = b"a prompt\n" * 9_999
    Path("t.txt").write_bytes(plain + b"\n" + plain + b"\xff\n" + plain)
    with Path("t.txt").open("rb") as stream, pytest.raises(InputError, match=r"t:20000: not UTF-8 \(byte 1\)"):
        prepare([Table("t", "txt", Prompts(stream), None)], Recipe("m"), io.BytesIO())
