"""The fast check of many lines at once gives the same result as the check of each line."""

from __future__ import annotations

import hashlib
import io
import json
import random
from typing import TYPE_CHECKING, Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from openai_batch.files import lines as module
from openai_batch.files.lines import blocks, lines, lines_of_block
from openai_batch.requests.check import check_stream
from openai_batch.requests.check_report import CheckReport, RequestChunk, Row
from openai_batch.requests.fast_check import read_chunk
from openai_batch.requests.limits import Limits
from openai_batch.requests.source import LineOrigins
from openai_batch.requests.split import Splitter

if TYPE_CHECKING:
    from collections.abc import Callable

COMPACT = json.JSONEncoder(separators=(",", ":"))
WRITERS = (
    json.dumps,
    COMPACT.encode,
    json.JSONEncoder(ensure_ascii=False).encode,
    json.JSONEncoder(sort_keys=True).encode,
)


def chat(number: int) -> dict[str, Any]:
    """Return the body of a chat request."""
    return {"model": "m", "messages": [{"role": "user", "content": f'Say "{number}" \\ übér\n'}]}


BODIES: tuple[Callable[[int], dict[str, Any]], ...] = (
    chat,
    lambda n: {**chat(n), "max_tokens": 10, "temperature": 0.5, "user": "model", "stream": False},
    lambda n: {"temperature": n / 10, **chat(n), "seed": n, "user": f"u{n}", "metadata": {"row": str(n)}},
    lambda n: {**chat(n), "model": "abc"[n % 3]},
    lambda n: {**chat(n), **({"n": 1} if n % 7 == 0 else {})},
    lambda n: {"model": "m", "messages": [{"role": "user", "content": [{"type": "text", "text": str(n)}]}], "x": [n]},
    lambda n: {"model": "m", "input": f"text {n}"},
    lambda n: {"model": "m", "input": ["a"] * (n % 5)},
    lambda n: {"model": "m", "input": [1, 2, n], "messages": [n]},
    lambda n: {"model": "m", "prompt": [[[[n]]]]},
    lambda _: {"model": "m", "messages": "same"},
    lambda n: {"model": "m", "deep": json.loads("[" * (195 + n % 9) + "]" * (195 + n % 9))},
    lambda n: {"input": f"text {n}"},
    lambda n: {"model": "m", "stream": n == 50},
    lambda n: {**chat(n), "tools": ["t" * 600] * (1 if n < 45 else 2), "user": str(n)},
)
IDS: tuple[Callable[[int], object], ...] = (
    lambda n: f"row-{n}",
    lambda n: f"文{n}",
    lambda n: f'"{n}',
    lambda n: f"{n % 40}",
    lambda n: f"{n:070}",
    lambda n: f"{n}\u2028",
    lambda n: n,
)
LIMITS = (
    Limits(),
    Limits(one_model=False),
    Limits(one_model=False, max_requests=10, max_bytes=1000, max_line_bytes=170, max_embedding_inputs=20),
    Limits(endpoints=("/v1/chat/completions",)),
)
# Bytes that damage a file: mostly plain ones, and some that are difficult for parsers.
DIRT = (
    *(
        b"\n",
        b"\n\n",
        b" ",
        b"\r",
        b"\r\n",
        b"\0",
        b"\xef\xbb\xbf",
        b"\xff",
        b"\xed\xa0\x80",
        b"\\",
        b'"',
        b"{",
        b"}",
        b"[",
        b"]",
    ),
    *(
        b",",
        b":",
        b"1e999",
        b"9" * 400,
        b"9" * 5000,
        b"\\ud800",
        b"\\ud83d\\ude00",
        b"\\u0041",
        b"\x7f",
        b"\x1f",
        b"-",
        b"e",
        b"NaN",
    ),
    *(
        b'"model": "m", ',
        b'"custom_id": "x", ',
        b'"a": 1, "a": 2, ',
        b'"stream": true, ',
        b', "body": {}',
        b'}}\n{"custom_id": "',
    ),
    *(b"[" * 250, b"[" * 99 + b"]" * 99, b'"mod\\u0065l": 1, ', b"true", b"null", b'""', b"x" * 600),
)


