"""The time and the memory of a template are limited, for any template and any row."""

from __future__ import annotations

import time

import pytest

from openai_batch.errors import BatchError, InputError
from openai_batch.inputs import template_limits
from openai_batch.inputs.templates import Template

ROW = {"n": 10**9, "big": 10**30, "text": "x" * 1000, "rows": list(range(1000)), "id": 1234567890123}


@pytest.mark.parametrize(
    "text",
    [
        "{{ 'x' * n }}",
        "{{ n * 'x' }}",
        "{{ [1] * n }}",
        "{{ 'x' * 1000 * 1000 * 1000 }}",
        "{{ 10 ** (10 ** 10) }}",
        "{{ big ** big }}",
        "{{ 'x'|center(n) }}",
        "{{ 'a\nb'|indent(n) }}",
        "{{ 'x'.ljust(n) }}",
        "{{ 'x'.zfill(n) }}",
        "{{ '\t'.expandtabs(n) }}",
        "{{ [1]|batch(n, 'x')|list }}",
        "{{ '%1000000000d' % 1 }}",
        "{{ '%*d' % (n, 1) }}",
        "{{ '%1000000000d'|format(1) }}",
        "{{ '{:>1000000000}'.format(1) }}",
        "{{ range(n) }}",
        "{% for a in range(100000) %}{{ text }}{% endfor %}",
        "{% set s = namespace(x='xxxxxxxx') %}{% for a in range(60) %}{% set s.x = s.x + s.x %}{% endfor %}{{ s.x }}",
        "{% set s = namespace(x='xxxxxxxx') %}{% for a in range(60) %}{% set s.x = s.x ~ s.x %}{% endfor %}{{ s.x }}",
        "{{ rows|tojson(n) }}",
        "{% macro m(n) %}{{ m(n) }}{% endmacro %}{{ m(1) }}",
    ],
)
def test_a_result_that_is_too_large_is_refused_early(text: str) -> None:
    """A template whose result would be too large is refused early with an InputError."""
    begun = time.monotonic()
    template = Template(text, "--prompt")
    with pytest.raises(InputError):
        template.text(ROW)
    assert time.monotonic() - begun < 5


@pytest.mark.parametrize(
    "text",
    [
        "{% for a in range(100000) %}{% for b in range(100000) %}{% endfor %}{% endfor %}",
        "{% for a in rows %}{% for b in rows %}{% for c in rows %}{% set x = a %}{% endfor %}{% endfor %}{% endfor %}",
        "{% macro m(n) %}{% if n %}{{ m(n - 1) }}{{ m(n - 1) }}{% endif %}{% endmacro %}{{ m(60) }}",
        "{% for a in [1] recursive %}{% if loop.depth < 60 %}{{ loop([1, 1]) }}{% endif %}{% endfor %}",
    ],
)
def test_a_slow_template_is_stopped(text: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Loops and macros are stopped after a limit of processor time."""
    monkeypatch.setattr(template_limits, "MAX_SECONDS", 0.3)
    with pytest.raises(InputError, match="takes more than"):
        Template(text, "--prompt").text(ROW)


def test_a_template_that_is_nested_too_deeply_is_reported() -> None:
    """A template that is nested too deeply raises an error of this package."""
    with pytest.raises(BatchError):
        Template("{{ " + "(" * 20_000 + "1" + ")" * 20_000 + " }}", "--prompt").text(ROW)


@pytest.mark.parametrize(
    ("text", "result"),
    [
        ("{% for a in range(3) %}{{ loop.index }}/{{ loop.length }} {% endfor %}", "1/3 2/3 3/3 "),
        ("{% for a in rows[:3] if a %}{{ a }}{{ loop.last }}{% endfor %}", "1false2true"),
        ("{% for a in [] %}{% else %}none{% endfor %}", "none"),
        ("{% for a in [[1, []]] recursive %}{{ a[0] }}{{ loop(a[1]) }}{% endfor %}", "1"),
        ("{{ missing|default(1234567890) }} {{ id|string }} {{ [id]|select('equalto', 1234567890123)|list }}", None),
        ("{{ '{} {:>5}'.format(id, 1) }} {{ '%d' % id }} {{ '%s'|format(id) }}", None),
        (
            "{{ id * 10 }} {{ 1 ~ 'a' ~ id }} {{ 2 ** 64 }} {{ '-' * 3 }} {{ n|round(2) }} {{ 'x'|center(3) }}",
            None,
        ),
    ],
)
def test_usual_templates_work(text: str, result: str | None) -> None:
    """Large numbers as values, small repeats and loop variables work."""
    made = Template(text, "--prompt").text({**ROW, "missing": 1})
    assert result is None or made == result
