"""How a row becomes a request: endpoints, templates, parameters, schemas and ids."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from support.command import invoke
from support.sample_tables import prompts, requests, write_table

ROWS = [{"id": "a", "text": "one", "more": "x"}, {"id": "b", "text": "two", "more": "y"}]
STRICT = {
    "type": "object",
    "properties": {"label": {"enum": ["good", "bad"]}, "why": {"$ref": "#/$defs/why"}},
    "required": ["label", "why"],
    "additionalProperties": False,
    "$defs": {"why": {"type": ["string", "null"]}},
}


@pytest.fixture(autouse=True)
def table() -> None:
    """Write a small table."""
    write_table(Path("t.csv"), ROWS)


@pytest.mark.parametrize(
    ("endpoint", "recipe", "url", "body"),
    [
        (None, {}, "/v1/chat/completions", {"messages": [{"role": "user", "content": "one"}]}),
        ("responses", {"system": "Be {{ more }}"}, "/v1/responses", {"instructions": "Be x", "input": "one"}),
        ("embeddings", {}, "/v1/embeddings", {"input": "one"}),
        (None, {"embeddings": True}, "/v1/embeddings", {"input": "one"}),
        ("completions", {}, "/v1/completions", {"prompt": "one"}),
        ("moderations", {}, "/v1/moderations", {"input": "one"}),
        ("images", {}, "/v1/images/generations", {"prompt": "one"}),
        (None, {"score": "{{ more }}?"}, "/v1/score", {"text_1": "x?", "text_2": "one"}),
        (None, {"score": "plain"}, "/v1/score", {"text_1": "plain", "text_2": "one"}),
        (None, {"rerank": "{{ more }}"}, "/v1/score", {"query": "x", "documents": ["one"]}),
        ("rerank", {"rerank": "q"}, "/v1/rerank", {"query": "q", "documents": ["one"]}),
        ("score", {"rerank": "q"}, "/v1/score", {"query": "q", "documents": ["one"]}),
    ],
)
def test_each_endpoint_has_its_body(endpoint: str | None, recipe: Any, url: str, body: Any) -> None:
    """The body of a request has the form of its endpoint, with the model and the parameters."""
    first, _ = requests("t.csv", endpoint=endpoint, params={"user": "u"}, **recipe)
    assert first["url"] == url
    assert first["body"] == {"model": "echo-1", "user": "u", **body}


def test_documents_may_be_a_list() -> None:
    """The column `documents` may be a list, its JSON text, or one text."""
    Path("d.jsonl").write_text(
        '{"documents":["a","b"]}\n{"documents":"[\\"c\\"]"}\n{"documents":"d"}\n', encoding="utf-8"
    )
    found = requests("d.jsonl", rerank="q")
    assert [item["body"]["documents"] for item in found] == [["a", "b"], ["c"], ["d"]]
    Path("d.jsonl").write_text('{"documents":[1]}\n', encoding="utf-8")
    invoke("prepare", "d.jsonl", "-m", "m", "--rerank", "q").failed(3, "d.jsonl:1: documents is not a list")


@pytest.mark.slow
def test_templates_of_every_kind() -> None:
    """Filters, conditions, unusual column names, files and the whole row work in templates."""
    Path("o.jsonl").write_text('{"text":"é","my col":"b","n":null,"l":[1,{"k":"<v>"}],"t":true}\n', encoding="utf-8")
    expected = {
        "{{text}}": "é",
        "{{ text|upper }}": "É",
        "{{ row['my col'] }}": "b",
        "-{{ n }}-": "--",
        "{{ l }} {{ t }}": '[1,{"k":"<v>"}] true',
        "{{ l|tojson }}": '[1,{"k":"<v>"}]',
        "{% if nope is defined %}x{% else %}y{% endif %}": "y",
        "{{ text }}\r\n{{ text }}\n": "é\né\n",
        "{{ text }} {# gone #}.": "é .",
    }
    for template, text in expected.items():
        assert prompts(requests("o.jsonl", prompt=template)) == [text], template
    Path("p.txt").write_text("Say {{ text }}\n", encoding="utf-8")
    words = ("prepare", "t.csv", "-m", "m", "--limit", "1")
    out = invoke(*words, "--prompt", "@p.txt", "--system", "@@home {literal}").succeeded().out
    messages = json.loads(out)["body"]["messages"]
    assert [message["content"] for message in messages] == ["@home {literal}", "Say one"]
    invoke(*words, "--prompt", "@nope.txt").failed(2, "--prompt @nope.txt: No such file", "@@")
    invoke(*words, "--prompt", "same for all").failed(2, "the same for every row", "{{ text }}")
    invoke(*words, "--prompt", "{{ text").failed(2, "--prompt: line 1 is not a valid template", "{{ name }}")
    invoke(*words, "--prompt", "{{ self }}").failed(2, "Jinja's own name", 'row["self"]')


def test_the_prompt_column_is_found_or_asked_for() -> None:
    """The prompt is the column `prompt`, `text`, or the only one; otherwise the error lists the columns."""
    for header, cells in (("a,prompt,text", "x,yes,y"), ("a,text", "x,yes"), ("only", "yes")):
        Path("c.csv").write_text(f"{header}\n{cells}\n", encoding="utf-8")
        assert prompts(requests("c.csv")) == ["yes"]
    Path("c.csv").write_text("title,body\nx,y\n", encoding="utf-8")
    invoke("prepare", "c.csv", "-m", "m").failed(
        3, "c.csv:2: no column is called prompt or text; the columns are title, body", "--prompt"
    )


@pytest.mark.slow
def test_parameters_have_types() -> None:
    """--param takes JSON, text and JSON from a file; it cannot replace parameters that rows set."""
    Path("stop.json").write_text('["a", "b"]', encoding="utf-8")
    words = ("prepare", "t.csv", "-m", "m", "--limit", "1", "--param")
    out = invoke(
        *words, "temperature=0.5", "--param", "user=me", "--param", "stop=@stop.json", "--param", "k=@@x"
    ).succeeded()
    body = json.loads(out.out)["body"]
    assert {key: body[key] for key in ("temperature", "user", "stop", "k")} == {
        "temperature": 0.5,
        "user": "me",
        "stop": ["a", "b"],
        "k": "@x",
    }
    invoke(*words, "messages=[]").failed(2, "a parameter replaces one", "leave that parameter out")
    Path("stop.json").write_text("{", encoding="utf-8")
    invoke(*words, "stop=@stop.json").failed(2, "--param stop: stop.json is not valid JSON", "fix")


@pytest.mark.slow
def test_a_schema_has_the_form_of_the_endpoint() -> None:
    """A schema is `response_format` for chat and `text.format` for responses, strict, and named after its file."""
    Path("my label.json").write_text(json.dumps(STRICT), encoding="utf-8")
    words = ("prepare", "t.csv", "-m", "m", "--limit", "1", "--schema", "my label.json")
    form = {"name": "my_label", "schema": STRICT, "strict": True}
    body = json.loads(invoke(*words).succeeded().out)["body"]
    assert body["response_format"] == {"type": "json_schema", "json_schema": form}
    body = json.loads(invoke(*words, "--endpoint", "responses").succeeded().out)["body"]
    assert body["text"] == {"format": {"type": "json_schema", **form}}
    invoke(*words, "-e").failed(2, "--schema is only for chat and responses", "leave it out")


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ({"additionalProperties": True}, '$: "additionalProperties": false is missing'),
        ({"required": ["label", "why", "x"]}, "$: 'x' is required but not defined"),
        ({"type": "array"}, '$: the top must have "type": "object"'),
        ({"type": "objekt"}, "$: type is"),
        ({"allOf": []}, "$: strict mode does not allow allOf"),
        ({"$defs": {}}, "$.properties.why: $ref points to #/$defs/why"),
        ({"$defs": {"why": {"type": "array"}}}, "$.$defs.why: items are missing"),
        ({"$defs": {"why": {"type": "object"}}}, "$.$defs.why: properties are missing"),
        ({"$defs": {"why": {"anyOf": [3]}}}, "$.$defs.why.anyOf[0]: a schema is a JSON object"),
    ],
)
def test_a_schema_that_strict_mode_refuses(change: Any, told: str) -> None:
    """A schema that OpenAI's strict mode does not allow is an error that names the place in it."""
    Path("s.json").write_text(json.dumps(STRICT | change), encoding="utf-8")
    invoke("prepare", "t.csv", "-m", "m", "--schema", "s.json").failed(
        3, f"s.json: {told}", "guide to structured outputs"
    )


