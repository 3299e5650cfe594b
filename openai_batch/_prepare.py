"""Turn prompts, one a line, into a batch input file, streaming from end to end."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, BinaryIO

from ._check import lines
from ._requests import chat_body, embedding_body, request_line, rerank_body, score_body
from .errors import InputError, UsageError

if TYPE_CHECKING:
    from collections.abc import Mapping


@dataclass(frozen=True, slots=True)
class Recipe:
    """What to make of each prompt. One of `embeddings`, `score` and `rerank`, or none of them for chat.

    `score` is the text that each prompt is scored against, `rerank` the query; `params` go into every body.
    """

    model: str
    system: str | None = None
    embeddings: bool = False
    score: str | None = None
    rerank: str | None = None
    prefix: str = "line"
    params: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        """Raise UsageError where the choices exclude each other."""
        kinds = [self.embeddings, self.score is not None, self.rerank is not None]
        if sum(kinds) > 1:
            raise UsageError("--embeddings, --score and --rerank exclude each other", hint="choose one")
        if self.system is not None and any(kinds):
            raise UsageError("--system goes with chat requests only", hint="leave it out")

    def body(self, prompt: str) -> tuple[str, dict[str, Any]]:
        """Return the endpoint and the body of one prompt's request."""
        if self.embeddings:
            return "/v1/embeddings", embedding_body(prompt, self.model, self.params)
        if self.score is not None:
            return "/v1/score", score_body(self.score, prompt, self.model, self.params)
        if self.rerank is not None:
            return "/v1/score", rerank_body(self.rerank, [prompt], self.model, self.params)
        return "/v1/chat/completions", chat_body(prompt, self.model, self.system, self.params)


def prepare(source: BinaryIO, name: str, recipe: Recipe, target: BinaryIO) -> int:
    """Write one request a prompt to `target` and return how many; blank lines are passed over.

    `name` is what messages call the source. Raises InputError if a line is not UTF-8 or there is no prompt.
    """
    count = 0
    for number, _, raw in lines(source):
        if isinstance(raw, int):
            raise InputError(f"{name}:{number}: the line has {raw:,} bytes, too long for a prompt")
        if number == 1:
            raw = raw.removeprefix(b"\xef\xbb\xbf")  # noqa: PLW2901 - the mark is no part of the prompt
        try:
            prompt = raw.removesuffix(b"\r").decode("utf-8")
        except UnicodeDecodeError as exc:
            message = f"{name}:{number}: not UTF-8 (byte {exc.start + 1})"
            raise InputError(message, hint="save the file as UTF-8") from None
        if not prompt.strip():
            continue
        count += 1
        url, body = recipe.body(prompt)
        target.write(request_line(f"{recipe.prefix}-{count}", url, body))
    if not count:
        raise InputError(f"{name}: there is no prompt", hint="write one prompt a line")
    return count
