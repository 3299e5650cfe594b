"""Inputs are split exactly at the limits, and joining the slices gives the input."""

from __future__ import annotations

import io
import json
import random
from typing import TYPE_CHECKING

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from openai_batch.requests import split
from openai_batch.requests.batch_file import check_file
from openai_batch.requests.endpoints import ENDPOINTS, BatchType
from openai_batch.requests.limits import Limits
from openai_batch.requests.source import Source
from openai_batch.requests.split import ROW_NUMBER, Splitter, copy_requests
from openai_batch.results.merge import OrderedResult, complete, merged, read_rows, write_rows
from openai_batch.results.outcome import Outcome
from openai_batch.results.tally import Tally

if TYPE_CHECKING:
    from pathlib import Path

    from openai_batch.requests.batch_file import BatchFile


def requests(models: list[str], sizes: list[int]) -> bytes:
    """Write one request for each model, padded to differ in size."""
    rows = [
        {
            "custom_id": f"r-{n}",
            "method": "POST",
            "url": "/v1/chat/completions",
            "body": {"model": m, "messages": "x" * s},
        }
        for n, (m, s) in enumerate(zip(models, sizes, strict=True))
    ]
    return "".join(json.dumps(row) + "\n" for row in rows).encode()


def checked(folder: Path, data: bytes, limits: Limits) -> BatchFile:
    """Check bytes as a file, and split them."""
    path = folder / "in.jsonl"
    path.write_bytes(data)
    work = folder / "work"
    work.mkdir(exist_ok=True)
    return check_file(Source(path, "in.jsonl", path), limits, work)


def pieces(result: BatchFile) -> list[bytes]:
    """Read the bytes of each slice."""
    found = []
    for piece in result.slices:
        path = result.path if piece.source is None else result.path.parent / "work" / f"{piece.source}.jsonl"
        data = path.read_bytes()[piece.offset : piece.offset + piece.length]
        assert data.count(b"\n") == piece.requests
        found.append(data)
    return found


@pytest.mark.parametrize(("rows", "expected"), [(5, [5]), (6, [5, 1]), (10, [5, 5]), (11, [5, 5, 1]), (1, [1])])
def test_requests_are_cut_exactly_at_the_limit(tmp_path: Path, rows: int, expected: list[int]) -> None:
    """A slice contains as many requests as the provider accepts, and no more."""
    result = checked(tmp_path, requests(["m"] * rows, [1] * rows), Limits(max_requests=5))
    assert [piece.requests for piece in result.slices] == expected


@pytest.mark.parametrize(("slack", "expected"), [(0, [3]), (-1, [2, 1]), (1, [3])])
def test_bytes_are_cut_exactly_at_the_limit(tmp_path: Path, slack: int, expected: list[int]) -> None:
    """The newline at the end counts as a byte."""
    data = requests(["m"] * 3, [10] * 3)
    result = checked(tmp_path, data, Limits(max_bytes=len(data) + slack))
    assert [piece.requests for piece in result.slices] == expected


def embeddings(inputs: list[object], url: str = "/v1/embeddings", models: str = "mm") -> bytes:
    """Write one request for each input; the models alternate."""
    rows = [
        {
            "custom_id": f"r-{n}",
            "method": "POST",
            "url": url,
            "body": {"model": models[n % len(models)], "input": value},
        }
        for n, value in enumerate(inputs)
    ]
    return "".join(json.dumps(row) + "\n" for row in rows).encode()


@pytest.mark.parametrize("models", ["m", "mn"])
def test_tokens_are_one_input(tmp_path: Path, models: str) -> None:
    """A list of numbers counts as one input, and a list of texts or lists counts each; also with mixed models."""
    limits = Limits(max_embedding_inputs=4)
    for value, expected in (
        ([1, 2, 3, 4, 5], [4, 4]),
        ("text", [4, 4]),
        (["a", "b"], [2] * 4),
        ([[1, 2], [3]], [2] * 4),
    ):
        data = embeddings([value] * 8, models=models)
        assert [piece.requests for piece in checked(tmp_path, data, limits).slices] == expected


@pytest.mark.parametrize("models", ["m", "mn"])
@pytest.mark.parametrize("url", ["/v1/responses", "/v1/chat/completions"])
def test_the_limit_of_embedding_inputs_is_for_embeddings_only(tmp_path: Path, url: str, models: str) -> None:
    """The limit does not apply to requests of other endpoints with an `input`."""
    limits = Limits(max_embedding_inputs=4)
    for value in ("text", ["a", "b"], [1, 2]):
        slices = checked(tmp_path, embeddings([value] * 8, url, models), limits).slices
        assert [each.requests for each in slices] == [8 // len(models)] * len(models)


def test_embedding_inputs_are_cut_by_their_sum() -> None:
    """A slice ends before the sum of its inputs exceeds the limit."""
    splitter = Splitter(Limits(max_embedding_inputs=10))
    for inputs in (4, 6, 1, 10, 3):
        splitter.add(b"x" * 9 + b"\n", 4, inputs, "m")
    assert [piece.requests for piece in splitter.slices()] == [2, 1, 1, 1]


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.data())
def test_the_slices_are_the_input(tmp_path: Path, data: st.DataObject) -> None:
    """For any sizes, models and limits, the slices contain every line of the input, and none exceeds its limits."""
    count = data.draw(st.integers(1, 30))
    models = data.draw(st.lists(st.sampled_from("abc"), min_size=count, max_size=count))
    sizes = data.draw(st.lists(st.integers(0, 300), min_size=count, max_size=count))
    limits = Limits(
        max_requests=data.draw(st.integers(1, 8)),
        max_bytes=data.draw(st.integers(450, 2000)),
        one_model=data.draw(st.booleans()),
    )
    text = requests(models, sizes)
    result = checked(tmp_path, text, limits)
    cut = pieces(result)
    assert sorted(b"".join(cut).splitlines()) == sorted(text.splitlines())
    if all(piece.source is None for piece in result.slices):
        assert b"".join(cut) == text
    for piece, content in zip(result.slices, cut, strict=True):
        assert piece.requests <= (limits.max_requests or 0)
        assert len(content) == piece.length <= (limits.max_bytes or 0)
        if limits.one_model:
            assert len({json.loads(line)["body"]["model"] for line in content.splitlines()}) == 1


