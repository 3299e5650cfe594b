"""Hints for programs name calls and arguments instead of commands and options."""

from __future__ import annotations

import traceback

import pytest

import openai_batch
from openai_batch.errors import InputError, NotFoundError, UsageError
from openai_batch.jobs.python_hints import in_python
from openai_batch.testing import fake_provider


@pytest.mark.parametrize(
    ("hint", "told"),
    [
        ("`obatch wait 7` looks for its batch", "jobs.get(7).wait() looks for its batch"),
        ("obatch wait 7", "jobs.get(7).wait()"),
        ("see `obatch status 7`", "see jobs.get(7)"),
        ("`obatch cancel 7`, or wait until it has ended", "jobs.get(7).cancel(), or wait until it has ended"),
        ("`obatch cancel 7 --give-up` ends it", "the command `obatch cancel 7 --give-up` ends it"),
        ("`obatch retry 7 --where refused,cut` sends them", 'jobs.get(7).retry("refused,cut") sends them'),
        ("`obatch retry 71 --all` sends them", "jobs.get(71).retry(lambda cause: True) sends them"),
        ("`obatch retry 7` sends again", "jobs.get(7).retry() sends again"),
        ("`obatch recover -p acme` takes it over", "jobs.recover() takes it over"),
        ("`obatch download 7 --raw FOLDER` fetches", "`obatch download 7 --raw FOLDER` fetches"),
        ("`obatch ls` shows the jobs", "jobs.list() has the jobs"),
        ("fix the input, or add --again to submit", "fix the input, or add again=True to submit"),
        ("--force replaces it, or choose another name with -o", "force=True replaces it, or choose another name"),
        ('name the endpoint: endpoint="/v1/…"', 'name the endpoint: {"url": "/v1/…", "body": {…}}'),
        ("choose another --name", "choose another name"),
        ("name a file, or - for standard input", "name a file"),
        ('or say --prompt "{{ … }}"', 'or say prompt="{{ … }}"'),
        ("run the same command again; nothing is paid twice", "run the same call again; nothing is paid twice"),
        ("set OPENAI_API_KEY", "set OPENAI_API_KEY"),
    ],
)
def test_commands_become_calls(hint: str, told: str) -> None:
    """A hint names the Python call if there is one, and the command otherwise."""
    assert in_python(hint) == told
    assert in_python(told) == told


def test_the_hint_is_below_the_traceback() -> None:
    """A traceback shows the hint once, after the error."""
    with fake_provider():
        for call, kind, told in (
            (lambda: openai_batch.attach("nothing"), NotFoundError, "hint: jobs.list() has the jobs"),
            (
                lambda: openai_batch.map([{"a": 1, "b": 2}], "all the same", model="m"),
                UsageError,
                'prompt="… {{ text }}"',
            ),
            (lambda: openai_batch.map([{"text": ""}], model="m"), InputError, "skip_empty=True"),
            (lambda: openai_batch.Jobs().submit("no such file"), InputError, "hint: "),
        ):
            with pytest.raises(kind) as caught:
                call()
            shown = "".join(traceback.format_exception(caught.value))
            assert shown.count("\nhint: ") == 1
            assert told in shown
            assert "--" not in caught.value.hint
