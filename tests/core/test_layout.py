"""What is read many lines at once is judged exactly as line by line."""

from __future__ import annotations

import io
import json
import random
from contextlib import closing
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec.json import encode

from openai_batch import _blocks, _unique
from openai_batch._blocks import blocks, pieces
from openai_batch._check import Limits, Report, Row, check_stream, lines
from openai_batch._join import Places
from openai_batch._layout import Layouts, Stretch
from openai_batch._split import Splitter

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
# What a file may come to have in it: plain bytes for the most part, and what parsers stumble over.
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


def judge(data: bytes, limits: Limits, **options: Any) -> tuple[Report, list[Row]]:
    """Check line by line."""
    rows: list[Row] = []
    return check_stream(io.BytesIO(data), limits, on_row=rows.append, **options), rows


def judge_at_once(data: bytes, limits: Limits, **options: Any) -> tuple[Report, list[Stretch]]:
    """Check as many lines at once as can be."""
    found: list[Stretch] = []
    return check_stream(io.BytesIO(data), limits, on_stretch=found.append, **options), found


def assert_same(data: bytes, block: int, limits: Limits, **options: Any) -> None:
    """Compare both ways of checking, the fast one with blocks of that many bytes."""
    slow, rows = judge(data, limits, **options)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(_blocks, "BLOCK", block)
        fast, stretches = judge_at_once(data, limits, **options)
    assert fast == slow
    if slow.ok:
        found = [
            row for each in stretches for row in zip(each.ids, each.lengths(), each.models, each.inputs, strict=True)
        ]
        assert found == [(encode(row.custom_id)[1:-1], row.length, row.model, row.inputs) for row in rows]
        assert [each.size for each in stretches] == [sum(each.lengths()) + len(each.ids) for each in stretches]


def made(kind: int, name: int, writer: int, count: int, url: str = "/v1/chat/completions") -> list[bytes]:
    """Write requests as a program would."""
    return [
        WRITERS[writer]({"custom_id": IDS[name](n), "method": "POST", "url": url, "body": BODIES[kind](n)}).encode()
        for n in range(count)
    ]


@pytest.mark.parametrize("kind", range(len(BODIES)))
@pytest.mark.parametrize("name", range(len(IDS)))
def test_what_programs_write_is_judged_alike(kind: int, name: int) -> None:
    """Bodies and ids of every kind, in every style and under every limit, have the same report either way."""
    for writer in range(len(WRITERS)):
        for url in ("/v1/chat/completions", "/v1/embeddings", "/v1/moderations"):
            data = b"\n".join(made(kind, name, writer, 60, url)) + b"\n"
            for limits in LIMITS:
                assert_same(data, 500, limits)


@settings(max_examples=300, deadline=None)
@given(st.data())
def test_what_is_damaged_is_judged_alike(data: st.DataObject) -> None:
    """Whatever stands wherever in a file, and wherever blocks end, the report is the same."""
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
def test_seeded_damage_is_judged_alike(seed: int) -> None:
    """The same with many more files, in which the damage lies behind lines that were learned from."""
    dice = random.Random(seed)
    for _ in range(60):
        rows = made(dice.randrange(len(BODIES)), dice.choice((0, 0, 3)), dice.randrange(4), 40)
        for _ in range(dice.randint(1, 3)):
            row = dice.randrange(10, 40)
            place = dice.randrange(len(rows[row]) + 1)
            rows[row] = rows[row][:place] + dice.choice(DIRT) + rows[row][place + dice.choice((0, 0, 1, 5)) :]
        assert_same(b"\n".join(rows) + b"\n", dice.choice((200, 700, 2000)), dice.choice(LIMITS))


def test_what_programs_write_is_read_at_once() -> None:
    """Once two lines were seen, the rest of a regular file is read without a look at its lines."""
    for kind in (0, 1, 2, 3, 5, 6, 7, 8, 9, 10):
        for writer in range(len(WRITERS)):
            rows = made(kind, 0, writer, 60)
            layouts = Layouts()
            layouts.learn(rows[0], rows[1], "m", 1)
            layouts.learn(rows[1], rows[2], "m", 1)
            found = layouts.read(b"\n".join(rows[3:]) + b"\n")
            assert found is not None, (kind, writer)
            assert list(found.ids) == [b"row-%d" % n for n in range(3, 60)]
            assert found.lengths() == [len(row) for row in rows[3:]]
            assert found.models == [BODIES[kind](n)["model"] for n in range(3, 60)]


def test_lines_that_differ_from_what_was_learned_are_not_read_at_once() -> None:
    """One odd line, and the whole block is left to be looked at line by line."""
    rows = made(0, 0, 0, 20)
    good = json.loads(rows[9])
    for odd in (
        {**good, "method": "GET"},
        {**good, "url": "/v1/embeddings"},
        {**good, "body": {**good["body"], "stream": True}},
        {"custom_id": good["custom_id"], **good, "more": 1},
        {**good, "body": {**good["body"], "model": "other"}},
    ):
        layouts = Layouts()
        layouts.learn(rows[0], rows[1], "m", 1)
        assert layouts.read(b"\n".join(rows[2:]) + b"\n") is not None
        assert layouts.read(b"\n".join([*rows[2:9], json.dumps(odd).encode(), *rows[10:]]) + b"\n") is None


