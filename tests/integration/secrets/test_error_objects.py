"""An exception holds no key: not in its attributes, its causes, or its traceback."""

from __future__ import annotations

import pickle
import traceback
from typing import TYPE_CHECKING, Any

import pytest
from support.canary import KEY, MARK

from openai_batch.errors import AuthError, BatchError
from openai_batch.providers.keys import find_key

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from support.workbench import Workbench

CALLS: tuple[str, ...] = (
    "poll=401",
    "poll=404",
    "poll=500*9",
    "poll=reset*9",
    "poll=html",
    "poll=302",
    "poll=cut",
    "create=401",
)
CALLS += ("create=500", "create=reset", "upload=401", "upload=429*9", "content=401*9", "content=reset*9")


def _texts(value: Any, seen: dict[int, Any], depth: int = 0) -> Iterator[str]:
    """Yield every text in an object, in its attributes, and in the errors that it keeps."""
    if depth > 12 or id(value) in seen or isinstance(value, type):
        return
    seen[id(value)] = value
    if isinstance(value, str | bytes):
        yield value if isinstance(value, str) else value.decode("latin-1")
        return
    inside: list[Any] = [getattr(value, "__dict__", None)]
    if isinstance(value, dict):
        inside += [*value, *value.values()]
    elif isinstance(value, list | tuple | set | frozenset):
        inside += value
    elif isinstance(value, BaseException):
        inside += [value.args, value.__cause__, value.__context__]
    for item in inside:
        yield from _texts(item, seen, depth + 1)


def _check(error: BaseException) -> None:
    assert [text for text in _texts(error, {}) if MARK in text] == []
    # With local variables, as crash reporters and rich tracebacks show them.
    shown = traceback.TracebackException.from_exception(error, capture_locals=True).format()
    assert [text for text in shown if MARK in text] == []
    assert MARK.encode() not in pickle.dumps(error)


@pytest.mark.parametrize("plan", CALLS)
def test_an_error_of_a_call_keeps_no_key(here: Workbench, plan: str) -> None:
    """The exception does not keep the SDK's error, which holds the request with its headers."""
    here.use_short_timeouts()
    with pytest.raises(BatchError) as raised:
        here.run(f"fault:{plan}") if plan.startswith(("create", "upload")) else _look(here, plan)
    _check(raised.value)


def _look(here: Workbench, plan: str) -> None:
    job = here.submit(f"fault:{plan}")
    if plan.startswith("poll"):
        here.api().get(str(job.parts[0].batch_id), once=True)
        return
    output = here.workflow().wait(job, timeout=30).parts[0].output_file_id
    with (here.folder / "out").open("w+b") as target, here.api()._reading(str(output), 0, None) as response:
        target.writelines(response.chunks)


def test_a_header_of_a_variable_is_a_key_too(here: Workbench, monkeypatch: pytest.MonkeyPatch) -> None:
    """The value of a header that comes from a variable is treated as a key."""
    monkeypatch.setenv("TEAM", KEY[::-1] + MARK)
    config = here.home / "config.toml"
    config.write_text(config.read_text() + 'headers = {"X-Team" = "env:TEAM"}\n')
    job = here.submit("fault:poll=500*9")
    with pytest.raises(BatchError) as raised:
        here.api().get(str(job.parts[0].batch_id), once=True)
    _check(raised.value)


@pytest.mark.parametrize("end", ["exit 1", "printf '\\377'"])
def test_a_command_for_a_key_that_fails(end: str, tmp_path: Path) -> None:
    """The output of a failed key command is not kept."""
    script = tmp_path / "key.sh"
    script.write_text(f"echo {KEY}\n{end}\n")
    with pytest.raises(AuthError) as raised:
        find_key("acme", given=None, variable=None, command=("sh", str(script)))
    _check(raised.value)
