"""The page of the built-in providers, made from their profiles and the comments in these files."""

from __future__ import annotations

import re
from typing import Any

import tomlkit

from openai_batch.providers.builtin import BUILT_IN
from openai_batch.providers.builtin_names import BUILT_IN_NAMES
from openai_batch.providers.config import built_in, built_in_text

_FOLDER = "https://github.com/parasail-ai/openai-batch/blob/main/openai_batch/providers/profiles"
_MAIN = {
    "openai": """# OpenAI: https://developers.openai.com/api/docs/guides/batch
# Tried: no
# Source: the OpenAPI description, the openai package 3.57, the guide
# Windows: 24h
# Note: At most 2,000 batches an hour. The limit of enqueued tokens depends on the account.
""",
    "parasail": """# Parasail: https://docs.parasail.io
# Tried: no
# Source: the openai-batch package 0.3.4, the documentation
# Windows: 24h
# Note: A file may name several models. One page gives 100 MB for a file.
""",
    "local": """# This machine: https://github.com/parasail-ai/openai-batch
# Tried: yes
# Source: this package
# Windows: 1h and more
# Note: A server that `obatch` starts: see [your own GPU](../guides/own-gpu.md).
""",
}
_LEFT_OUT = {
    "Anthropic, xAI, OpenRouter": "batches without input files, or without output files",
    "Fireworks, Mistral": "calls and objects of their own",
    "Gemini": "files are uploaded and downloaded only by Google's own package",
    "Perplexity": "batches of its own agent requests only",
    "Maritaca": "its base URL and limits could not be confirmed",
    "kluster.ai": "whether it still has a batch API could not be confirmed",
    "SambaNova": "no documentation of a batch API was found",
    "vLLM, SGLang, Ollama, llama.cpp": "no Batch API of their own: `obatch serve` gives them one",
}


def page() -> str:
    """Return the page."""
    rows = "".join(_row(name) for name in BUILT_IN_NAMES)
    left_out = "".join(f"| {names} | {why} |\n" for names, why in _LEFT_OUT.items())
    return f"""# Providers

This page is generated from [the profiles]({_FOLDER}): `python docs/make_reference.py`.

These providers are built in: `-p NAME` uses one if its key is in the variable. `obatch providers` shows those that you
can use, `obatch providers --all` all of them, and `obatch providers show NAME` one in full. A model name alone never
chooses one of them, except OpenAI, Parasail and this machine.

*Tried* says whether jobs were run there. The others are tested with servers that do what the documentation says, so
run `obatch doctor NAME` first. Paths without a version are below `/v1`, and *?* means that a fact is not confirmed. If
a part of a base URL is in capital letters, give your own:
`obatch providers add azure --base-url https://my-resource.openai.azure.com/openai/v1`.

| name | vendor | key | requests | MB | window | requests for | tried |
| --- | --- | --- | --- | --- | --- | --- | --- |
{rows}
{"".join(_section(name) for name in BUILT_IN_NAMES)}
## Not built in

| vendor | why |
| --- | --- |
{left_out}
A proxy that offers them with an OpenAI-compatible Batch API, such as LiteLLM, can be used.

## Add a provider

Write a table for the [configuration file](configuration.md), try it with `obatch doctor NAME --create`, and use it. To
contribute it to this package:

1. Add `openai_batch/providers/profiles/NAME.toml`, with the keys of `[providers.NAME]`. The comment at its start has
   the name and a page of the vendor, and the lines `Tried`, `Source`, `Windows` and, for what is unusual, `Note`. A
   value that is not in the vendor's documentation gets the comment `unconfirmed`. Of two limits, take the smaller one.
2. Add the name and its key variable to `openai_batch/providers/builtin_names.py`, and what its server does to
   `tests/support/vendors.py`. Whole jobs are then tested with it.
3. Run `python docs/make_reference.py`.

A profile has no `models`, so that no model of another provider goes there.
"""


def _about(name: str) -> tuple[str, str, dict[str, list[str]]]:
    """Return the vendor, its page, and the other lines of the comment at the start of a profile."""
    first, *lines = re.findall(r"^# (\w.+)$", _MAIN.get(name) or built_in_text(name), re.MULTILINE)
    vendor, _, url = first.partition(": http")
    facts: dict[str, list[str]] = {}
    for line in lines:
        key, _, text = line.partition(": ")
        facts.setdefault(key, []).append(text)
    return vendor, f"http{url}", facts


def _row(name: str) -> str:
    profile, (vendor, url, facts) = built_in(name), _about(name)
    document: Any = tomlkit.parse(built_in_text(name)) if name not in BUILT_IN else {}

    def mark(key: str) -> str:
        item = document.item(key) if key in document else None
        confirmed = name in BUILT_IN or (item is not None and "unconfirmed" not in item.trivia.comment)
        return "" if confirmed else " ?"

    keys = ", ".join(f"`{variable}`" for variable in profile.key_variables)
    cells = (
        f"`{name}`",
        f"[{vendor}]({url})",
        f"{keys}{mark('api_key_env') if profile.api_key_env_var else ''}" or "none",
        f"{profile.batch_input_max_requests:,}{mark('max_requests')}",
        f"{profile.batch_input_max_bytes / 1e6:,.0f}{mark('max_bytes')}",
        f"{profile.completion_window}",
        ", ".join(f"`{path.removeprefix('/v1/')}`" for path in profile.endpoints) or "not checked",
        facts["Tried"][0].partition(",")[0],
    )
    return f"| {' | '.join(cells)} |\n"


def _section(name: str) -> str:
    profile, (vendor, _, facts) = built_in(name), _about(name)
    url = "" if profile.is_local else f"- Base URL: `{re.sub('[{}]', '', str(profile.base_url))}`\n"
    line = profile.batch_input_max_line_bytes
    lines = [
        f"- Windows: {facts['Windows'][0]}\n",
        f"- A line has at most {line:,} bytes.\n" if line else "",
        *(f"- {note}\n" for note in facts.get("Note", [])),
        f"- Tried: {facts['Tried'][0]}\n",
        f"- Source: {facts['Source'][0]}\n",
    ]
    return f"### {name}\n\n{vendor}.\n\n{url}{''.join(lines)}\n"