def judge(data: bytes, limits: Limits, **options: Any) -> tuple[CheckReport, list[Row]]:
    """Check line by line."""
    rows: list[Row] = []
    return check_stream(io.BytesIO(data), limits, on_row=rows.append, **options), rows


def judge_at_once(data: bytes, limits: Limits, **options: Any) -> tuple[CheckReport, list[RequestChunk]]:
    """Check many lines at once where possible."""
    found: list[RequestChunk] = []
    return check_stream(io.BytesIO(data), limits, on_chunk=found.append, **options), found


def assert_same(data: bytes, block: int, limits: Limits, **options: Any) -> None:
    """Compare both ways of checking; the fast one uses blocks of `block` bytes."""
    slow, rows = judge(data, limits, **options)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module, "BLOCK", block)
        fast, chunks = judge_at_once(data, limits, **options)
    assert fast == slow
    if slow.ok:
        found = [row for each in chunks for row in zip(each.ids, each.lines, each.models, each.inputs, strict=True)]
        assert found == [
            (row.custom_id, data[row.offset : row.offset + row.length], row.model, row.inputs) for row in rows
        ]
        assert [body for each in chunks for body in each.bodies] == [
            msgspec.json.decode(line, type=dict[str, Any])["body"] for _, line, _, _ in found
        ]
        assert all(each.data == b"".join(line + b"\n" for line in each.lines) for each in chunks)
        assert {each.url for each in chunks} == {row.url for row in rows}


def made(kind: int, name: int, writer: int, count: int, url: str = "/v1/chat/completions") -> list[bytes]:
    """Write requests like a program would."""
    return [
        WRITERS[writer]({"custom_id": IDS[name](n), "method": "POST", "url": url, "body": BODIES[kind](n)}).encode()
        for n in range(count)
    ]


@pytest.mark.slow
@pytest.mark.parametrize("kind", range(len(BODIES)))
@pytest.mark.parametrize("name", range(len(IDS)))
def test_requests_of_programs_are_checked_alike(kind: int, name: int) -> None:
    """Bodies and ids of every kind, in every style and with every limit, give the same report both ways."""
    for writer in range(len(WRITERS)):
        for url in ("/v1/chat/completions", "/v1/embeddings", "/v1/moderations"):
            data = b"\n".join(made(kind, name, writer, 60, url)) + b"\n"
            for limits in LIMITS:
                assert_same(data, 500, limits)


@settings(max_examples=300, deadline=None)
@given(st.data())
def test_damaged_files_are_checked_alike(data: st.DataObject) -> None:
    """With damage at any place and any block size, the report is the same."""
    kind, name = data.draw(st.integers(0, len(BODIES) - 1)), data.draw(st.sampled_from((0, 0, 0, 1, 3)))
    text = bytearray(b"\n".join(made(kind, name, data.draw(st.integers(0, 3)), data.draw(st.integers(1, 30)))) + b"\n")
    for _ in range(data.draw(st.integers(0, 4))):
        place = data.draw(st.integers(0, len(text)))
        text[place : place + data.draw(st.sampled_from((0, 0, 1, 7)))] = data.draw(st.sampled_from(DIRT))
    limits = data.draw(st.sampled_from(LIMITS))
    options = {
        "max_problems": data.draw(st.sampled_from((1, 2, 100))),
        "endpoint": data.draw(st.sampled_from((None, "/v1/x"))),
    }
    assert_same(bytes(text), data.draw(st.integers(1, 3000)), limits, **options)


