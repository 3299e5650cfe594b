"""Write the pages of `docs/reference/` from the code: exit codes, environment, configuration, result columns, JSON.

    python docs/make_reference.py

`tests/repo/test_docs.py` checks that the pages are current.
"""

from __future__ import annotations

import inspect
import json
import re
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import json_documents
import json_fields
import msgspec
import providers_page

from openai_batch import errors
from openai_batch.cli.help_topics import EXIT_CODES, VARIABLES
from openai_batch.cluster.settings import ShardSettings
from openai_batch.files.typed_table import describe
from openai_batch.local.settings import LocalSettings, UpstreamSettings
from openai_batch.providers.config import PricesTable, ProfileTable
from openai_batch.providers.provider import Prices, Provider
from openai_batch.results.flatten import RESULT_COLUMNS

if TYPE_CHECKING:
    from collections.abc import Iterable

FOLDER = Path(__file__).with_name("reference")
_MADE = "This page is generated: `python docs/make_reference.py`.\n"

_TOP = (
    ("`provider`", "the name of a provider", "The default provider"),
    (
        "`notify`",
        "a list of `bell`, `cmd:COMMAND`, `env:VARIABLE` or `none`",
        "Who is told when a job of `run` or `wait` ends, unless `--notify` is given; `obatch help notify` says more",
    ),
)

_COLUMNS = {
    "answer": "the answer; the model's words if it declined",
    "finish_reason": "why the answer ended, as the provider says it",
    "model": "the model that answered",
    "prompt_tokens": "the tokens of the prompt, if the provider counts them",
    "completion_tokens": "the tokens of the answer",
    "outcome": "`success`, `refused`, `cut`, `error` or `missing`",
    "error_code": "the code of the error, such as `rate_limit_exceeded` or `batch_expired`",
    "error_message": "the error in words",
}


def pages() -> dict[str, str]:
    """Return the text of each file in the folder, by file name."""
    return {
        "exit-codes.md": _exit_codes(),
        "environment.md": _environment(),
        "configuration.md": _configuration(),
        "providers.md": providers_page.page(),
        "result-columns.md": _result_columns(),
        "json.md": _json(),
        "json.schema.json": json.dumps(json_documents.schema(), indent=1, ensure_ascii=False) + "\n",
    }


def _table(heads: Iterable[str], rows: Iterable[Iterable[str]]) -> str:
    lines = [heads, ["---" for _ in heads], *rows]
    return "".join(f"| {' | '.join(cell.replace('|', chr(92) + '|') for cell in line)} |\n" for line in lines)


def _exit_codes() -> str:
    by_code: dict[int, list[str]] = {}
    for name in errors.__all__:
        by_code.setdefault(getattr(errors, name).exit_code, []).append(f"`{name}`")
    rows = [(code, text, ", ".join(by_code.get(int(code.split(",")[0]), []))) for code, text in EXIT_CODES.items()]
    return f"""# Exit codes

{_MADE}
{_table(("code", "meaning", "errors in Python"), rows)}
With `--strict`, refused and cut answers count as not answered. With several jobs, 5 counts more than 124.
`obatch status --exit-code` uses the same codes.

An error is two lines, `error:` and `hint:`, with details between them. `OBATCH_DEBUG=1` adds the traceback.
In Python, each error has the `exit_code`, a `hint` and `details`: see [errors](../api.md#errors-openai_batcherrors).
"""


def _environment() -> str:
    rows = [(", ".join(f"`{name}`" for name in names.split(", ")), text) for names, text in VARIABLES.items()]
    return f"""# Environment variables

{_MADE}
{_table(("variable", "meaning"), rows)}
Keys are in variables of their own, such as `OPENAI_API_KEY`: `obatch providers` shows which each provider reads.
An option counts more than a variable, and a variable more than the [configuration file](configuration.md).
"""


def _configuration() -> str:
    meanings = _docstrings(Provider) | _docstrings(ProfileTable)
    own = Provider(name="NAME", default_chat_model="", default_embedding_model="")
    profile = [
        (
            f"`{field.encode_name}`",
            describe(field.type),
            _default(getattr(own, field.name, None)),
            meanings[field.name],
        )
        for field in msgspec.structs.fields(ProfileTable)
    ]
    heads = ("key", "must be", "default", "meaning")
    about = _docstrings(Prices)
    prices = [(f"`{each.name}`", describe(each.type), about[each.name]) for each in msgspec.structs.fields(PricesTable)]
    return f"""# Configuration file

{_MADE}
`obatch config path` prints where the file is, and `obatch config show` what it says. It is TOML:

```toml
provider = "acme"                      # the default provider

[providers.acme]
base_url = "https://api.acme.example/v1"
api_key_env = "ACME_API_KEY"           # or api_key_command = ["pass", "show", "acme"]
models = ["acme/*"]

[providers.local]
upstream = "http://127.0.0.1:8000/v1"  # what runs the requests, instead of the embedded engine
```

The file names keys and never holds one. It is refused if another user owns it or may change it.

At its top it may have these keys:

{_table(("key", "must be", "meaning"), _TOP)}
## `[providers.NAME]`

A table with the name of a built-in provider changes that one; what is not given stays as it is. `headers`, `status_map`
and `upload_fields` add to those of the built-in provider. With a `base_url` at another host, its key, `headers`,
`endpoints` and `batch_discount` are left out.

{_table(heads, profile)}
## `[providers.NAME.prices."MODEL"]`

MODEL is the name of a model, or a pattern. A name counts more than a pattern, and of patterns the first one. Prices are
in US dollars for a million tokens in a batch:

{_table(("key", "must be", "meaning"), prices)}
## `[providers.local]`

The table of the local provider has these keys, and `chat_model` and `embedding_model` for the default models.

{_table(heads, _fields(LocalSettings))}
## `[[providers.local.upstream]]`

Instead of URLs, `upstream` may be a table for each of them:

{_table(heads, _fields(UpstreamSettings))}
## `[providers.NAME]` with `kind = "shards"`

A [cluster](../guides/cluster.md) has these keys, and of those above `display_name`, `api_key_env`, `models`,
`endpoints`, `completion_window`, `parallel`, `prices`, `batch_discount` and those of the default models and of limits.
The defaults of `max_requests`, `max_bytes` and `completion_window` are 100,000, 4,294,967,296 and `30d` here.


{_table(heads, _fields(ShardSettings))}"""