def test_a_schema_of_pydantic_is_made_strict() -> None:
    """A schema as pydantic writes it is made strict: all fields are required, and defaults are removed."""
    loose = {
        "$defs": {
            "Why": {"type": "object", "properties": {"text": {"type": "string", "default": "none"}}},
            "Node": {
                "type": "object",
                "properties": {"next": {"$ref": "#/$defs/Node", "description": "the next one"}},
            },
        },
        "type": "object",
        "properties": {
            "why": {"$ref": "#/$defs/Why", "description": "the reason"},
            "label": {"oneOf": [{"type": "string"}, {"type": "null"}], "default": None},
            "all": {"allOf": [{"type": "integer"}]},
            "node": {"$ref": "#/$defs/Node"},
        },
    }
    Path("s.json").write_text(json.dumps(loose), encoding="utf-8")
    body = json.loads(invoke("prepare", "t.csv", "-m", "m", "--schema", "s.json").succeeded().out.splitlines()[0])[
        "body"
    ]
    made = body["response_format"]["json_schema"]["schema"]
    closed = {"additionalProperties": False, "type": "object"}
    assert made["properties"] == {
        "why": {
            **closed,
            "properties": {"text": {"type": "string"}},
            "required": ["text"],
            "description": "the reason",
        },
        "label": {"anyOf": [{"type": "string"}, {"type": "null"}]},
        "all": {"type": "integer"},
        "node": {"$ref": "#/$defs/Node"},
    }
    assert made["required"] == ["why", "label", "all", "node"]
    assert made["additionalProperties"] is False
    inner = made["$defs"]["Node"]["properties"]["next"]  # a reference with other keys beside it
    assert inner == {**closed, "properties": {"next": {"$ref": "#/$defs/Node"}}, "required": ["next"]} | {
        "description": "the next one"
    }