@pytest.mark.parametrize("seed", range(8))
def test_seeded_damage_is_checked_alike(seed: int) -> None:
    """The report is the same for many more files in which the damage comes after valid lines."""
    rng = random.Random(seed)
    for _ in range(60):
        rows = made(rng.randrange(len(BODIES)), rng.choice((0, 0, 3)), rng.randrange(4), 40)
        for _ in range(rng.randint(1, 3)):
            row = rng.randrange(10, 40)
            place = rng.randrange(len(rows[row]) + 1)
            rows[row] = rows[row][:place] + rng.choice(DIRT) + rows[row][place + rng.choice((0, 0, 1, 5)) :]
        assert_same(b"\n".join(rows) + b"\n", rng.choice((200, 700, 2000)), rng.choice(LIMITS))


def test_requests_of_programs_are_read_at_once() -> None:
    """A block of valid lines is read in one step, with any keys in their bodies."""
    for kind in (0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 12, 14):
        for writer in range(len(WRITERS)):
            rows = made(kind, 0, writer, 60)
            found = read_chunk(b"\n".join(rows) + b"\n")
            assert found is not None, (kind, writer)
            assert found.ids == [f"row-{n}" for n in range(60)]
            assert found.lines == rows
            assert found.models == [BODIES[kind](n).get("model") for n in range(60)]


def test_a_block_with_an_unusual_line_is_not_read_at_once() -> None:
    """A block is not read in one step if one line is invalid or cannot be proven valid."""
    rows = made(0, 0, 0, 20)
    line = rows[9].decode()
    good = json.loads(line)
    odd = (
        json.dumps({**good, "method": "GET"}),
        json.dumps({**good, "url": "/v1/embeddings"}),
        json.dumps({**good, "custom_id": ""}),
        json.dumps({**good, "custom_id": 7}),
        json.dumps({**good, "custom_id": "a\u2028"}),
        json.dumps({**good, "body": []}),
        json.dumps({**good, "body": {**good["body"], "stream": True}}),
        json.dumps({**good, "body": {**good["body"], "model": ""}}),
        json.dumps({**good, "body": {**good["body"], "x": json.loads("[" * 201 + "]" * 201)}}),
        line.replace('"model"', '"model": "m", "model"'),
        line.replace('"url"', '"url": "/v1/chat/completions", "url"'),
        line.replace('"body"', '"body": {}, "body"'),
        line.replace("Say", "\\ud800"),
        line.replace("]}}", '], "x": 1e999}}'),
        line + "\r",
        "",
        line + line,
        line[:50],
    )
    assert read_chunk(b"\n".join(rows) + b"\n") is not None
    for each in odd:
        assert read_chunk(b"\n".join([*rows[:9], each.encode(), *rows[10:]]) + b"\n") is None, each
    assert read_chunk(b"\n".join(rows)) is None


def test_bytes_that_are_not_utf8_are_found_anywhere() -> None:
    """Bytes that are not UTF-8 are found in every value and key, also in fields that are not used."""
    rows = made(0, 0, 0, 3)
    for old, new in (
        (b"row-1", b"row\xff"),
        (b"Say", b"S\xed\xa0\x80y"),
        (b'"role"', b'"role\xff"'),
        (b'"model"', b'"x\xff": 1, "model"'),
        (b'"url"', b'"x": "\xff", "url"'),
        (b'"url"', b'"\xff": 1, "url"'),
    ):
        assert old in rows[1]
        assert read_chunk(b"\n".join([rows[0], rows[1].replace(old, new), rows[2]]) + b"\n") is None, new
    extra = rows[1].replace(b'"url"', b'"x": "\xc3\xbc", "url"')
    assert read_chunk(b"\n".join([rows[0], extra, rows[2]]) + b"\n") is not None


def test_lines_that_are_cut_and_joined_wrongly_are_not_read_at_once() -> None:
    """A request over two lines and two requests on one line are found, although the counts of both match."""
    one, two, three = made(0, 0, 0, 3)
    assert read_chunk(one.replace(b", ", b",\n", 1) + b"\n" + two + three + b"\n") is None


