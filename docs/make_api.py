"""Write `docs/api.md`, the reference of the Python API, from the signatures and docstrings.

    python docs/make_api.py

`tests/repo/test_docs.py` checks that the page is current.
"""

from __future__ import annotations

import inspect
import re
import sys
import typing
from pathlib import Path
from typing import Any

import openai_batch
from openai_batch import errors, testing

_MADE_BY_USERS = {"Jobs", "Batch"}
"""Classes whose constructor is shown. Objects of other classes come from functions, or their fields are listed."""

_WIDTH = 100
"""The most characters of a signature on one line."""

PAGE = Path(__file__).with_name("api.md")

SECTIONS: dict[str, list[str]] = {
    "Rows to answers": ["map", "embed", "start", "attach", "Run"],
    "Jobs": ["Jobs", "Job", "Result", "Outcome", "Report"],
    "Providers": ["Provider", "get_provider_by_name", "get_provider_by_model", "get_provider_by_base_url"],
    "`Batch`, the class of 0.3.4": ["Batch", "BatchType", "wait"],
    "Images": ["data_url"],
}
"""The headings of the page, with the public names below each."""

_HEAD = """# Python API

Made from the docstrings by `docs/make_api.py`. The guides have examples.
"""


def page() -> str:
    """Return the text of the page."""
    parts = [_HEAD]
    for heading, names in SECTIONS.items():
        parts.append(f"## {heading}\n")
        parts += [_entry(getattr(openai_batch, name), name) for name in names]
        if heading == "Rows to answers":
            from openai_batch.frames import options

            parts += [_options(options.RowOptions), _options(options.MapOptions)]
        if heading == "Jobs":
            from openai_batch.jobs.reporter import Reporter
            from openai_batch.results.reasons import ResultError

            parts += [_entry(ResultError, "ResultError"), _entry(Reporter, "Reporter")]
            parts += [_value(value) for value in _values()]
    parts.append("## Tests: `openai_batch.testing`\n")
    parts += [_entry(getattr(testing, name), name) for name in sorted(testing.__all__)]
    parts.append("## Errors: `openai_batch.errors`\n")
    parts += [_error(getattr(errors, name), name) for name in errors.__all__]
    return "\n".join(parts)


def _values() -> list[type]:
    """Return the classes that the properties and methods of jobs return."""
    from openai_batch.costs.estimate import Estimate, ModelEstimate
    from openai_batch.costs.receipt import ModelCost, Receipt
    from openai_batch.jobs.receipt import Spending
    from openai_batch.jobs.sample import Sample, SampleRow
    from openai_batch.providers.batch_info import BatchFault, Counts

    return [Counts, BatchFault, Estimate, ModelEstimate, Sample, SampleRow, Receipt, ModelCost, Spending]


def _value(value: type) -> str:
    """Return the section of a class, with only its fields and properties."""
    return f"### `{value.__name__}`\n\n{_doc(value)}\n\n" + "\n".join(_members(value)) + "\n"


def _entry(value: Any, name: str) -> str:
    """Return the section of a function or a class."""
    if not inspect.isclass(value):
        return f"### `{name}`\n\n{_code(name, value)}\n{_doc(value)}\n"
    lines = [f"### `{name}`\n"]
    if name in _MADE_BY_USERS:
        lines.append(_code(name, value))
    lines.append(_doc(value) + "\n")
    members = _members(value)
    if members:
        lines.append("\n".join(members).replace("\n\n", "\n  ") + "\n")
    for member, attribute in vars(value).items():
        if inspect.isfunction(attribute) and not member.startswith("_") and not member.endswith("_async"):
            lines.append(f"#### `{name}.{member}`\n\n{_code(member, attribute)}\n{_doc(attribute)}\n")
    return "\n".join(lines)


def _members(value: type) -> list[str]:
    """Return the fields and the properties of a class."""
    return _attributes(value) + [
        f"- **`{member}`**: {_doc(attribute)}"
        for member, attribute in vars(value).items()
        if isinstance(attribute, property) and not member.startswith("_")
    ]


def _attributes(value: type) -> list[str]:
    """Return the fields of a class that have a docstring below them or a comment next to them."""
    source = inspect.getsource(value)
    found = re.findall(r'^    (\w+)(?:: ([^=\n]+?))?(?: = [^\n]*)?\n    """(.*?)"""', source, re.MULTILINE | re.DOTALL)
    return [f"- **`{name}`**: {' '.join(text.split())}" for name, _, text in found if not name.startswith("_")]


def _options(value: type) -> str:
    name = value.__name__
    return f"### Options: `{name}`\n\n{_doc(value)}\n\n" + "\n".join(_attributes(value)) + "\n"


def _error(value: type, name: str) -> str:
    if not (inspect.isclass(value) and issubclass(value, Exception)):
        return _entry(value, name)
    bases = ", ".join(f"`{base.__name__}`" for base in value.__bases__)
    return f"- **`{name}`** ({bases}, exit code {value.exit_code}): {_doc(value).splitlines()[0]}"  # type: ignore[attr-defined]


def _code(name: str, value: Any) -> str:
    return f"```python\n{name}{_signature(value)}\n```\n"


def _signature(value: Any) -> str:
    """Return a signature as it is written, without `self`; one of many parameters has a line for each."""
    signature = inspect.signature(value)
    parameters = [parameter for parameter in signature.parameters.values() if parameter.name != "self"]
    texts, keyword_only = [], False
    for parameter in parameters:
        if parameter.kind is parameter.KEYWORD_ONLY and not keyword_only:
            keyword_only = True
            texts.append("*")
        annotation = "" if parameter.annotation is parameter.empty else f": {_type(parameter.annotation)}"
        default = "" if parameter.default is parameter.empty else f" = {_default(parameter.default)}"
        star = "**" if parameter.kind is parameter.VAR_KEYWORD else ""
        texts.append(f"{star}{parameter.name}{annotation}{default}")
    returned = signature.return_annotation
    result = "" if returned is signature.empty or inspect.isclass(value) else f" -> {_type(returned)}"
    line = f"({', '.join(texts)}){result}"
    return line if len(line) <= _WIDTH else "(\n" + "".join(f"    {text},\n" for text in texts) + f"){result}"


def _type(annotation: Any) -> str:
    return (
        annotation
        if isinstance(annotation, str)
        else typing.cast("str", getattr(annotation, "__name__", str(annotation)))
    )


def _default(value: Any) -> str:
    return "..." if value is ... else repr(value)


def _doc(value: Any) -> str:
    """Return a docstring; indented blocks become code."""
    text = inspect.getdoc(value) or ""
    return re.sub(
        r"\n\n((?:    .*\n?)+)", lambda found: "\n\n```python\n" + _dedented(found[1]) + "\n```\n", text
    ).rstrip()


def _dedented(block: str) -> str:
    return "\n".join(line.removeprefix("    ") for line in block.rstrip().split("\n"))


if __name__ == "__main__":
    PAGE.write_text(page(), encoding="utf-8")
    sys.stdout.write(f"{PAGE}\n")