def test_lines_of_all_sorts_are_learned_from_less_and_less() -> None:
    """Where no layout lasts, many lines are let pass before the next one is made; one that fits changes that."""
    layouts = Layouts()

    def known(number: int) -> bool:
        line = b'{"custom_id": "a", "body": {"k%d": 1}}' % number
        layouts.learn(line, line, "m", 1)
        return number < 100 or layouts.read(line + b"\n") is not None

    assert all(known(n) for n in range(100))
    passed = next(n for n in range(100) if known(100))
    assert 0 < passed < 10
    assert known(101)


@settings(max_examples=200, deadline=None)
@given(st.lists(st.binary(max_size=30) | st.just(b"x" * 40), max_size=12), st.integers(1, 60), st.integers(5, 50))
def test_blocks_hold_the_lines(parts: list[bytes], size: int, longest: int) -> None:
    """Blocks of any size give the same lines, places and lengths as reading line by line."""
    data = b"\n".join(parts)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(_blocks, "BLOCK", size)
        found, offset = [], 0
        for block, beyond in blocks(io.BytesIO(data), longest):
            found += [(offset + start, raw) for start, raw in pieces(block, beyond, longest)]
            offset += len(block) + beyond
    assert found == [(start, raw) for _, start, raw in lines(io.BytesIO(data), longest)]
    assert offset == len(data)


def test_more_ids_than_memory_takes() -> None:
    """Hashes that went to disk, those that did not, and one of each are compared."""
    for spill in (7, 50, 10_000):
        for ids, different in (
            ([b"id-%d" % n for n in range(1000)], True),
            ([b"id-%d" % n for n in range(1000)] + [b"id-3"], False),
            ([b"id-%d" % n for n in range(1000)] + [b"id-999"], False),
            ([], True),
        ):
            with pytest.MonkeyPatch.context() as patch, closing(_unique.Hashes()) as hashes:
                patch.setattr(_unique, "IN_BINS", spill)
                for n in range(0, len(ids), 9):
                    hashes.add(ids[n : n + 9])
                assert hashes.different() is different


@pytest.mark.parametrize(
    "line",
    [
        rb'{"custom_id": "a", "body": {"model": "m", "x": 12, "\u0078": 1}}',
        rb'{"custom_id": "a", "body": {"\u0078": 1, "model": "m", "x": 1}}',
        rb'{"custom_id": "a", "\u0075rl": "/v1", "url": "/v1", "body": {"model": "m"}}',
        rb'{"custom_id": "a", "b\u006fdy": {"model": "m"}}',
    ],
)
def test_a_key_that_is_spelled_oddly_makes_no_layout(line: bytes) -> None:
    """It may be another one's double, which is looked for line by line."""
    layouts = Layouts()
    layouts.learn(line, line, "m", 1)
    assert layouts.read(line + b"\n") is None


@settings(max_examples=300, deadline=None)
@given(st.data())
def test_stretches_are_cut_as_their_requests_are(data: st.DataObject) -> None:
    """Taking many requests at once gives the slices that taking each of them gives."""
    limits = Limits(
        max_requests=data.draw(st.none() | st.integers(1, 9)),
        max_bytes=data.draw(st.none() | st.integers(60, 200)),
        max_embedding_inputs=data.draw(st.none() | st.integers(5, 20)),
        one_model=data.draw(st.booleans()),
    )
    one, many = Splitter(limits), Splitter(limits)
    for _ in range(data.draw(st.integers(1, 8))):
        row = st.tuples(st.integers(0, 59), st.integers(1, 3), st.sampled_from("mmmmn"), st.integers(1, 5))
        rows = data.draw(st.lists(row, max_size=5))
        lengths = [length for length, *_ in rows]
        ids = [b"x" * count for *_, count in rows]
        size = sum(lengths) + len(rows)
        many.take(Stretch(ids, [row[2] for row in rows], [row[1] for row in rows], size, lengths.copy))
        for length, inputs, model, count in rows:
            one.add(length + 1, count + 3, inputs, model)
    assert many.slices() == one.slices()
    assert many.mixed == one.mixed


@pytest.mark.parametrize("start", [b"\x1f\x8b", b"\xef\xbb\xbf", b"PK\x03\x04", b"\n", b""])
def test_joined_files_are_judged_alike(start: bytes) -> None:
    """Lines behind the beginning of a file of another kind are passed over, whatever they look like."""
    rows = made(0, 0, 0, 60)
    rows[30] = start + rows[30]
    assert_same(b"\n".join(rows) + b"\n", 500, Limits(), places=Places(("a", "b", "c"), (1, 31, 51)))