def test_mixed_models_are_separated_with_their_row_numbers(tmp_path: Path) -> None:
    """Each model has its own file, and the row numbers of its requests are stored."""
    result = checked(tmp_path, requests(list("abcabca"), [1] * 7), Limits(one_model=True))
    assert [piece.source for piece in result.slices] == ["model-1", "model-2", "model-3"]
    rows = (tmp_path / "work" / "model-1.rows").read_bytes()
    assert [n for (n,) in ROW_NUMBER.iter_unpack(rows)] == [0, 3, 6]


def test_models_that_follow_each_other_need_no_copy(tmp_path: Path) -> None:
    """An input sorted by model is split where the model changes, without a copy."""
    result = checked(tmp_path, requests(list("aabbc"), [1] * 5), Limits(one_model=True))
    assert [(piece.source, piece.requests) for piece in result.slices] == [(None, 2), (None, 2), (None, 1)]


def test_too_many_mixed_models_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Too many mixed models are refused, because each needs an open file."""
    monkeypatch.setattr(split, "MAX_MODELS", 2)
    with pytest.raises(Exception, match=r"more than 2 models"):
        checked(tmp_path, requests(list("abcabc"), [1] * 6), Limits(one_model=True))


def test_models_that_do_not_occur_again_do_not_count(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The limit of models counts only those that occur again later, so sorted and alternating models are accepted."""
    monkeypatch.setattr(split, "MAX_MODELS", 2)
    models = list("aabcbcdeedf")
    path = tmp_path / "in.jsonl"
    path.write_bytes(requests(models, [1] * len(models)))
    with path.open("rb") as source:
        slices = split.copy_requests(source, tmp_path, Limits(one_model=True))
    assert [piece.requests for piece in slices] == [2, 2, 2, 2, 2, 1]
    for model, number in zip("abcdef", range(1, 7), strict=True):
        rows = (tmp_path / f"model-{number}.rows").read_bytes()
        assert [n for (n,) in ROW_NUMBER.iter_unpack(rows)] == [n for n, name in enumerate(models) if name == model]


@settings(max_examples=80, deadline=None)
@given(st.integers(1, 40), st.integers(1, 6), st.integers(0, 2**32))
def test_merged_results_are_in_order_and_best(rows: int, parts: int, seed: int) -> None:
    """Merged parts give one line for each row, in order, with a success wherever a part has one."""
    rng = random.Random(seed)
    files = []
    best: dict[int, bool] = {}
    for _ in range(parts):
        mine = sorted(rng.sample(range(rows), rng.randint(0, rows)))
        results = []
        for row in mine:
            success = rng.random() < 0.5
            best[row] = best.get(row, False) or success
            body: dict[str, object] = {"status_code": 200 if success else 500, "body": "x"}
            line = json.dumps({"custom_id": str(row), "response": body}).encode() + b"\n"
            results.append(OrderedResult(row, Outcome.SUCCESS if success else Outcome.ERROR, line))
        file = io.BytesIO()
        write_rows(results, file)
        files.append(read_rows(file))
    tally = Tally()
    lines = [json.loads(line) for line in complete(map(str, range(rows)), merged(files), tally)]
    assert [int(line["custom_id"]) for line in lines] == sorted(best)
    assert [line["response"]["status_code"] == 200 for line in lines] == [best[row] for row in sorted(best)]
    assert [tally.outcomes[each] for each in (Outcome.SUCCESS, Outcome.MISSING)] == [
        sum(best.values()),
        rows - len(best),
    ]
    assert tally.requests == rows


@pytest.mark.parametrize("kind", BatchType)
def test_requests_of_every_endpoint_are_copied(tmp_path: Path, kind: BatchType) -> None:
    """Requests with any kind of body are copied byte for byte."""
    inputs: list[object] = ["a", ["a", "b"], [1, 2], [[1], [2]], [{"role": "user", "content": "a"}], {"x": 1}, None]
    bodies = [{"model": "m", "messages": []}, *({"model": "m", "input": value} for value in inputs)]
    lines = [
        json.dumps({"custom_id": str(n), "method": "POST", "url": ENDPOINTS[kind], "body": body}).encode() + b"\n"
        for n, body in enumerate(bodies)
    ]
    (part,) = copy_requests(io.BytesIO(b"".join(lines)), tmp_path, Limits(), by_model=False)
    assert (tmp_path / f"{part.source}.jsonl").read_bytes() == b"".join(lines)
    assert part.requests == len(bodies)
