"""Any text reaches the upstream unchanged, and templates can access only their columns."""

from __future__ import annotations

import json
import tempfile
import urllib.request
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from support.sample_tables import prompts, requests, write_table
from support.servers import echo_upstream

from openai_batch.errors import InputError
from openai_batch.inputs.templates import Template, _jinja_renderer, _parse_columns

if TYPE_CHECKING:
    from collections.abc import Iterator

    from support.servers import EchoUpstream

# The echo reads directives after an exclamation mark; a prompt of spaces is not valid.
TEXT = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="!"), min_size=1).filter(str.strip)
LINE = TEXT.filter(lambda text: "\n" not in text and not text.endswith("\r") and not text.startswith("\ufeff"))
NAME = st.from_regex(r"[A-Za-z_][A-Za-z0-9_]{0,8}", fullmatch=True)
VALUE = st.none() | st.booleans() | st.integers() | st.text(st.characters(exclude_categories=["Cs"]))


@pytest.fixture(scope="module")
def echo() -> Iterator[EchoUpstream]:
    """Run one echo for all texts."""
    with echo_upstream() as upstream:
        yield upstream


def answer(base_url: str, body: object) -> str:
    """Send a request to the upstream, and return the text of its answer."""
    data = json.dumps(body).encode()
    headers = {"Content-Type": "application/json"}
    asked = urllib.request.Request(base_url + "/chat/completions", data, headers)  # noqa: S310 - a loopback address
    with urllib.request.urlopen(asked, timeout=60) as reply:  # noqa: S310
        return str(json.loads(reply.read())["choices"][0]["message"]["content"])


@pytest.mark.parametrize(("name", "texts"), [("t.csv", TEXT), ("t.tsv", TEXT), ("t.jsonl", TEXT), ("t.txt", LINE)])
@settings(max_examples=25, deadline=None)
@given(data=st.data())
def test_any_text_is_kept(echo: EchoUpstream, name: str, texts: st.SearchStrategy[str], data: st.DataObject) -> None:
    """A text is the same, character by character, in the table, in the request and in the echo's answer."""
    given_texts = data.draw(st.lists(texts, min_size=1, max_size=8))
    with tempfile.TemporaryDirectory() as folder:
        path = write_table(Path(folder, name), [{"text": text} for text in given_texts])
        found = requests(path, choice={"format": path.suffix[1:]})
    assert prompts(found) == given_texts
    assert answer(echo.base_url, found[0]["body"]) == f"echo: {given_texts[0]}"


@pytest.mark.slow
@settings(deadline=None)
@given(row=st.dictionaries(NAME, VALUE, min_size=1, max_size=4), around=st.text("ab \n\r%#}é", max_size=6))
def test_simple_templates_give_the_same_as_jinja(row: dict[str, object], around: str) -> None:
    """The fast path for templates that only name columns gives the same text as Jinja."""
    text = around.join(f"{{{{ {name} }}}}" for name in row) + around
    short = _parse_columns(text)[1]
    try:
        long = _jinja_renderer(text, "--prompt")(dict(row))
    except InputError:
        return  # such as a template with an invalid tag: the fast path leaves it to Jinja, too
    if short:
        assert Template(text, "--prompt").text(dict(row)) == long


@pytest.mark.slow
@settings(deadline=None)
@given(name=NAME, value=VALUE | st.lists(st.integers()) | st.dictionaries(NAME, st.integers()))
def test_templates_cannot_access_attributes(name: str, value: object) -> None:
    """A template cannot reach a class or an attribute that begins with an underscore through any column."""
    for path in ("__class__", "__init__", "__class__.__mro__", "__reduce__"):
        for template in (f"{{{{ row.{name}.{path} }}}}", f"{{{{ row[{name!r}]|attr({path!r}) }}}}"):
            with pytest.raises(InputError):
                print(Template(template, "--prompt").text({name: value}))


@pytest.mark.parametrize(
    "template",
    [
        "{{ ''.__class__ }}",
        "{{ text.__class__.__mro__ }}",
        "{{ '{0.__class__}'.format(text) }}",
        "{{ row.update({'text': 'x'}) }}",
        "{{ range(200000)|list }}",
        "{{ cycler }}",
        "{{ lipsum.__globals__ }}",
        "{% include '/etc/passwd' %}",
        "{{ row.clear() }}",
    ],
)
def test_the_sandbox_cannot_be_escaped(template: str) -> None:
    """Known ways to escape the sandbox are refused, and a row cannot be changed."""
    row = {"text": "{{ 7 * 7 }}"}
    with pytest.raises(InputError):
        print(Template(template, "--prompt").text(row))
    assert row == {"text": "{{ 7 * 7 }}"}


def test_values_are_never_templates() -> None:
    """A cell that looks like a template is text."""
    row = {"text": "{{ 7 * 7 }}{% raw %}"}
    assert Template("{{ text }}", "--prompt").text(row) == row["text"]
    assert Template("{{ text|trim }}", "--prompt").text(row) == row["text"]