def _fields(kind: type[msgspec.Struct]) -> list[tuple[str, str, str, str]]:
    """Return the rows of a table of settings, whose keys are the names of its fields."""
    about = _docstrings(kind)
    return [
        (
            f"`{field.name}`",
            describe(field.type),
            _default(None if field.default is msgspec.NODEFAULT else field.default),
            about[field.name],
        )
        for field in msgspec.structs.fields(kind)
    ]


def _result_columns() -> str:
    rows = [
        ("`custom_id`", "the id of the request"),
        ("the columns of the input", "as they were; of a file of prompts, the column `prompt`"),
        ("the fields of the answer", "with `--fields`: a column for each field of answers that are JSON objects"),
        *((f"`{name}`", _COLUMNS[name]) for name in RESULT_COLUMNS),
    ]
    return f"""# Result columns

{_MADE}
CSV, Parquet and `--as rows` have one row for each request, in the order of the input, with these columns:

{_table(("column", "holds"), rows)}
If a name is taken, a column of the input becomes `input_NAME`, and a field of the answer `answer_NAME`. In CSV and
Parquet, objects are JSON text. In Parquet, vectors are lists of numbers, and a column of the input keeps its type if
all of its values have one. What is not known is empty.

`map` and `Run.to_pandas` have other columns: see [data frames](../guides/data-frames.md).
"""


def _json() -> str:
    calls = [
        (f"`obatch {call}`", f"{'array of ' if many else ''}{_link(name)}{f'; {remark}' if remark else ''}")
        for call, (name, remark, many) in json_documents.COMMANDS.items()
    ]
    parts = [
        f"""# JSON output

{_MADE}
With `--json`, a command prints one JSON document to standard output. Keys may be added in later versions; none is
changed or removed. Numbers are plain, times are in ISO 8601 (UTC), and what is not known is null. The exit code is the
same as without `--json`.
[json.schema.json](json.schema.json) has the JSON schema of each document, under its name in `$defs`.

{_table(("command", "prints"), calls)}"""
    ]
    for name, (about, fields) in json_documents.DOCUMENTS.items():
        parts.append(f"## {name}\n\nThis is {about}{' these' if about.endswith('and') else ''}:\n")
        parts.append(_table(("key", "type", "meaning"), _rows(fields)))
        if name == "job-results":
            parts.append("The keys of `results`:\n")
            parts.append(_table(("key", "type", "meaning"), _rows(json_fields.RESULTS)))
    for name, about in json_documents.FREE.items():
        parts.append(f"## {name}\n\nThis is {about}.\n")
    return "\n".join(parts)


def _link(name: str) -> str:
    return f"[{name}](#{name})"


def _rows(fields: json_fields.Fields) -> list[tuple[str, str, str]]:
    return [(f"`{key}`", _kind(kind), text) for key, (kind, text) in fields.items()]


def _kind(kind: str | json_fields.Schema) -> str:
    """Return a type in words."""
    if isinstance(kind, str):
        return kind
    if "$ref" in kind:
        return _link(kind["$ref"].rpartition("/")[2])
    if "anyOf" in kind:
        return " or ".join(map(_kind, kind["anyOf"]))
    if "items" in kind:
        items = kind["items"]
        return "array of " + (_kind(items) if "$ref" in items else f"{items['type']}s")
    found = kind.get("type", "any")
    return found if isinstance(found, str) else " or ".join(found)


def _docstrings(value: type) -> dict[str, str]:
    """Return the docstring below each field of a class, on one line."""
    found = re.findall(r'^    (\w+): [^\n]+\n    """(.*?)"""', inspect.getsource(value), re.MULTILINE | re.DOTALL)
    return {name: _without_none(" ".join(text.split()).rstrip(".")) for name, text in found}


def _without_none(text: str) -> str:
    """Return a docstring for a configuration file, which has no None."""
    return re.sub(r"; None (?:if|for) .*", "", text).replace("None means", "without it,")


def _default(value: Any) -> str:
    if isinstance(value, bool):
        return f"`{str(value).lower()}`"
    if isinstance(value, int | float):
        return f"{value:,.0f}"
    return f"`{value}`" if value else ""


if __name__ == "__main__":
    FOLDER.mkdir(exist_ok=True)
    for name, text in pages().items():
        (FOLDER / name).write_text(text, encoding="utf-8")
        sys.stdout.write(f"{FOLDER / name}\n")
