"""Build, submit, follow and download one batch from Python.

with Batch() as batch:
    batch.add_to_batch(model="gpt-4o-mini", messages=[{"role": "user", "content": "Hello"}])
    result, output_path, error_path = batch.submit_wait_download()
"""

from __future__ import annotations

import contextlib
import io
import os
import time
import weakref
from datetime import datetime
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any, Self

from openai_batch.errors import BatchError, InputError, UncertainError, UnknownProviderError, UsageError
from openai_batch.providers.batch_info import FINISHED as FINISHED_STATES
from openai_batch.providers.lookup import Provider, all_providers, askable_providers, get_provider_by_model
from openai_batch.requests.build import Request, build_request, request_line
from openai_batch.requests.endpoints import ENDPOINTS, NOUNS, BatchType, kind_of_endpoint

from .input_file import FileSubmission, HandleSubmission, Submission
from .warn import warn

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from types import TracebackType

    from openai import NotGiven, Timeout
    from openai.types.batch import Batch as OpenAIBatch

    from openai_batch.providers.api import BatchApi
    from openai_batch.providers.batch_info import BatchInfo
    from openai_batch.providers.create_once import Attempt
    from openai_batch.requests.report import Report

__all__ = ["FINISHED_STATES", "Batch", "BatchType", "all_providers", "get_provider_by_model"]

NOT_GIVEN: Any = ...
"""Stands for "the client's own time-out", since None means "no time-out"."""

DRY_RUN_ID = "batch-dry-run"
"""The id that a dry run gives."""

_ASK_TIMEOUT = 20.0

InputFile = str | os.PathLike[str] | bytes | IO[str] | IO[bytes]
OutputFile = str | os.PathLike[str] | IO[str] | IO[bytes]