@pytest.mark.slow
def test_options_that_exclude_each_other() -> None:
    """Options that exclude each other, or are missing for an endpoint, exit with code 2."""
    words = ("prepare", "t.csv", "-m", "m")
    invoke(*words, "--endpoint", "score").failed(2, "need --score", "--score")
    invoke(*words, "--endpoint", "rerank").failed(2, "need --rerank", "--rerank")
    invoke(*words, "--endpoint", "nope").failed(2, "'nope'", "known endpoints")
    invoke(*words, "--endpoint", "audio/transcriptions").failed(2, "cannot be made from rows", "endpoints")
    invoke(*words, "-e", "--system", "x").failed(2, "--system is only for chat and responses", "leave it out")
    invoke(*words, "-e", "--endpoint", "chat").failed(2, "--embeddings is only for embedding", "leave it out")
    invoke(*words, "--format", "xls").failed(2, "--format xls", "parquet")
    invoke(*words, "--table", "x").failed(2, "--table is for SQLite", "--sql")
    invoke("prepare", "t.csv", "-p", "openai", "--endpoint", "images").failed(
        2, "which model? OpenAI has no default", "-m"
    )


def test_ids_come_from_their_column() -> None:
    """Ids are texts or integers, and unique over all files; invalid ids are reported with file and line."""
    Path("i.jsonl").write_text('{"id":7,"text":"x"}\n{"id":"b","text":"x"}\n', encoding="utf-8")
    assert [item["custom_id"] for item in requests("i.jsonl", id_column="id")] == ["7", "b"]
    assert [item["custom_id"] for item in requests("i.jsonl", prefix='p"')] == ['p"-1', 'p"-2']
    Path("j.jsonl").write_text(
        '{"id":"7","text":"x"}\n{"id":null,"text":"x"}\n{"text":"x"}\n{"id":"a\\nb","text":"x"}\n', encoding="utf-8"
    )
    result = invoke("prepare", "i.jsonl", "j.jsonl", "-m", "m", "--id", "id").failed(
        3, "the input has 4 problems", "fix"
    )
    assert "j.jsonl:1: the id '7' is also at i.jsonl:1: give each row its own id\n" in result.err
    assert "j.jsonl:2: id is not an id: None" in result.err
    assert "j.jsonl:3: there is no column 'id'; the only column is text" in result.err
    assert "j.jsonl:4: id is too long" in result.err
