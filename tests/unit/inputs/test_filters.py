"""Jinja's filters and functions work in templates with the arguments that Jinja documents."""

from __future__ import annotations

import pytest
from jinja2.filters import FILTERS

from openai_batch.errors import InputError, UsageError
from openai_batch.inputs.templates import Template

ROW = {
    "s": " ab cd ",
    "n": -2.567,
    "l": [3, 1, 2, 1],
    "o": [{"k": "b", "v": 1}, {"k": "a", "v": 2}],
    "d": {"b": 1, "a": {"x": [2]}},
    "h": "<b>x</b> & y",
    "none": None,
}
CASES = {
    "n|abs": "2.567",
    "'x'|attr('zz')|default('-')": "-",
    "l|batch(3, fill_with=0)": "[[3,1,2],[1,0,0]]",
    "s|trim|capitalize": "Ab cd",
    "'a'|center(width=3)": " a ",
    "l|count": "4",
    "zz|d('x')": "x",
    "none|default('x', boolean=true)": "x",
    "d|dictsort(case_sensitive=true, by='key', reverse=true)": '[["b",1],["a",{"x":[2]}]]',
    "h|e": "&lt;b&gt;x&lt;/b&gt; &amp; y",
    "h|escape": "&lt;b&gt;x&lt;/b&gt; &amp; y",
    "1048576|filesizeformat(binary=true)": "1.0 MiB",
    "l|first": "3",
    "'x'|float(default=1.5)": "1.5",
    "h|forceescape": "&lt;b&gt;x&lt;/b&gt; &amp; y",
    "'%s-%s'|format('a', 'b')": "a-b",
    "o|groupby('k', default='', case_sensitive=true)|map('first')": '["a","b"]',
    "'a\nb'|indent(width=2, first=true, blank=true)": "  a\n  b",
    "'ff'|int(default=0, base=16)": "255",
    "d|items|map('first')": '["b","a"]',
    "o|join(', ', attribute='k')": "b, a",
    "l|last": "1",
    "s|length": "7",
    "'a'|list": '["a"]',
    "'A'|lower": "a",
    "o|map(attribute='z', default=0)": "[0,0]",
    "o|max(attribute='v')": '{"k":"a","v":2}',
    "['b','A']|min(case_sensitive=true)": "A",
    "d|pprint": "{'a': {'x': [2]}, 'b': 1}",
    "l|reject('odd')": "[2]",
    "o|rejectattr('k', 'equalto', 'a')": '[{"k":"b","v":1}]',
    "'aaa'|replace(old='a', new='b', count=2)": "bba",
    "l|reverse": "[1,2,1,3]",
    "n|round(precision=1, method='floor')": "-2.6",
    "h|safe": "<b>x</b> & y",
    "l|select('odd')": "[3,1,1]",
    "o|selectattr('v', 'gt', 1)": '[{"k":"a","v":2}]',
    "l|slice(3, fill_with=0)": "[[3,1],[2,0],[1,0]]",
    "o|sort(reverse=true, case_sensitive=true, attribute='k')|map(attribute='k')": '["b","a"]',
    "n|string": "-2.567",
    "h|striptags": "x & y",
    "o|sum(attribute='v', start=1)": "4",
    "'ab cd'|title": "Ab Cd",
    "d|tojson(indent=2)": '{\n  "b": 1,\n  "a": {\n    "x": [\n      2\n    ]\n  }\n}',
    "'xax'|trim(chars='x')": "a",
    "'abcdef'|truncate(length=3, killwords=true, end='…', leeway=0)": "ab…",
    "l|unique(case_sensitive=true)": "[3,1,2]",
    "'a'|upper": "A",
    "'a b'|urlencode": "a%20b",
    "'http://a.example'|urlize(trim_url_limit=9, nofollow=true, target='_blank', rel='x')": None,
    "s|wordcount": "2",
    "'ab cd'|wordwrap(width=2, break_long_words=false, wrapstring='/', break_on_hyphens=false)": "ab/cd",
    "{'class': 'a'}|xmlattr(autospace=false)": 'class="a"',
}


@pytest.mark.parametrize("expression", CASES)
def test_a_filter_works(expression: str) -> None:
    """A filter takes its documented arguments, and what it returns is text, or a list as JSON."""
    text = Template(f"{{{{ {expression} }}}}", "--prompt").text(ROW)
    assert text == CASES[expression] or CASES[expression] is None
    assert "object at 0x" not in text


def test_every_filter_is_tried() -> None:
    """Each filter of Jinja except `random` has a case."""
    used = {word.partition("(")[0] for expression in CASES for word in expression.split("|")[1:]}
    assert FILTERS.keys() - used == {"random"}


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("{% set ns = namespace(n=0) %}{% for i in l %}{% set ns.n = ns.n + i %}{% endfor %}{{ ns.n }}", "7"),
        ("{% set j = joiner('/') %}{% for i in l %}{{ j() }}{{ i }}{% endfor %}", "3/1/2/1"),
        ("{% set c = cycler('a', 'b') %}{{ c.next() }}{{ c.next() }}", "ab"),
        ("{{ dict(a=1) }}{{ range(2) }}{{ d.keys() }}", '{"a":1}[0,1]["b","a"]'),
    ],
)
def test_functions_work(text: str, told: str) -> None:
    """Jinja's functions work, and iterable values are written as a list."""
    assert Template(text, "--prompt").text(ROW) == told


@pytest.mark.parametrize(
    ("expression", "told"),
    [
        ("d|tojson(foo=1)", "tojson() got an unexpected keyword argument 'foo'"),
        ("l|join(foo=1)", "join() got an unexpected keyword argument 'foo'"),
        ("row.items", "the template outputs a function"),
        ("row.update(a=1)", "access to attribute 'update' of row object is unsafe"),
        ("d.zz", "an object has no attribute 'zz'"),
        ("s.zz", "a text has no attribute 'zz'"),
        ("row.zz", "'zz' is undefined; the columns are"),
    ],
)
def test_messages_have_no_internal_names(expression: str, told: str) -> None:
    """The error of a template does not contain internal function names of Jinja or of this package."""
    with pytest.raises(InputError) as caught:
        Template(f"{{{{ {expression} }}}}", "--prompt").text(ROW)
    assert told in str(caught.value)
    assert not any(name in str(caught.value) for name in ("_compiled", "lambda", "do_", "_to_json", "_Columns"))


def test_unavailable_template_features_are_named() -> None:
    """`random` is refused, because it would make a different request from the same row each time."""
    with pytest.raises(UsageError, match="No filter named 'random'") as caught:
        Template("{{ l|random }}", "--prompt")
    assert "without random" in caught.value.hint
