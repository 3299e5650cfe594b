"""Make a batch file for a provider from prompts, tables or the built-in example, and choose the model."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from openai_batch.errors import UsageError
from openai_batch.inputs.example import write_example
from openai_batch.inputs.prepare import prepare
from openai_batch.inputs.request_spec import RequestSpec
from openai_batch.net.hosts import is_openai
from openai_batch.providers.lookup import pick_provider
from openai_batch.requests.endpoints import BatchType, path_among
from openai_batch.requests.source import Source

from .store.job_folder import COLUMNS

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

    from openai_batch.inputs.formats import Inputs, Table
    from openai_batch.inputs.prepare import Prepared
    from openai_batch.providers.provider import Provider


@dataclass(frozen=True, slots=True)
class Requests:
    """A batch file, not checked yet."""

    source: Source  # the file of requests
    provider: str | None  # the name of the provider that it is for; None for a ready file if the user named none
    columns: Path | None = None  # the file with the rows that the requests were made from; None for ready requests
    prepared: Prepared | None = None  # what was made of the rows; None for ready requests


def make_requests(
    inputs: Inputs,
    folder: Path,
    spec: RequestSpec,
    provider: str | None = None,
    *,
    limit: int | None = None,
    skip_empty: bool = False,
) -> Requests:
    """Return the requests of a ready batch file, or make them in `folder` from the first `limit` rows (None: all).

    With `skip_empty`, rows with an empty prompt are skipped.

    Raises UsageError if an option would change ready requests, and InputError for rows that cannot become requests.
    """
    ready = inputs.requests()
    if ready is not None:
        if limit is not None or skip_empty or spec != RequestSpec(""):
            raise UsageError(
                "the file is a batch file, which the options for prompts do not change",
                hint="leave out --model, --prompt, --system and the others, or say what it is with --format jsonl",
            )
        return Requests(ready, provider)
    chosen = pick_provider(provider, spec.model or None)
    return requests_of_rows(inputs.tables(), inputs.name, folder, spec, chosen, limit=limit, skip_empty=skip_empty)


def requests_of_rows(
    tables: Iterable[Table],
    name: str,
    folder: Path,
    spec: RequestSpec,
    provider: Provider,
    *,
    limit: int | None = None,
    skip_empty: bool = False,
) -> Requests:
    """Make requests in `folder` from the first `limit` rows (None: all) of these tables, which messages call `name`.

    With `skip_empty`, rows with an empty prompt are skipped. Raises InputError for rows that cannot become requests,
    and UsageError if there is no model.
    """
    path, columns = folder / "prepared.jsonl", folder / COLUMNS
    with path.open("wb") as handle, columns.open("wb") as kept:
        full_spec = fitted(spec, provider)
        made = prepare(tables, full_spec, handle, limit=limit, skip_empty=skip_empty, rows_to=kept)
    return Requests(Source(path, f"the batch file of {name}", None), str(provider.name), columns, made)


def make_example(folder: Path, provider: str | None = None, model: str | None = None) -> Requests:
    """Write the requests of the built-in example to a file in `folder`, and return them."""
    chosen = pick_provider(provider, model)
    path = folder / "example.jsonl"
    with path.open("wb") as handle:
        spec = fitted(RequestSpec(model or ""), chosen)
        write_example(handle, spec.model, spec.target[1])
    return Requests(Source(path, "example", None), str(chosen.name))


def fitted(spec: RequestSpec, provider: Provider) -> RequestSpec:
    """Return the spec with the provider's own path of the endpoint, and a model.

    That is the spec's own model, or the one that the provider's profile names for such requests. Raises UsageError if
    there is none: a model is never guessed.
    """
    kind, path = spec.target
    own = path_among(provider.endpoints, path)
    if own != path and not (spec.endpoint or "").startswith("/"):  # a whole path stays as it is
        spec = replace(spec, endpoint=own)
    if spec.model:
        return spec
    default, key = "", ""
    if kind is BatchType.EMBEDDING:
        default, key = provider.default_embedding_model, "embedding_model"
    elif kind is BatchType.MODERATION:
        default = "omni-moderation-latest" if is_openai(str(provider.base_url)) else ""
    elif kind is not BatchType.IMAGE_GENERATION:
        default, key = provider.default_chat_model, "chat_model"
    if not default:
        always = f", or set {key} in [providers.{provider.name}]" if key else ""
        raise UsageError(f"which model? {provider} has no default for {path}", hint=f"name it with -m{always}")
    return replace(spec, model=default)
