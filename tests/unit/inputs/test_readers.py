"""Files of prompts: reading in chunks gives the same result as reading line by line."""

from __future__ import annotations

import io
import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from openai_batch.errors import InputError
from openai_batch.inputs.formats import Table
from openai_batch.inputs.prepare import prepare
from openai_batch.inputs.readers import Prompts, _each_line, _lines
from openai_batch.inputs.request_spec import RequestSpec

# Quotes, backslashes, percent signs, spaces, control characters, and characters that look like a line end.
VALID = [
    *("a", "b c", '"', "\\", '\\"', '","', "\\n", "%", "%d", "%%", "%b", "{{ prompt }}", "\r", "\t", " ", "\0", "\x1c"),
    *("\x1f", "\xa0", "\u3000", "\u2028", "\x85", "\ufeff", "é", "“", "漢字", "😀", "\u200b", "x" * 40),
]
# Blank lines, bytes that are not UTF-8, and signatures of other kinds of file.
ODD = [
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
        st.lists(st.sampled_from(VALID), min_size=1, max_size=4)
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


@pytest.mark.slow
@settings(max_examples=400, deadline=None)
@given(content=CONTENT, size=st.sampled_from([4, 9, 20, 60, 1000]))
@example(content=b"a\n \nb\n\xff\n", size=4)
@example(content=b"a\nb\nc\nd\n", size=1000)
@example(content=b"\xff\xfea\n\0b\n\0", size=4)
def test_chunks_give_the_same_as_single_lines(content: bytes, size: int) -> None:
    """Chunks of any size give the same lines, line numbers and problems."""
    assert list(_lines(io.BytesIO(content), size)) == list(_each_line(io.BytesIO(content), 0))


@pytest.mark.parametrize(
    "spec",
    [
        {},
        {"system": '100% "sure"', "params": {"temperature": 0, "stop": "%d"}},
        {"prompt": "Label \x85%s: {{ prompt }} %b"},
        {"rerank": "which %"},
        {"embeddings": True, "prefix": 'a "%d"'},
        {"id_column": "prompt"},
    ],
)
def test_percent_signs_are_text(spec: dict[str, Any]) -> None:
    """A percent sign is not changed in a prompt, a template, a parameter or an id."""
    out = io.BytesIO()
    prepare([Table("t", "txt", Prompts(io.BytesIO(b"100%d\n%%b\n")), None)], RequestSpec("m", **spec), out)
    for number, line in enumerate(out.getvalue().splitlines()):
        request = json.loads(line)
        prompt = ("100%d", "%%b")[number]
        text = spec.get("prompt", "{{ prompt }}").replace("{{ prompt }}", prompt)
        assert text in json.dumps(request, ensure_ascii=False).replace("\\u0085", "\x85")
        assert request["custom_id"] == (prompt if "id_column" in spec else f"{spec.get('prefix', 'line')}-{number + 1}")
        assert all(request["body"][name] == value for name, value in spec.get("params", {}).items())


@settings(max_examples=200, deadline=None)
@given(
    contents=st.lists(CONTENT, min_size=1, max_size=3),
    size=st.sampled_from([4, 20, 1000]),
    limit=st.none() | st.integers(1, 9),
    skip_empty=st.booleans(),
)
@example(contents=[b"100%d\n\n%%b\r\n", b"c\n"], size=1000, limit=None, skip_empty=False)
def test_prompts_become_the_same_requests_many_at_once(
    contents: list[bytes], size: int, limit: int | None, skip_empty: bool
) -> None:
    """Reading many prompts at once gives the same requests, kept rows and problems as reading one by one."""

    def made(*, at_once: bool) -> tuple[object, ...]:
        prompts = [Prompts(io.BytesIO(content), size) for content in contents]
        tables = [Table("t", "txt", each if at_once else iter(each), None) for each in prompts]
        out, rows = io.BytesIO(), io.BytesIO()
        spec = RequestSpec("m", prefix="50%d", system="all %b of %% it")
        try:
            found: object = prepare(tables, spec, out, limit=limit, skip_empty=skip_empty, rows_to=rows)
        except InputError as exc:
            found = (str(exc), exc.hint, exc.details)
        return found, out.getvalue(), rows.getvalue()

    assert made(at_once=True) == made(at_once=False)


def test_a_limit_stops_within_a_chunk() -> None:
    """With a limit, only that many prompts become requests."""
    out = io.BytesIO()
    rows = Prompts(io.BytesIO(b"a\n\nb\nc\n"))
    assert prepare([Table("t", "txt", rows, None)], RequestSpec("m"), out, limit=2).requests == 2
    assert out.getvalue().count(b"\n") == 2


def test_line_numbers_are_right_after_many_chunks() -> None:
    """The error for an invalid line far into a file has the right line number."""
    plain = b"a prompt\n" * 9_999
    Path("t.txt").write_bytes(plain + b"\n" + plain + b"\xff\n" + plain)
    with Path("t.txt").open("rb") as stream, pytest.raises(InputError, match=r"t:20000: not UTF-8 \(byte 1\)"):
        prepare([Table("t", "txt", Prompts(stream), None)], RequestSpec("m"), io.BytesIO())
