"""The options that `map`, `start` and `embed` share."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, TypedDict, TypeVar, cast

from openai_batch.errors import UsageError
from openai_batch.jobs.arguments import check_arguments

if TYPE_CHECKING:
    import os
    from collections.abc import Mapping, Sequence
    from decimal import Decimal

    from openai_batch.providers.provider import Provider


_Options = TypeVar("_Options", bound="RowOptions")


class RowOptions(TypedDict, total=False):
    """How the rows become requests, and where these run."""

    model: str | None
    """The model; without it, the one that the provider's profile names."""
    schema: Any
    """The schema of each answer: a pydantic model, a dataclass, a TypedDict or a JSON schema."""
    system: str | None
    """The system message: a template, or a text that is the same for all rows."""
    params: Mapping[str, Any] | None
    """Parameters for each request, such as {"temperature": 0, "max_tokens": 100}."""
    endpoint: str | None
    """The path of the endpoint, or its short name, such as "responses"; without it, chat."""
    images: str | Sequence[str]
    """The column with the images of each row, or a list of columns: paths, URLs, bytes or PIL images."""
    id: str | None
    """The column with the ids of the requests; without it they are line-1, line-2, …"""
    sample: int | None
    """The number of rows to use, from the first one; without it, all. A later run does not pay for them again."""
    skip_empty: bool
    """Whether rows with an empty prompt are not sent; their new cells are empty. Without it they are an error."""
    provider: str | Provider | None
    """Where the requests run; without it, the default provider, else the one that serves the model."""
    name: str | None
    """A name for the run, for `attach`. A later run takes it over; the same rows again keep their first name."""
    metadata: Mapping[str, str] | None
    """Pairs that are added to each batch."""
    window: str | None
    """The completion window, such as "24h"; without it, the provider's own."""
    output_expires_after: str
    """How long the provider keeps the results, from "1h" to "30d"; without it, what the profile says."""
    again: bool
    """Whether to send, and pay for, every row again."""
    check_remote: bool
    """Whether to look each time for batches that another machine has started from the same rows."""
    max_cost: float | Decimal | None
    """The most that the run may cost, in US dollars, its retries included; without it, that is not limited."""
    state: str | os.PathLike[str] | None
    """The folder of the jobs; without it, the user's own."""


class MapOptions(RowOptions, total=False):
    """The options for waiting, in addition to those of RowOptions."""

    retries: int
    """How often failed requests, also of an earlier run, are sent again if that can help; without it, never."""
    timeout: float | None
    """Seconds to wait at most, for a retry again. Then WaitTimeoutError is raised, and the run continues. Without it,
    until the end."""
    progress: bool
    """Whether to show progress on a terminal or in a notebook; without it, True. `logging` gets it in any case."""
    prefix: str
    """A prefix for the names of the new columns; without it, none."""


def checked_options(options: _Options, known: type, prompt: object) -> _Options:
    """Return the options that are given: None is the same as no option.

    Raises UsageError for an option that `known` does not have, and for a value of a wrong type.
    """
    names = known.__annotations__ if known is RowOptions else RowOptions.__annotations__ | known.__annotations__
    for name in options:
        if name not in names:
            from difflib import get_close_matches

            near = get_close_matches(name, names, 1)
            told = f"there is {near[0]}" if near else f"the options are {', '.join(sorted(names))}"
            raise UsageError(
                f"there is no option {name!r}; nothing was sent",
                hint=f"{told}; parameters of the requests go into params={{{name!r}: …}}",
            )
    check_arguments({"prompt": prompt, **options})
    images: Any = options.get("images") or ()
    check_arguments({"images": next((each for each in images if not isinstance(each, str)), None)})
    return cast("_Options", {name: value for name, value in options.items() if value is not None})