class Batch:
    """One batch: the requests in it, and what became of them.

    - `submission_input_file`: a path that the requests are written to (a new name in the current folder where
      none is given), an open file for the same, or a ready batch input: a path, bytes, or an open file.
    - `output_file`, `error_file`: where `download` puts the results; by default they are named for the batch.
    - `custom_id_prefix`: the requests are called `PREFIX-1`, `PREFIX-2`, …
    - `batch_id`: a batch that exists already, instead of new requests.
    - `provider`: where to send it; without one the first request's model decides, or for a `batch_id` the
      providers are asked who has it.

    What the caller opened is never closed here, and no existing file is overwritten: another content under
    the same name is moved aside to `NAME.1`, with a warning.

    Raises UsageError (a ValueError) if both an input file and a batch id are given.
    """

    def __init__(
        self,
        submission_input_file: InputFile | None = None,
        output_file: OutputFile | None = None,
        error_file: OutputFile | None = None,
        custom_id_prefix: str = "line",
        batch_id: str | None = None,
        provider: Provider | None = None,
    ) -> None:
        if submission_input_file is not None and batch_id is not None:
            raise UsageError(
                "Cannot specify both submission_input_file and batch_id because adding to an existing batch is "
                "not supported"
            )
        self.submission_input_file = submission_input_file
        self.output_file = output_file
        self.error_file = error_file
        self.custom_id_prefix = custom_id_prefix
        self.batch_id = batch_id
        self.provider = provider
        self.n_bytes = 0
        self.n_requests = 0
        self.model: str | None = None
        self.batch_type: BatchType | None = None
        self._endpoint: str | None = None
        self._submission: Submission | None = None
        self._api: BatchApi | None = None
        self._attempt: Attempt | None = None
        self._sent = False

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, exc_type: type[BaseException] | None, exc: BaseException | None, traceback: TracebackType | None
    ) -> None:
        if self._submission is not None:
            self._submission.close()

    def add_to_batch(self, *, endpoint: Any = None, **kwargs: Any) -> None:
        """Add one request, written as for the endpoint's method of the openai client (`model=…, messages=…`).

        The keys tell the endpoint: `messages` a chat completion, `input` an embedding (a response or a
        moderation, where other keys or the model say so), `documents` a rerank, `text_1` a score, `file` a
        transcription, `prompt` with `image` and `size` an image edit. `endpoint` ("/v1/responses", or just
        "responses") says it outright; it is a str.

        Raises InputError or UsageError (ValueErrors) for a request that this batch cannot take; the batch is
        then as it was before.
        """
        if self.batch_id is not None or self._attempt is not None:
            raise UsageError("Adding to an existing batch is not supported", hint="make a new Batch()")
        request = build_request(kwargs, endpoint)
        provider = self.provider or get_provider_by_model(request.model)
        self._refuse_mixture(request, provider)
        line = request_line(f"{self.custom_id_prefix}-{self.n_requests + 1}", request.url, request.body)
        self._refuse_excess(line, provider)
        self._input().append(line)
        self.provider = provider
        self.model = self.model or request.model
        self.batch_type = request.kind
        self._endpoint = request.url
        self.n_bytes += len(line)
        self.n_requests += 1

    def submit(self, metadata: Mapping[str, str] | None = None, dry_run: bool = False) -> str:
        """Upload the requests, start the batch, and return its id.

        A ready input is checked first. Called again after that it returns the same id: nothing is ever started
        twice, and after an UncertainError the next call looks for the batch instead of sending it again. A dry
        run checks, and sends nothing.

        Raises InputError (a ValueError) with every problem of a ready input, AuthError, ApiError, or
        UncertainError if no answer tells whether the batch was created.
        """
        if self.batch_id is not None and self.batch_id != DRY_RUN_ID:
            return self.batch_id
        if self._attempt is None:
            submission, ready = self._input_to_send()
            report = self._check(submission) if ready else None
            provider, endpoint = self._destination()
            if dry_run:
                self._count(report)
                self.batch_id = DRY_RUN_ID
                return DRY_RUN_ID
            self._upload(submission, provider, endpoint, metadata)
            self._count(report)
        self.batch_id = self._create().id
        if self._submission is not None:
            self._submission.close()
        return self.batch_id

    def status(
        self,
        extra_headers: Mapping[str, str] | None = None,
        extra_query: Mapping[str, object] | None = None,
        extra_body: object | None = None,
        timeout: float | Timeout | NotGiven | None = NOT_GIVEN,
        dry_run: bool = False,
    ) -> OpenAIBatch:
        """Ask for the batch, and return the openai client's object, its status in the standard words.

        The `extra_…` arguments and `timeout` go to the client. Raises UsageError (a ValueError) if nothing has
        been submitted, NotFoundError, AuthError, or ApiError.
        """
        if dry_run:
            from openai_batch.providers.api import dry_run_batch

            stand_in: OpenAIBatch = dry_run_batch(self._known_id())
            return stand_in
        from .wait import sdk_batch

        return sdk_batch(self._look(_options(extra_headers, extra_query, extra_body, timeout)))

    def download(
        self,
        extra_headers: Mapping[str, str] | None = None,
        extra_query: Mapping[str, object] | None = None,
        extra_body: object | None = None,
        timeout: float | Timeout | NotGiven | None = NOT_GIVEN,
        dry_run: bool = False,
    ) -> tuple[Any, Any]:
        """Download what the batch has left, and return the paths of the output and the error file, or None.

        Every end is collected: an expired or cancelled batch keeps what it finished. Files appear whole or not
        at all. A batch that still runs, or that failed, is told about in a warning. A dry run touches nothing.
        """
        if dry_run:
            self._known_id()
            return self.output_file, self.error_file
        return self._collect(self._look(_options(extra_headers, extra_query, extra_body, timeout)))

    def submit_wait_download(
        self,
        interval: float = 60,
        status_callback: Callable[[OpenAIBatch], Any] | None = None,
        extra_headers: Mapping[str, str] | None = None,
        extra_query: Mapping[str, object] | None = None,
        extra_body: object | None = None,
        timeout: float | Timeout | NotGiven | None = NOT_GIVEN,
        metadata: Mapping[str, str] | None = None,
        dry_run: bool = False,
    ) -> tuple[OpenAIBatch, Any, Any]:
        """Submit, wait, download; return the batch and the paths of its output and error file, or None.

        `status_callback` hears every status, and the status is printed. `interval` is the longest time between
        two looks, in seconds. Lost connections and busy servers are waited out.
        """
        from .wait import follow

        self.submit(metadata=metadata, dry_run=dry_run)
        options = _options(extra_headers, extra_query, extra_body, timeout) | {"dry_run": dry_run}

        def tell(batch: OpenAIBatch) -> None:
            if status_callback is not None:
                status_callback(batch)
            print(batch.status)  # noqa: T201 - what this method has always done

        batch = follow(lambda: self.status(**options), interval=interval, seen=tell, provider=self.provider)
        return batch, *self.download(**options)

    def auto_detect_provider(self) -> None:
        """Set `provider` to the one that has this batch: all whose key is known are asked, in their order.

        Raises UnknownProviderError (a ValueError) if none has it.
        """
        batch_id = self._known_id()
        answers = []
        for provider in askable_providers():
            try:
                if self._api_of(provider).get(batch_id, timeout=_ASK_TIMEOUT).id == batch_id:
                    self.provider = provider
                    return
            except BatchError as exc:
                answers.append(str(exc))
        raise UnknownProviderError(
            f"Could not auto-detect provider for batch ID {batch_id}. Please specify a provider.",
            hint="; ".join(answers) or "no provider's key is set, so none was asked",
        )

    def _refuse_mixture(self, request: Request, provider: Provider) -> None:
        """Raise if `request` does not go with the ones before."""
        if self.batch_type is not None and request.kind is not self.batch_type:
            raise InputError(f"Cannot add {NOUNS[request.kind]} to a {self.batch_type.value} batch")
        if self._endpoint is not None and request.url != self._endpoint:
            raise InputError(f"Cannot add a request for {request.url} to a batch for {self._endpoint}")
        if provider.requires_consistency and self.model is not None and request.model != self.model:
            raise InputError(
                f"Model mismatch. Provider {provider.name} requires model consistency. "
                f"First request determines model for batch and is {self.model} and subsequent request is "
                f"{request.model}",
                hint="make one Batch() for each model",
            )

    def _refuse_excess(self, line: bytes, provider: Provider) -> None:
        """Raise if the provider would not take one more line like this."""
        limits = provider.limits
        if limits.max_requests is not None and self.n_requests >= limits.max_requests:
            raise InputError(f"Exceeded max number of requests per batch ({limits.max_requests})")
        if limits.max_bytes is not None and self.n_bytes + len(line) > limits.max_bytes:
            raise InputError(f"Exceeded max batch input file size ({limits.max_bytes // 1024 // 1024} MB)")
        if limits.max_line_bytes is not None and len(line) > limits.max_line_bytes:
            raise InputError(
                f"The request has {len(line):,} bytes, and {provider} takes {limits.max_line_bytes:,} a line"
            )

    def _input(self) -> Submission:
        """Return where requests are written; the file itself is made at the first of them."""
        if self._submission is None:
            given = self.submission_input_file
            if isinstance(given, bytes):
                raise UsageError("bytes are a ready input: nothing can be added to them", hint="give a path")
            if given is None:
                name = f"batch_submission_{datetime.now().astimezone():%Y%m%d_%H%M%S}.jsonl"
                self._submission = FileSubmission(Path(name), fresh=True)
            elif isinstance(given, str | os.PathLike):
                self._submission = FileSubmission(Path(given))
            else:
                self._submission = HandleSubmission(given)
        return self._submission

    def _input_to_send(self) -> tuple[Submission, bool]:
        """Return the input, and whether it came ready made."""
        if self._submission is not None and self.n_requests:
            return self._submission, False
        given = self.submission_input_file
        if given is None:
            raise InputError("No requests have been added to the batch", hint="call add_to_batch() first")
        if isinstance(given, str | os.PathLike) and not Path(given).exists():
            raise InputError(f"No requests have been added to the batch, and there is no file {given}")
        return (HandleSubmission(io.BytesIO(given)) if isinstance(given, bytes) else self._input()), True

    def _check(self, submission: Submission) -> Report:
        """Check a ready input, and take model, provider and endpoint from it."""
        from .check_input import check_ready

        report, provider = check_ready(submission, self.provider)
        self.provider = provider
        self.model = report.model
        self._endpoint = report.endpoint
        with contextlib.suppress(UsageError):  # a ready input may use an endpoint that has no kind here
            self.batch_type = kind_of_endpoint(str(report.endpoint))[0]
        return report

    def _destination(self) -> tuple[Provider, str]:
        if self.provider is None:
            raise UsageError("No model in the input tells the provider", hint="give provider=…")
        return self.provider, self._endpoint or ENDPOINTS[self.batch_type or BatchType.CHAT_COMPLETION]

    def _count(self, report: Report | None) -> None:
        if report is not None:
            self.n_requests, self.n_bytes = report.requests, report.n_bytes

    def _upload(
        self, submission: Submission, provider: Provider, endpoint: str, metadata: Mapping[str, str] | None
    ) -> None:
        from openai_batch.files.slice import FileSlice
        from openai_batch.providers.create_once import Attempt, new_token

        from .check_input import BOM

        with submission.reading() as stream:
            skipped = len(BOM) if stream.read(len(BOM)) == BOM else 0
            file = self._api_of(provider).upload(FileSlice(stream, skipped), submission.filename)
        self._attempt = Attempt(file.id, endpoint, provider.completion_window, new_token(), time.time(), metadata)

    def _create(self) -> BatchInfo:
        """Create the batch of the uploaded file, or look for it where an earlier call could not tell."""
        from openai_batch.providers.create_once import create, reconcile

        attempt = self._attempt
        if attempt is None or self.provider is None:
            raise UsageError("No requests have been added to the batch")
        api = self._api_of(self.provider)
        again, self._sent = self._sent, True  # from here until an answer, also if Ctrl-C comes between
        try:
            return reconcile(api, attempt) if again else create(api, attempt)
        except UncertainError as exc:
            exc.hint = "call submit() of the same Batch again: it looks for the batch, and never sends it anew"
            raise
        except BatchError:
            self._attempt, self._sent = None, False  # certainly not created: the next call starts afresh
            raise

    def _known_id(self) -> str:
        if not self.batch_id:
            raise UsageError("Batch has not been submitted yet", hint="call submit() first")
        return self.batch_id

    def _look(self, options: Mapping[str, Any]) -> BatchInfo:
        batch_id = self._known_id()
        if self.provider is None:
            self.auto_detect_provider()
        if self.provider is None:
            raise UnknownProviderError(f"no provider is known for {batch_id}")
        return self._api_of(self.provider).get(batch_id, **options)

    def _api_of(self, provider: Provider) -> BatchApi:
        from openai_batch.providers.api import BatchApi

        if self._api is None or self._api.provider is not provider:
            self._api = BatchApi(provider)
            if provider.is_local:
                weakref.finalize(self, self._api.close)
            elif "_client" not in vars(provider):
                # The provider keeps the client that it makes here, and its connections end with it.
                weakref.finalize(provider, provider.get_client().close)
        return self._api

    def _collect(self, info: BatchInfo) -> tuple[Any, Any]:
        """Download what a batch has left, unless it still runs."""
        from .save import safe_name

        if not info.finished:
            warn(f"{info.id} is {info.status}: there is nothing to download yet")
            return None, None
        for fault in info.errors:
            warn(f"{info.id} {info.status}: {fault}")
        name = safe_name(info.id)
        output = self._save(info.output_file_id, self.output_file or f"{name}-output.jsonl")
        error = self._save(info.error_file_id, self.error_file or f"{name}-errors.jsonl")
        return output, error

    def _save(self, file_id: str | None, target: OutputFile) -> OutputFile | None:
        from .save import save

        if file_id is None or self._api is None:
            return None
        save(self._api, file_id, target)
        return target


def _options(extra_headers: Any, extra_query: Any, extra_body: Any, timeout: Any) -> dict[str, Any]:
    given = {"extra_headers": extra_headers, "extra_query": extra_query, "extra_body": extra_body}
    options = {name: value for name, value in given.items() if value is not None}
    return options if timeout is NOT_GIVEN else options | {"timeout": timeout}