@pytest.mark.parametrize("separators", [(",", ":"), (", ", ": "), (",  ", " : ")])
@pytest.mark.parametrize("short", [{}, {"n": 1}, {"n": 1, "m": 2, "s": 3, "t": "u", "é": "é"}])
def test_a_repeated_key_is_found_with_any_spacing(separators: tuple[str, str], short: dict[str, Any]) -> None:
    """A repeated key is found with any spacing, and spaces or a key's text in a value are not mistaken for one."""
    write = json.JSONEncoder(separators=separators).encode
    fields = {"custom_id": "a", "method": "POST", "url": "/v1/x"}
    body = {"model": "m", **short, "user": "model", "input": '"custom_id": "body"'}
    line = write({**fields, "body": body})
    assert read_chunk(line.encode() + b"\n") is not None
    for key in (*fields, *body):
        for value in ("0", '""', "{}"):
            start = line.index(f'"{key}"' if key.isascii() else json.dumps(key))
            twice = f"{line[:start]}{json.dumps(key)}{separators[1]}{value}{separators[0]}{line[start:]}"
            assert read_chunk(twice.encode() + b"\n") is None, twice


@settings(max_examples=200, deadline=None)
@given(st.lists(st.binary(max_size=30) | st.just(b"x" * 40), max_size=12), st.integers(1, 60), st.integers(5, 50))
def test_blocks_hold_the_lines(parts: list[bytes], size: int, longest: int) -> None:
    """Blocks of any size give the same lines, offsets and lengths as reading line by line."""
    data = b"\n".join(parts)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module, "BLOCK", size)
        found, offset = [], 0
        for block, beyond in blocks(io.BytesIO(data), longest):
            found += [(offset + start, raw) for start, raw in lines_of_block(block, beyond, longest)]
            offset += len(block) + beyond
    assert found == [(start, raw) for _, start, raw in lines(io.BytesIO(data), longest)]
    assert offset == len(data)


@pytest.mark.slow
@settings(max_examples=300, deadline=None)
@given(st.data())
def test_chunks_are_split_like_single_requests(data: st.DataObject) -> None:
    """Adding many requests at once gives the same slices as adding them one by one."""
    limits = Limits(
        max_requests=data.draw(st.none() | st.integers(1, 9)),
        max_bytes=data.draw(st.none() | st.integers(60, 200)),
        max_embedding_inputs=data.draw(st.none() | st.integers(5, 20)),
        one_model=data.draw(st.booleans()),
    )
    one, many = Splitter(limits), Splitter(limits)
    whole = b""
    for _ in range(data.draw(st.integers(1, 8))):
        row = st.tuples(st.integers(0, 59), st.integers(1, 3), st.sampled_from("mmmmn"), st.integers(1, 5))
        rows = data.draw(st.lists(row, max_size=5))
        lines = [b"x" * length for length, *_ in rows]
        ids = ["x" * count for *_, count in rows]
        if rows:
            data_of = b"".join(line + b"\n" for line in lines)
            chunk = RequestChunk(data_of, lines, "/v1/x", ids, [row[2] for row in rows], [row[1] for row in rows], [])
            many.add_chunk(chunk, b"".join(b'"%b"\n' % custom_id.encode() for custom_id in ids))
        for line, (_, inputs, model, count) in zip(lines, rows, strict=True):
            one.add(line + b"\n", count + 3, inputs, model)
            whole += line + b"\n"
    assert many.slices() == one.slices()
    assert many.mixed == one.mixed
    assert many.sha256 == one.sha256 == hashlib.sha256(whole).hexdigest()
    for piece in one.slices():
        assert piece.sha256 == hashlib.sha256(whole[piece.offset : piece.offset + piece.length]).hexdigest()


@pytest.mark.parametrize("start", [b"\x1f\x8b", b"\xef\xbb\xbf", b"PK\x03\x04", b"\n", b""])
def test_joined_files_are_checked_alike(start: bytes) -> None:
    """If a joined file begins like a file of another kind, its lines are skipped in both checks."""
    rows = made(0, 0, 0, 60)
    rows[30] = start + rows[30]
    assert_same(b"\n".join(rows) + b"\n", 500, Limits(), line_origins=LineOrigins(("a", "b", "c"), (1, 31, 51)))
