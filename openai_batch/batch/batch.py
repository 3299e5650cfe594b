"""Make, submit, wait for and download one batch from Python.

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
from dataclasses import replace
from datetime import datetime
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any, Self

from openai_batch.errors import BatchError, InputError, UncertainError, UnknownProviderError, UsageError
from openai_batch.escapes import escape_newlines
from openai_batch.providers.batch_info import FINISHED as FINISHED_STATES
from openai_batch.providers.builtin import all_providers
from openai_batch.providers.keys import OPENAI_KEY, key_from_environment
from openai_batch.providers.lookup import (
    askable_providers,
    get_provider_by_model,
    get_provider_by_name,
    is_known,
    pick_provider,
)
from openai_batch.providers.provider import Provider  # noqa: TC001 - `typing.get_type_hints` reads it
from openai_batch.requests.build import Request, build_request, request_line
from openai_batch.requests.endpoints import ENDPOINTS, NOUNS, BatchType, kind_of_endpoint, path_among

from .arguments import NOT_GIVEN, check_interval, check_not_folders, check_provider, checked_metadata, client_options
from .input_file import InputFile, OpenInputFile, PathInputFile
from .warn import warn, warn_of_unsent_key

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping
    from types import TracebackType

    from openai import NotGiven, Timeout
    from openai.types.batch import Batch as OpenAIBatch

    from openai_batch.providers.attempt import Attempt
    from openai_batch.providers.batch_info import BatchInfo
    from openai_batch.providers.openai_api import OpenAIBatchApi
    from openai_batch.requests.check_report import CheckReport
    from openai_batch.results.result import Result

    from .results import SentInput

__all__ = ["FINISHED_STATES", "Batch", "BatchType", "all_providers", "get_provider_by_model"]

DRY_RUN_ID = "batch-dry-run"
"""The batch id of a dry run."""

_ASK_TIMEOUT = 20.0
"""Seconds that each provider has to say whether it has a batch."""

InputSource = str | os.PathLike[str] | bytes | IO[str] | IO[bytes]
OutputTarget = str | os.PathLike[str] | IO[str] | IO[bytes]
SavedFile = str | Any
"""The path of a file of results, a str unless another path or an open file was given; None if there is none."""


class Batch:
    """One batch: its requests and its results. This is the class of 0.3.4; new programs use `openai_batch.Jobs`.

    It keeps no record. If a program runs again, it sends and pays for a new batch, and after a kill only the
    batch id finds the old one. `Jobs` keeps a record: the same input is the same job, and is paid once.

    - `submission_input_file`: a path or an open file to write the requests to, by default a new file in the current
      folder; or a ready batch input: a path, bytes or an open file with the requests.
    - `output_file`, `error_file`: where `download` writes the results; by default files named after the batch id.
    - `custom_id_prefix`: the custom ids of the requests are `PREFIX-1`, `PREFIX-2`, …
    - `batch_id`: a batch that exists already, instead of new requests.
    - `provider`: the provider of the batch, or its name. By default the configured one, or the one that serves the
      model of the first request; for a `batch_id` the providers are asked which one has it.

    In its methods, `extra_headers`, `extra_query`, `extra_body` and `timeout` (in seconds) go to the client, `metadata`
    is added to the batch (at most 16 pairs of texts), and with `dry_run` nothing is sent.

    An open file of the caller is never closed here. An existing file with other content is renamed to `NAME.1`, with a
    warning.

    After the first request, `submission_input_file` is the path of a new file; its `name` is the file's name.

    Raises UsageError (a ValueError) if both an input file and a batch id are given, UnknownProviderError (a ValueError)
    if there is no provider of that name.
    """

    def __init__(
        self,
        submission_input_file: InputSource | None = None,
        output_file: OutputTarget | None = None,
        error_file: OutputTarget | None = None,
        custom_id_prefix: str = "line",
        batch_id: str | None = None,
        provider: Provider | str | None = None,
    ) -> None:
        if submission_input_file is not None and batch_id is not None:
            raise UsageError(
                "Cannot specify both submission_input_file and batch_id because adding to an existing batch is "
                "not supported",
                hint="give one of them",
            )
        check_provider(provider)
        self.submission_input_file = submission_input_file
        self.output_file = output_file
        self.error_file = error_file
        self.custom_id_prefix = custom_id_prefix
        self.batch_id = batch_id
        self.provider = get_provider_by_name(provider) if isinstance(provider, str) else provider
        self.n_bytes = 0  # bytes of the input so far
        self.n_requests = 0  # requests in the input so far
        self.model: str | None = None  # of the first request
        self.batch_type: BatchType | None = None  # of the requests
        self._endpoint: str | None = None
        self._input_file: InputFile | None = None
        self._api: OpenAIBatchApi | None = None
        self._attempt: Attempt | None = None  # None until the input is uploaded
        self._sent_input: SentInput | None = None  # what was uploaded
        self._sent = False  # whether the attempt's create request may have been sent

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, exc_type: type[BaseException] | None, exc: BaseException | None, traceback: TracebackType | None
    ) -> None:
        if self._input_file is not None:
            self._input_file.close()

    def add_to_batch(self, *, endpoint: Any = None, **kwargs: Any) -> None:
        """Add one request, with the arguments of the endpoint's method of the openai client (`model=…, messages=…`).

            batch.add_to_batch(model="gpt-4o-mini", messages=[{"role": "user", "content": "Hello"}])

        The arguments decide the endpoint: `messages` a chat completion, `input` an embedding (or a response or a
        moderation, if other arguments or the model say so), `documents` a rerank, `text_1` a score, `file` a
        transcription, `prompt` with `image` and `size` an image edit. `endpoint`, a str such as "/v1/responses" or
        "responses", names it instead. A type (a pydantic model, a dataclass, a TypedDict) as `response_format`, or as
        `text_format` of a response, becomes the JSON schema of the answers.

        Raises InputError or UsageError (both ValueErrors) if this batch cannot take the request; then the batch stays
        as it was.
        """
        if self.batch_id is not None or self._attempt is not None:
            raise UsageError("Adding to an existing batch is not supported", hint="make a new Batch()")
        request = build_request(kwargs, endpoint)
        provider = self.provider or pick_provider(None, request.model)
        if not (endpoint or "").startswith("/"):  # a whole path stays as it is
            request = replace(request, url=path_among(provider.endpoints, request.url))
        self._check_consistency(request, provider)
        line = request_line(self._get_custom_id(), request.url, request.body)
        self._check_limits(line, provider)
        input_file = self._make_input_file()
        input_file.append(line)
        if self.submission_input_file is None:
            self.submission_input_file = Path(input_file.label)
        self.provider = provider
        self.model = self.model or request.model
        self.batch_type = request.kind
        self._endpoint = request.url
        self.n_bytes += len(line)
        self.n_requests += 1

    def _get_custom_id(self) -> str:
        """Return the custom id of the next request. A subclass may have its own, as with 0.3.4."""
        return f"{self.custom_id_prefix}-{self.n_requests + 1}"

    def submit(self, metadata: Mapping[str, str] | None = None, dry_run: bool = False) -> str:
        """Upload the requests, create the batch, and return its id.

            batch_id = batch.submit()

        A ready input is checked first. Another call returns the same id. After an UncertainError, another call looks
        for the batch and does not create it again. A dry run checks the input, and sends nothing.

        Raises InputError (a ValueError) with every problem of a ready input, AuthError if there is no key or it is
        refused, ApiError if the provider does not create the batch, UncertainError if it is unknown whether it did.
        Raises UsageError (a ValueError) if the output or error file is a folder.
        """
        if self.batch_id is not None and self.batch_id != DRY_RUN_ID:
            return self.batch_id
        if self._attempt is None:
            check_not_folders(self.output_file, self.error_file)
            input_file, ready = self._input_to_send()
            report = self._check(input_file) if ready else None
            provider, endpoint = self._destination()
            if dry_run:
                self._count(report)
                self.batch_id = DRY_RUN_ID
                return DRY_RUN_ID
            self._upload(input_file, provider, endpoint, metadata)
            self._count(report)
        if self._input_file is not None:
            self._input_file.close()  # it may warn, and a warning that is an error must not come after the payment
        self.batch_id = self._create().id
        return self.batch_id

    def status(
        self,
        extra_headers: Mapping[str, str] | None = None,
        extra_query: Mapping[str, object] | None = None,
        extra_body: object | None = None,
        timeout: float | Timeout | NotGiven | None = NOT_GIVEN,
        dry_run: bool = False,
    ) -> OpenAIBatch:
        """Ask for the batch, and return it as the openai client's object. Its status is one of the standard words.

            if batch.status().status == "completed": ...

        Its metadata is that of `submit`, without the token that the provider also has.
        The `extra_…` arguments and `timeout` go to the client. Raises UsageError (a ValueError) if nothing was
        submitted, NotFoundError if the provider has no such batch, AuthError, or ApiError.
        """
        if dry_run:
            from openai_batch.providers.client import dry_run_batch

            batch: OpenAIBatch = dry_run_batch(self._known_id())
            return batch
        from .follow import sdk_batch

        return sdk_batch(self._fetch(client_options(extra_headers, extra_query, extra_body, timeout)))

    def cancel(self) -> OpenAIBatch:
        """Ask the provider to cancel the batch, and return it. Requests that were answered are kept and billed.

            batch.cancel()

        Raises UsageError (a ValueError) if nothing was submitted, NotFoundError, AuthError, or ApiError.
        """
        from .follow import sdk_batch

        batch_id = self._known_id()
        return sdk_batch(self._connected().cancel(batch_id))

    def results(self) -> Iterator[Result]:
        """Yield the result of each request in the order of the input, also of those that failed or are missing.

            answers = {result.custom_id: result.text for result in batch.results()}

        Each call downloads them again. If the batch was created elsewhere and the provider no longer has its input, the
        results are in the provider's order. Raises BatchError if the batch still runs, DownloadError if a file does not
        arrive completely, and what `status` raises.
        """
        from .results import read_results

        info = self._fetch({})
        yield from read_results(self._connected(), info, self._sent_input)

    def download(
        self,
        extra_headers: Mapping[str, str] | None = None,
        extra_query: Mapping[str, object] | None = None,
        extra_body: object | None = None,
        timeout: float | Timeout | NotGiven | None = NOT_GIVEN,
        dry_run: bool = False,
    ) -> tuple[SavedFile, SavedFile]:
        """Download the results, and return the output file and the error file; None for a missing one.

            output_path, error_path = batch.download()

        An expired or cancelled batch has the results that it finished. A file appears only when it is complete. If the
        batch still runs or has failed, a warning says so. A dry run makes empty files at the paths that were given,
        where there are none. Raises what `status` raises, and DownloadError if a file does not arrive completely.
        """
        if dry_run:
            self._known_id()
            for target in (self.output_file, self.error_file):
                if isinstance(target, str | os.PathLike):
                    Path(target).parent.mkdir(parents=True, exist_ok=True)
                    Path(target).touch()
            return self.output_file, self.error_file
        return self._collect(self._fetch(client_options(extra_headers, extra_query, extra_body, timeout)))

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
    ) -> tuple[OpenAIBatch, SavedFile, SavedFile]:
        """Submit, wait and download; return the batch, and the output and error file as `download` does.

            result, output_path, error_path = batch.submit_wait_download(interval=10)

        `interval` is the longest time between two polls, in seconds. After each poll `status_callback` is called with
        the batch, and the status is printed. Temporary errors, such as a lost connection, give a warning. Raises
        what `submit`, `status` and `download` raise.
        """
        from .follow import follow

        check_interval(interval)
        options = client_options(extra_headers, extra_query, extra_body, timeout) | {"dry_run": dry_run}
        self.submit(metadata=metadata, dry_run=dry_run)

        def on_status(batch: OpenAIBatch) -> None:
            if status_callback is not None:
                status_callback(batch)
            print(escape_newlines(batch.status))  # noqa: T201 - what this method has always done

        batch = follow(lambda: self.status(**options), interval=interval, on_status=on_status, provider=self.provider)
        return batch, *self.download(**options)

    def auto_detect_provider(self) -> None:
        """Set `provider` to the one that has this batch. Every provider that has a key or needs none is asked.

            Batch(batch_id="batch_abc123").auto_detect_provider()

        Raises UnknownProviderError (a ValueError) if none has it, UsageError if nothing was submitted.
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

    def _check_consistency(self, request: Request, provider: Provider) -> None:
        """Raise InputError if the endpoint or the model of `request` does not match the requests before it."""
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

    def _check_limits(self, line: bytes, provider: Provider) -> None:
        """Raise InputError if the batch with one more line would be over the provider's limits."""
        limits, length = provider.limits, len(line) - 1  # without the newline
        if limits.max_requests is not None and self.n_requests >= limits.max_requests:
            raise InputError(f"Exceeded max number of requests per batch ({limits.max_requests})")
        if limits.max_bytes is not None and self.n_bytes + len(line) > limits.max_bytes:
            raise InputError(f"Exceeded max batch input file size ({limits.max_bytes // 1024 // 1024} MB)")
        if limits.max_line_bytes is not None and length > limits.max_line_bytes:
            raise InputError(f"The request has {length:,} bytes, and {provider} takes {limits.max_line_bytes:,} a line")

    def _make_input_file(self) -> InputFile:
        """Return the input file that `submission_input_file` describes. On disk it is made at the first request."""
        if self._input_file is None:
            given = self.submission_input_file
            if isinstance(given, bytes):
                raise UsageError("bytes are a complete input: nothing can be added to them", hint="give a path")
            if given is None:
                name = f"batch_submission_{datetime.now().astimezone():%Y%m%d_%H%M%S}.jsonl"
                self._input_file = PathInputFile(Path(name), fresh=True)
            elif isinstance(given, str | os.PathLike):
                self._input_file = PathInputFile(Path(given))
            else:
                self._input_file = OpenInputFile(given)
        return self._input_file

    def _input_to_send(self) -> tuple[InputFile, bool]:
        """Return the input file, and whether it is a ready input. Raises InputError if there are no requests."""
        if self._input_file is not None and self.n_requests:
            return self._input_file, False
        given = self.submission_input_file
        if given is None:
            raise InputError("No requests have been added to the batch", hint="call add_to_batch() first")
        if isinstance(given, str | os.PathLike) and not Path(given).exists():
            raise InputError(f"No requests have been added to the batch, and there is no file {given}")
        return (OpenInputFile(io.BytesIO(given)) if isinstance(given, bytes) else self._make_input_file()), True

    def _check(self, input_file: InputFile) -> CheckReport:
        """Check a ready input, and set model, provider and endpoint from it."""
        from .check_input import check_ready_input

        report, provider = check_ready_input(input_file, self.provider)
        self.provider = provider
        self.model = report.model
        self._endpoint = report.endpoint
        with contextlib.suppress(UsageError):  # a ready input may use an endpoint that BatchType does not have
            self.batch_type = kind_of_endpoint(str(report.endpoint))[0]
        return report

    def _destination(self) -> tuple[Provider, str]:
        if self.provider is None:
            raise UsageError("The provider is not known: the input names no model", hint="give provider=…")
        return self.provider, self._endpoint or ENDPOINTS[self.batch_type or BatchType.CHAT_COMPLETION]

    def _count(self, report: CheckReport | None) -> None:
        if report is not None:
            self.n_requests, self.n_bytes = report.requests, report.n_bytes

    def _upload(
        self, input_file: InputFile, provider: Provider, endpoint: str, metadata: Mapping[str, str] | None
    ) -> None:
        from openai_batch.providers.attempt import Attempt, new_token

        from .results import SentInput

        provider.check_metadata(checked_metadata(metadata))
        self._sent_input = SentInput(input_file)
        with self._sent_input.reading() as content:
            file = self._api_of(provider).upload(content, input_file.filename)
        window, keep = provider.completion_window, provider.output_seconds
        self._attempt = Attempt(file.id, endpoint, window, new_token(), time.time(), metadata, output_seconds=keep)

    def _create(self) -> BatchInfo:
        """Create the batch of the uploaded file, or look for it if an earlier call could not say whether it exists."""
        from openai_batch.providers.create_once import create, reconcile

        attempt = self._attempt
        if attempt is None or self.provider is None:
            raise UsageError("No requests have been added to the batch")
        api = self._api_of(self.provider)
        # Set before the request: after a Ctrl-C during it, the next call must look for the batch.
        again, self._sent = self._sent, True
        try:
            return reconcile(api, attempt) if again else create(api, attempt)
        except UncertainError as exc:
            exc.hint = "call submit() of the same Batch again: it looks for the batch, and never sends it again"
            raise
        except BatchError:
            self._attempt, self._sent = None, False  # not created: the next call uploads and creates again
            raise

    def _known_id(self) -> str:
        if not self.batch_id:
            raise UsageError("Batch has not been submitted yet", hint="call submit() first")
        return self.batch_id

    def _fetch(self, options: Mapping[str, Any]) -> BatchInfo:
        batch_id = self._known_id()
        return self._connected().get(batch_id, **options)

    def _connected(self) -> OpenAIBatchApi:
        """Return the connection to the provider that has the batch."""
        if self.provider is None:
            self.auto_detect_provider()
        if self.provider is None:
            raise UnknownProviderError(f"no provider is known for {self.batch_id}")
        return self._api_of(self.provider)

    def _api_of(self, provider: Provider) -> OpenAIBatchApi:
        from openai_batch.providers.openai_api import OpenAIBatchApi

        if self._api is None or self._api.provider is not provider:
            known_client = provider._client  # noqa: SLF001 - 0.3.4 kept it there, and programs have set it
            self._api = OpenAIBatchApi(provider, client=None if provider.is_local else provider.get_client())
            if provider.is_local:
                weakref.finalize(self, self._api.close)
            elif provider._client is not known_client:  # noqa: SLF001
                self._warn_of_unsent_key(provider)
        return self._api

    def _warn_of_unsent_key(self, provider: Provider) -> None:
        """Give a warning if OpenAI's key is set, and another base URL gets none: 0.3.4 sent it everywhere."""
        keyless = provider.base_url is not None and not provider.needs_key and not provider.headers
        if keyless and key_from_environment(OPENAI_KEY) and not is_known(provider):
            warn_of_unsent_key(OPENAI_KEY, provider.base_url)

    def _collect(self, info: BatchInfo) -> tuple[Any, Any]:
        """Download the files of a batch, unless it still runs."""
        from .save import safe_name

        if not info.finished:
            warn(f"{info.id} is {info.status}: there is nothing to download yet")
            return None, None
        for fault in info.errors:
            warn(f"{info.id} {info.status}: {fault}")
        check_not_folders(self.output_file, self.error_file)
        name = safe_name(info.id)
        output = self._save(info.output_file_id, self.output_file or f"{name}-output.jsonl")
        error = self._save(info.error_file_id, self.error_file or f"{name}-errors.jsonl")
        return output, error

    def _save(self, file_id: str | None, target: OutputTarget) -> OutputTarget | None:
        from .save import save

        if file_id is None or self._api is None:
            return None
        save(self._api, file_id, target)
        return target
