"""The default column, chats, empty rows, and the numbers in ids."""

from __future__ import annotations

import io
import json
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pytest
from support.sample_tables import prompts, requests

from openai_batch.errors import InputError
from openai_batch.inputs.formats import Inputs
from openai_batch.inputs.prepare import Prepared, prepare
from openai_batch.inputs.request_spec import RequestSpec
from openai_batch.inputs.source_rows import read_rows

CHAT = [{"role": "user", "content": "Hi"}]


def write(*rows: dict[str, Any], name: str = "t.jsonl") -> str:
    """Write JSON lines."""
    Path(name).write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return name


def made_of(*names: str, **options: Any) -> tuple[Prepared, list[str], list[dict[str, Any]]]:
    """Prepare these inputs; return the result, the ids, and the rows that were kept."""
    target, kept = io.BytesIO(), io.BytesIO()
    with TemporaryDirectory() as folder:
        made = prepare(Inputs(names, Path(folder)).tables(), RequestSpec("m"), target, rows_to=kept, **options)
    kept.seek(0)
    found = [json.loads(line)["custom_id"] for line in target.getvalue().splitlines()]
    return made, found, list(read_rows(kept))


@pytest.mark.parametrize(
    ("row", "column"),
    [({"a": 1, "text": "x"}, "text"), ({"text": "x", "prompt": "y"}, "prompt"), ({"q": "x"}, "q")],
)
def test_the_column_is_named(row: dict[str, Any], column: str) -> None:
    """`prepare` returns the name of the column with the prompts; a file of prompts has none."""
    assert made_of(write(row))[0].column == column
    Path("t.txt").write_text("x\n", encoding="utf-8")
    assert made_of("t.txt")[0].column is None


@pytest.mark.parametrize(("cell", "kind"), [({"a": 1}, "an object"), (["a"], "a list")])
def test_lists_and_objects_are_not_pasted_into_a_prompt(cell: object, kind: str) -> None:
    """A list or an object is a prompt only if a template names its column; all such rows are one problem."""
    name = write({"text": cell}, {"text": cell})
    with pytest.raises(
        InputError, match=rf"t\.jsonl:1: the column text contains {kind}, not text \(in 2 rows\)"
    ) as caught:
        requests(name)
    assert '--prompt "{{ text }}"' in caught.value.hint
    assert prompts(requests(name, prompt="{{ text }}")) == [json.dumps(cell, separators=(",", ":"))] * 2


def test_a_table_by_columns_is_named() -> None:
    """A table stored by columns, the default of pandas, is refused, also with a template."""
    name = write({"id": {"0": 1, "1": 2}, "text": {"0": "a", "1": "b"}}, name="t.json")
    for prompt in (None, "{{ text }}"):
        with pytest.raises(InputError, match="stored by columns") as caught:
            requests(name, prompt=prompt)
        assert 'orient="records"' in caught.value.hint


def test_chats_are_messages() -> None:
    """A column `messages` is sent as messages, after the system message of the command."""
    name = write({"id": 1, "messages": [*CHAT, {"role": "user", "content": "you", "name": None}]})
    sent = [*CHAT, {"role": "user", "content": "you"}]
    assert requests(name)[0]["body"]["messages"] == sent
    system = {"role": "system", "content": "1"}
    assert requests(name, system="{{ id }}")[0]["body"]["messages"] == [system, *sent]
    body = requests(name, system="{{ id }}", endpoint="responses", id_column="id")[0]["body"]
    assert body == {"model": "echo-1", "instructions": "1", "input": sent}
    Path("t.csv").write_text('id,messages\n1,"' + json.dumps(CHAT).replace('"', '""') + '"\n', encoding="utf-8")
    assert requests("t.csv", params={"top_p": 1})[0]["body"] == {"model": "echo-1", "messages": CHAT, "top_p": 1}


@pytest.mark.parametrize(
    ("messages", "told"),
    [
        ("Hi", "not a list of messages"),
        (["Hi"], "not a list of messages"),
        ([], "there is no message"),
        ([*CHAT, {"role": "assistant", "content": "Yes"}], "the last message is the assistant's own"),
    ],
)
def test_invalid_messages_are_refused(messages: object, told: str) -> None:
    """Messages that cannot be sent as they are, such as data for fine-tuning, are refused."""
    with pytest.raises(InputError, match=told):
        requests(write({"messages": messages}))


def test_a_list_of_messages_is_no_embedding_input() -> None:
    """A list of messages is refused as the input of an embedding."""
    with pytest.raises(InputError, match="the column messages contains a list"):
        requests(write({"messages": CHAT}), embeddings=True)


def test_empty_rows_are_skipped_and_counted() -> None:
    """With `skip_empty`, rows with empty prompts are left out, and the ids of the other rows stay the same."""
    rows: list[dict[str, Any]] = [{"text": "a"}, {"text": ""}, {"text": None}, {"text": " \n"}, {"text": "b"}]
    name = write(*rows)
    made, ids, kept = made_of(name, skip_empty=True)
    assert (made.requests, made.skipped, ids) == (2, 3, ["line-1", "line-5"])
    assert kept == [rows[0], rows[4]]
    assert made_of(name, skip_empty=True, limit=2)[1] == ids
    with pytest.raises(InputError, match="3 problems") as caught:
        made_of(name)
    assert "--skip-empty" in caught.value.hint
    with pytest.raises(InputError, match="every prompt is empty"):
        made_of(write(*rows[1:4]), skip_empty=True)


def test_the_id_of_a_skipped_row_is_free() -> None:
    """The id of a skipped row can be used by another row."""
    write({"id": "x", "text": ""}, {"id": "x", "text": "a"})
    target = io.BytesIO()
    with TemporaryDirectory() as folder:
        tables = Inputs(["t.jsonl"], Path(folder)).tables()
        prepare(tables, RequestSpec("m", id_column="id"), target, skip_empty=True)
    assert json.loads(target.getvalue())["custom_id"] == "x"


def test_ids_have_the_line_of_prompts_and_the_number_of_rows() -> None:
    """Ids of prompts count blank lines; the numbers continue in the next file."""
    Path("a.txt").write_text("\none\n\n \ntwo\n", encoding="utf-8")
    Path("b.csv").write_text('text\n"x\ny"\n\nz\n', encoding="utf-8")
    assert made_of("a.txt")[1] == ["line-2", "line-5"]
    assert made_of("b.csv")[1] == ["line-1", "line-2"]
    assert made_of("a.txt", "b.csv", "a.txt")[1] == [f"line-{n}" for n in (2, 5, 6, 7, 9, 12)]


def test_a_missing_column_is_one_problem() -> None:
    """A misspelled column name is reported once with a suggestion, wherever it was given."""
    name = write(*[{"id": n, "text": "x"} for n in range(20)])
    specs: list[dict[str, Any]] = [
        {"prompt": "{{ txet }}"},
        {"prompt": "{{ row.txet|upper }}"},
        {"id_column": "txet"},
        {"images": ("txet",)},
    ]
    for spec in specs:
        with pytest.raises(InputError, match=r"1 problem; .*\n.*'txet'.*\(in 20 rows\)") as caught:
            requests(name, **spec)
        assert caught.value.hint == "did you mean text?"
        assert "did you mean" not in "".join(caught.value.details)
