"""What to make of each row: the kind of request, its endpoint, its body."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from ._requests import ENDPOINTS, BatchType, chat_body, embedding_body, kind_of_endpoint, rerank_body, score_body
from .errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Mapping

_TALK = (BatchType.CHAT_COMPLETION, BatchType.RESPONSES)
_KINDS = (
    *_TALK,
    BatchType.EMBEDDING,
    BatchType.COMPLETION,
    BatchType.MODERATION,
    BatchType.IMAGE_GENERATION,
    BatchType.SCORE,
    BatchType.RERANK,
)
_SHORT = {"chat": "/v1/chat/completions", "images": "/v1/images/generations"}


@dataclass(frozen=True, slots=True)
class Recipe:
    """What to make of each row. Without `endpoint` the others tell it, and it is chat where they do not.

    `prompt`, `system`, `score` and `rerank` are templates over the columns, or plain texts. `score` is the text that
    each prompt is scored against, `rerank` the query; `params` go into every body; `schema` is what
    `load_schema` returns; `images` and `id_column` name columns. Ids are else `prefix` and a number.
    """

    model: str
    endpoint: str | None = None
    prompt: str | None = None
    system: str | None = None
    embeddings: bool = False
    score: str | None = None
    rerank: str | None = None
    prefix: str = "line"
    params: Mapping[str, Any] = field(default_factory=dict)
    schema: Mapping[str, Any] | None = None
    images: tuple[str, ...] = ()
    inline_images: bool = False
    id_column: str | None = None

    def __post_init__(self) -> None:
        """Raise UsageError where the choices exclude each other."""
        kind, path = self.target
        if sum([self.embeddings, self.score is not None, self.rerank is not None]) > 1:
            raise UsageError("--embeddings, --score and --rerank exclude each other", hint="choose one")
        if kind not in _KINDS:
            raise UsageError(f"requests for {path} are not made of rows", hint="-h lists the endpoints")
        rules: tuple[tuple[str, object, tuple[BatchType, ...]], ...] = (
            ("--embeddings", self.embeddings or None, (BatchType.EMBEDDING,)),
            ("--score", self.score, (BatchType.SCORE,)),
            ("--rerank", self.rerank, (BatchType.RERANK,)),
            ("--system", self.system, _TALK),
            ("--schema", self.schema, _TALK),
            ("--image", self.images or None, _TALK),
        )
        for flag, given, kinds in rules:
            if given is not None and kind not in kinds:
                names = " and ".join(item.value.partition("_")[0] for item in kinds)
                raise UsageError(f"{flag} goes with {names} requests only", hint="leave it out")
        for flag, needed, given in (
            ("--score", BatchType.SCORE, self.score),
            ("--rerank", BatchType.RERANK, self.rerank),
        ):
            if kind is needed and given is None:
                raise UsageError(f"requests for {path} need {flag}", hint=f'{flag} "{{{{ column }}}}", or a text')

    @property
    def target(self) -> tuple[BatchType, str]:
        """The kind of the requests, and the path that they are sent to."""
        if self.endpoint is not None:
            # Reranks may be sent to the endpoint of scores: Parasail takes both there.
            hint = {"documents": ()} if self.rerank is not None else None
            return kind_of_endpoint(_SHORT.get(self.endpoint, self.endpoint), hint)
        kind = BatchType.CHAT_COMPLETION
        if self.embeddings:
            kind = BatchType.EMBEDDING
        elif self.score is not None:
            kind = BatchType.SCORE
        elif self.rerank is not None:
            kind = BatchType.RERANK
        return kind, ENDPOINTS[kind]

    def body(self, prompt: str, texts: Mapping[str, str]) -> dict[str, Any]:
        """Return the body of a request with this prompt; `texts` holds those of system, score and rerank."""
        kind, system = self.target[0], texts.get("system")
        params = {**self.params, **self._form()}
        if kind is BatchType.CHAT_COMPLETION:
            return chat_body(prompt, self.model, system, params)
        if kind is BatchType.RESPONSES:
            content: Any = [{"role": "user", "content": prompt}] if self.images else prompt
            instructions = {"instructions": system} if system is not None else {}
            return {"model": self.model, **instructions, "input": content, **params}
        if kind is BatchType.SCORE:
            return score_body(texts["score"], prompt, self.model, params)
        if kind is BatchType.RERANK:
            return {**rerank_body(texts["rerank"], (), self.model), "documents": prompt, **params}
        if kind in (BatchType.EMBEDDING, BatchType.MODERATION):
            return embedding_body(prompt, self.model, params)
        return {"model": self.model, "prompt": prompt, **params}

    def _form(self) -> dict[str, Any]:
        """Return the parameter that carries the schema."""
        if self.schema is None:
            return {}
        if self.target[0] is BatchType.RESPONSES:
            return {"text": {"format": {"type": "json_schema", **self.schema}}}
        return {"response_format": {"type": "json_schema", "json_schema": self.schema}}
