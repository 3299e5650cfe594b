"""Which request to make from each row of a table: its kind, endpoint and body."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from openai_batch.errors import UsageError
from openai_batch.requests.build import chat_body, embedding_body, rerank_body, score_body
from openai_batch.requests.check import MAX_ID_CHARS
from openai_batch.requests.endpoints import ENDPOINTS, BatchType, kind_of_endpoint

if TYPE_CHECKING:
    from collections.abc import Mapping

_CHAT_KINDS = (BatchType.CHAT_COMPLETION, BatchType.RESPONSES)
_KINDS = (
    *_CHAT_KINDS,
    BatchType.EMBEDDING,
    BatchType.COMPLETION,
    BatchType.MODERATION,
    BatchType.IMAGE_GENERATION,
    BatchType.SCORE,
    BatchType.RERANK,
)
_PREFIX = "line"  # the start of ids if nobody names another one
_PREFIX_CHARS = 50  # the most of it: the number of a row follows
_SHORT_NAMES = {"chat": "/v1/chat/completions", "images": "/v1/images/generations"}


@dataclass(frozen=True, slots=True)
class RequestSpec:
    """The request to make from each row of a table.

    `prompt`, `system`, `score` and `rerank` are templates with the columns, or plain texts.
    """

    model: str
    """The model of every request."""
    endpoint: str | None = None
    """The path or a short name of the endpoint; None: the other fields decide, and chat is the default."""
    prompt: str | None = None
    """The prompt; None means the column `prompt`, `text` or `messages` (of a chat), or the only column."""
    system: str | None = None
    """The system message, for chat and responses."""
    embeddings: bool = False
    """Whether to make embedding requests."""
    score: str | None = None
    """The text that each prompt is scored against."""
    rerank: str | None = None
    """The query that the documents of each row are ranked by."""
    prefix: str = _PREFIX
    """Ids are this prefix, `-` and the line of a prompt or the number of a row, unless there is an `id_column`."""
    params: Mapping[str, Any] = field(default_factory=dict)
    """Parameters for every body; they replace parameters of the same name."""
    schema: Mapping[str, Any] | None = None
    """The JSON schema of the answers, as `load_schema` returns it."""
    images: tuple[str, ...] = ()
    """The columns with the images of each row."""
    inline_images: bool = False
    """Whether to download images from web addresses and send them in the request."""
    id_column: str | None = None
    """The column with the ids of the requests, or None."""

    def __post_init__(self) -> None:
        """Raise UsageError if the fields do not fit together."""
        kind, path = self.target
        if sum([self.embeddings, self.score is not None, self.rerank is not None]) > 1:
            raise UsageError("--embeddings, --score and --rerank cannot be used together", hint="choose one")
        if kind not in _KINDS:
            raise UsageError(f"requests for {path} cannot be made from rows", hint="-h lists the endpoints")
        rules: tuple[tuple[str, object, tuple[BatchType, ...]], ...] = (
            ("--embeddings", self.embeddings or None, (BatchType.EMBEDDING,)),
            ("--score", self.score, (BatchType.SCORE,)),
            ("--rerank", self.rerank, (BatchType.RERANK,)),
            ("--system", self.system, _CHAT_KINDS),
            ("--schema", self.schema, _CHAT_KINDS),
            ("--image", self.images or None, _CHAT_KINDS),
        )
        for flag, given, kinds in rules:
            if given is not None and kind not in kinds:
                names = " and ".join(item.value.partition("_")[0] for item in kinds)
                raise UsageError(f"{flag} is only for {names} requests", hint="leave it out")
        self._check_effects()
        for flag, needed, given in (
            ("--score", BatchType.SCORE, self.score),
            ("--rerank", BatchType.RERANK, self.rerank),
        ):
            if kind is needed and given is None:
                raise UsageError(f"requests for {path} need {flag}", hint=f'{flag} "{{{{ column }}}}", or a text')

    def _check_effects(self) -> None:
        """Raise UsageError for a field that would have no effect beside another one."""
        if self.inline_images and not self.images:
            raise UsageError("--inline-images is for the columns of --image", hint="name them: --image COLUMN")
        if self.id_column is not None and self.prefix != _PREFIX:
            raise UsageError("--prefix and --id cannot be used together", hint="choose one")
        if len(self.prefix) > _PREFIX_CHARS or not self.prefix.isprintable():
            raise UsageError(
                "--prefix is too long or has control characters",
                hint=f"use up to {_PREFIX_CHARS} printable characters: an id has at most {MAX_ID_CHARS}",
            )
        if "model" in self.params:
            raise UsageError("a parameter cannot set the model", hint="name it with --model")
        if self.params.get("stream"):
            raise UsageError("a batch request cannot stream its answer", hint="leave stream out")
        if self.schema is not None and self._has_format:
            raise UsageError("--schema sets the format of the answers, and a --param too", hint="leave out one of them")

    @property
    def target(self) -> tuple[BatchType, str]:
        """The kind of the requests, and the path of their endpoint. Raises UsageError for an unknown endpoint."""
        if self.endpoint is not None:
            # Parasail accepts rerank requests at the endpoint for scores.
            params = {"documents": ()} if self.rerank is not None else None
            return kind_of_endpoint(_SHORT_NAMES.get(self.endpoint, self.endpoint), params)
        kind = BatchType.CHAT_COMPLETION
        if self.embeddings:
            kind = BatchType.EMBEDDING
        elif self.score is not None:
            kind = BatchType.SCORE
        elif self.rerank is not None:
            kind = BatchType.RERANK
        return kind, ENDPOINTS[kind]

    def body(self, prompt: str, texts: Mapping[str, str]) -> dict[str, Any]:
        """Return the body of a request with this prompt; `texts` has the texts for system, score and rerank."""
        kind, system = self.target[0], texts.get("system")
        params = {**self.params, **self._schema_params()}
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

    @property
    def _has_format(self) -> bool:
        """Whether a parameter says which format the answers have."""
        if self.target[0] is not BatchType.RESPONSES:
            return "response_format" in self.params
        text = self.params.get("text", {})
        return not isinstance(text, dict) or "format" in text

    def _schema_params(self) -> dict[str, Any]:
        """Return the parameter with the schema, or no parameter if there is none."""
        if self.schema is None:
            return {}
        if self.target[0] is BatchType.RESPONSES:
            return {"text": {**self.params.get("text", {}), "format": {"type": "json_schema", **self.schema}}}
        return {"response_format": {"type": "json_schema", "json_schema": self.schema}}
