"""Faults of 0.3.4 that must not come back; the test names have their numbers."""

from __future__ import annotations

import io
import json
import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from compat.conftest import python

import openai_batch
from openai_batch import Batch, InputError, create_batch_input, data_url, run
from openai_batch.providers import Provider, get_provider_by_base_url, get_provider_by_model, get_provider_by_name

if TYPE_CHECKING:
    from compat.stub import Stub

HELLO: dict[str, Any] = {"model": "gpt-4o-mini", "messages": [{"role": "user", "content": "Hello"}]}


def add(batch: Batch, count: int = 1, **changes: Any) -> Batch:
    """Add `count` requests."""
    for _ in range(count):
        batch.add_to_batch(**HELLO | changes)
    return batch


def names(folder: str = ".") -> list[str]:
    """Return the file names in a folder."""
    return sorted(path.name for path in Path(folder).iterdir())


def ready(name: str = "input.jsonl", url: str = "/v1/chat/completions", **body: Any) -> str:
    """Write a batch input of one line, and return its name."""
    line = {"custom_id": "a", "method": "POST", "url": url, "body": body or HELLO}
    Path(name).write_text(json.dumps(line) + "\n", encoding="utf-8")
    return name


@pytest.mark.parametrize("kind", ["path", "default", "text handle"])
def test_01_what_was_added_can_be_submitted(stub: Stub, kind: str) -> None:
    """Requests written to a path, a default file or a text handle are uploaded."""
    with Path("t.jsonl").open("w", encoding="utf-8") as handle:
        target = {"path": "in.jsonl", "default": None, "text handle": handle}[kind]
        add(Batch(target), 2).submit()
        assert not handle.closed
    assert [json.loads(line)["custom_id"] for line in stub.uploaded().splitlines()] == ["line-1", "line-2"]


def test_02_importing_needs_no_http_library() -> None:
    """The package can be imported without openai or an HTTP library."""
    code = (
        "import sys\n"
        "for name in ('openai', 'httpx', 'httpx2', 'pydantic'): sys.modules[name] = None\n"
        "import openai_batch; from openai_batch import Batch, data_url, wait; import openai_batch.run\n"
    )
    python("-c", code)


def test_03_the_openai_key_goes_to_no_other_host(stub: Stub, monkeypatch: pytest.MonkeyPatch) -> None:
    """OpenAI's key, organization and project are never sent to another provider."""
    monkeypatch.setenv("OPENAI_API_KEY", "sk-canary")
    monkeypatch.setenv("OPENAI_ORG_ID", "org-canary")
    monkeypatch.setenv("OPENAI_PROJECT_ID", "proj-canary")
    monkeypatch.delenv("TEST_KEY")
    with pytest.raises(openai_batch.AuthError, match="TEST_KEY"):
        add(Batch(provider=get_provider_by_name("parasail"))).submit()
    run.main([ready(), "--base-url", stub.base_url.replace("127.0.0.1", "localhost"), "--api-key", "own-key", "-c"])
    assert {call.headers["authorization"] for call in stub.calls} == {"Bearer own-key"}
    assert "canary" not in str(stub.calls)


def test_03_a_given_host_without_a_key_gets_none(stub: Stub, monkeypatch: pytest.MonkeyPatch) -> None:
    """With `--base-url` alone, no key of another provider is sent."""
    monkeypatch.setenv("OPENAI_API_KEY", "sk-canary")
    with pytest.warns(UserWarning, match="OPENAI_API_KEY is not sent to localhost"):
        run.main([ready(), "--base-url", stub.base_url.replace("127.0.0.1", "localhost"), "-c"])
    assert stub.calls
    assert "canary" not in str(stub.calls)


def test_04_a_dry_run_changes_no_files() -> None:
    """A dry run does not create or change output and error files."""
    Path("out.jsonl").write_text("precious", encoding="utf-8")
    assert run.main([ready(), "--dry-run", "-o", "out.jsonl", "-e", "err.jsonl"]) == "batch-dry-run"
    assert Path("out.jsonl").read_text(encoding="utf-8") == "precious"
    assert not Path("err.jsonl").exists()


@pytest.mark.parametrize("endpoint", ["/v1/embeddings", "/v1/rerank", "/v1/videos"])
def test_05_the_endpoint_is_that_of_the_file(stub: Stub, endpoint: str) -> None:
    """A file is submitted to the endpoint in its lines, even an unknown one."""
    run.main([ready(url=endpoint, model="sora-2", input="x"), "-c"])
    assert stub.batches["batch_1"]["endpoint"] == endpoint


@pytest.mark.slow
def test_06_a_dash_means_the_standard_streams(stub: Stub) -> None:
    """`-o -` writes only the results to standard output; `-e -` writes the errors to standard error."""
    add(Batch("in.jsonl"), 2).__exit__(None, None, None)
    stub.failing = {"line-2"}
    done = python("-m", "openai_batch.run", "in.jsonl", "-o", "-", "-e", "-", check=False)
    assert [json.loads(line)["custom_id"] for line in done.stdout.splitlines()] == ["line-1"]
    assert "refused as planned" in done.stderr
    assert "Created batch_1." in done.stderr
    assert not Path("-").exists()
    assert done.returncode == 5


def test_07_the_upload_has_a_jsonl_name(stub: Stub) -> None:
    """An upload has a name that ends in `.jsonl`, for any name of the input."""
    run.main([ready("input.txt"), "-c"])
    Batch(Path("input.txt").read_bytes()).submit()
    assert list(stub.names.values()) == ["input.jsonl", "batch.jsonl"]


def test_08_run_finds_the_provider_by_model_or_by_id(stub: Stub) -> None:
    """Without `-p`, the model decides the provider of a new batch, and all providers are asked for an existing one."""
    run.main([ready(), "-c"])
    assert run.main(["--resume", "batch_1", "-o", "out.jsonl"]) == "batch_1"
    assert stub.calls[0].headers["authorization"] == "Bearer test-key-1"
    assert json.loads(Path("out.jsonl").read_bytes())["custom_id"] == "a"


@pytest.mark.usefixtures("stub")
def test_09_resume_accepts_an_equals_sign() -> None:
    """`--resume=ID` is the same as `--resume ID`."""
    run.main([ready(), "-c"])
    assert run.main(["--resume=batch_1"]) == "batch_1"
    assert Path("batch_1-output.jsonl").exists()


def test_10_a_base_url_matches_in_every_spelling() -> None:
    """A client's own base URL, an object with a trailing slash, is recognized."""
    import openai

    client = openai.OpenAI(api_key="x", base_url="https://api.parasail.io/v1")
    assert get_provider_by_base_url(client.base_url).name == "parasail"  # type: ignore[arg-type]


def test_11_wait_accepts_several_ids_and_both_callbacks(stub: Stub, capsys: pytest.CaptureFixture[str]) -> None:
    """`wait` uses the given client, accepts one id or several, calls back, prints each status, and downloads."""
    import openai

    add(Batch("1.jsonl")).submit()
    add(Batch("2.jsonl")).submit()
    stub.statuses = ["in_progress", "completed"]
    client = openai.OpenAI(api_key="its-own-key", base_url=stub.base_url)
    looks: list[str] = []
    ended: list[str] = []
    with pytest.warns(DeprecationWarning, match="wait"):
        batches = openai_batch.wait(
            client, ["batch_1", "batch_2"], 0, lambda b: looks.append(b.status), lambda b: ended.append(b.id)
        )
    assert isinstance(batches, list)
    assert [batch.id for batch in batches] == ["batch_1", "batch_2"] == ended
    assert looks == ["in_progress", "completed", "completed"]
    assert stub.calls[-1].headers["authorization"] == "Bearer its-own-key"
    with pytest.warns(DeprecationWarning, match="wait"):
        one = openai_batch.wait(client, "batch_1", interval=0)
    client.close()
    assert not isinstance(one, list)
    assert one.status == "completed"
    assert capsys.readouterr().out == "in_progress\ncompleted\ncompleted\ncompleted\n"
    assert names() == ["1.jsonl", "2.jsonl", "batch_1-output.jsonl", "batch_2-output.jsonl"]


@pytest.mark.parametrize("model", ["gpt-7-turbo", "ft:gpt-4o-mini:acme::x1", "o9-mini", "text-embedding-3-giant"])
def test_12_new_openai_models_stay_with_openai(model: str) -> None:
    """An unknown OpenAI model is sent to OpenAI."""
    assert get_provider_by_model(model).name == "openai"


@pytest.mark.parametrize(
    ("params", "url"),
    [
        ({"input": "x", "instructions": "y"}, "/v1/responses"),
        ({"input": "x", "endpoint": "responses"}, "/v1/responses"),
        ({"input": "x"}, "/v1/embeddings"),
        ({"input": "x", "model": "omni-moderation-latest"}, "/v1/moderations"),
        ({"prompt": "x", "endpoint": "/v1/completions"}, "/v1/completions"),
        ({"prompt": "x", "endpoint": "images/generations"}, "/v1/images/generations"),
    ],
)
def test_13_other_endpoints_get_their_own_url(params: dict[str, Any], url: str) -> None:
    """Responses, moderations, completions and image generations get their own URL."""
    text = io.StringIO()
    Batch(text).add_to_batch(**{"model": "gpt-4o-mini"} | params)
    assert json.loads(text.getvalue())["url"] == url


def test_14_no_existing_file_is_overwritten_or_shared() -> None:
    """An existing file with other content is renamed, and two default names in the same second differ."""
    Path("in.jsonl").write_text("older\n", encoding="utf-8")
    with pytest.warns(UserWarning, match=r"in\.jsonl\.1"), Batch("in.jsonl") as batch:
        add(batch)
    assert Path("in.jsonl.1").read_text(encoding="utf-8") == "older\n"
    with Batch("in.jsonl") as again:
        add(again)
    assert not Path("in.jsonl.2").exists()
    with Batch() as one, Batch() as two:
        add(one)
        add(two, 2)
    sizes = sorted(len(path.read_bytes().splitlines()) for path in Path().glob("batch_submission_*.jsonl"))
    assert sizes == [1, 2]


def test_15_a_rejected_request_leaves_no_trace() -> None:
    """After a rejected first request no file exists, and the batch accepts another kind and model."""
    batch = Batch("in.jsonl")
    with pytest.raises(ValueError, match="text_2"):
        batch.add_to_batch(model="scorer", text_1="a")
    with pytest.raises(InputError, match="surrogate"):
        batch.add_to_batch(model="m", messages=[{"role": "user", "content": "\ud83d"}])
    with pytest.raises(InputError, match=r"temperature is not a finite number"):
        batch.add_to_batch(model="m", messages=[], temperature=float("nan"))
    assert (batch.model, batch.provider, batch.batch_type, batch.n_requests, batch.n_bytes) == (None, None, None, 0, 0)
    assert names() == []
    add(batch)
    assert batch.model == "gpt-4o-mini"
    batch.__exit__(None, None, None)


def opened(kind: str, content: bytes) -> Any:
    """Return `content` as bytes or as an open handle."""
    Path("given.jsonl").write_bytes(content)
    if kind == "bytes":
        return content
    if kind == "BytesIO":
        return io.BytesIO(content)
    if kind == "StringIO":
        return io.StringIO(content.decode())
    return Path("given.jsonl").open("rb" if kind == "binary" else "r")


@pytest.mark.parametrize("kind", ["bytes", "BytesIO", "StringIO", "binary", "text"])
def test_16_a_ready_input_may_be_any_handle(stub: Stub, kind: str) -> None:
    """Bytes and handles are sent unchanged, and the handle stays open."""
    content = Path(ready(model="gpt-4o-mini", messages=[])).read_bytes()
    given = opened(kind, content)
    Batch(given).submit()
    assert stub.uploaded() == content
    if not isinstance(given, bytes):
        assert not given.closed
        given.close()


@pytest.mark.parametrize("make", [io.BytesIO, io.StringIO])
def test_16_requests_may_be_written_to_any_handle(stub: Stub, make: type[io.BytesIO | io.StringIO]) -> None:
    """Requests are written to the given buffer, and uploaded from it."""
    buffer = make()
    add(Batch(buffer), 2).submit()
    value = buffer.getvalue()
    assert stub.uploaded() == (value if isinstance(value, bytes) else value.encode())


def test_16_standard_output_stays_open() -> None:
    """After a batch input is written to standard output, the program can still print."""
    code = "from openai_batch import create_batch_input as c; c.main(['-', '-']); print('still here')"
    done = python("-c", code, input="one\n")
    assert [line[:12] for line in done.stdout.splitlines()] == ['{"custom_id"', "still here"]


def test_17_limits_are_checked_before_anything_is_written() -> None:
    """A request that exceeds a limit is refused, and the batch can be submitted without it."""
    batch = add(Batch("in.jsonl", provider=Provider(name="tiny", batch_input_max_requests=1)))
    with pytest.raises(ValueError, match=r"Exceeded max number of requests per batch \(1\)"):
        add(batch)
    batch.__exit__(None, None, None)
    assert len(Path("in.jsonl").read_bytes().splitlines()) == 1
    with pytest.raises(ValueError, match=r"Exceeded max batch input file size \(0 MB\)"):
        add(Batch("no.jsonl", provider=Provider(name="tiny", batch_input_max_bytes=50)))
    assert not Path("no.jsonl").exists()


def test_17_a_ready_file_is_checked_before_it_is_sent(stub: Stub) -> None:
    """Each problem of a ready file is reported with its line, and nothing is sent."""
    lines = Path(ready()).read_text(encoding="utf-8") * 2 + "not json\n"
    Path("input.jsonl").write_text(lines, encoding="utf-8")
    with pytest.raises(InputError) as caught:
        Batch("input.jsonl").submit()
    told = str(caught.value).splitlines()
    assert [line.split(": ")[0] for line in told] == ["input.jsonl:2", "input.jsonl:3"]
    assert len(caught.value.problems) == 2
    assert stub.calls == []


@pytest.mark.parametrize("status", ["expired", "cancelled", "completed"])
def test_18_results_of_every_ended_batch_are_collected(stub: Stub, status: str) -> None:
    """The results of any ended batch are saved, folders are created, and other content is renamed."""
    stub.statuses, stub.failing = [status], {"line-2"}
    Path("new").mkdir()
    Path("new/out.jsonl").write_text("older\n", encoding="utf-8")
    batch = add(Batch("in.jsonl", "new/out.jsonl", "new/deep/err.jsonl"), 3)
    batch.submit()
    with pytest.warns(UserWarning, match=r"out\.jsonl\.1"):
        assert batch.download() == ("new/out.jsonl", "new/deep/err.jsonl")
    assert len(Path("new/out.jsonl").read_bytes().splitlines()) == 2
    assert len(Path("new/deep/err.jsonl").read_bytes().splitlines()) == 1
    assert Path("new/out.jsonl.1").read_text(encoding="utf-8") == "older\n"
    batch.download()
    assert names("new") == ["deep", "out.jsonl", "out.jsonl.1"]


def test_18_a_download_too_early_or_of_a_failed_batch_warns(stub: Stub) -> None:
    """Downloading from a running or failed batch gives a warning instead of nothing."""
    stub.statuses = ["in_progress", "failed"]
    stub.errors = [{"code": "invalid_json_line", "message": "unreadable", "line": 7}]
    batch = add(Batch("in.jsonl"))
    batch.submit()
    with pytest.warns(UserWarning, match="nothing to download yet") as caught:
        assert batch.download() == (None, None)
    assert caught[0].filename == __file__
    with pytest.warns(UserWarning, match=r"failed: line 7: unreadable \(invalid_json_line\)"):
        assert batch.download() == (None, None)


@pytest.mark.slow
def test_18_the_exit_code_depends_on_the_results(stub: Stub) -> None:
    """The program exits with 0 only if every request succeeded."""
    assert python("-m", "openai_batch.run", ready()).returncode == 0
    stub.statuses = ["expired"]
    done = python("-m", "openai_batch.run", "input.jsonl", check=False)
    assert done.returncode == 5
    assert done.stderr.splitlines()[-2].startswith("error: batch batch_2 ended as expired")


@pytest.mark.slow
def test_19_waiting_continues_after_temporary_errors(stub: Stub, capsys: pytest.CaptureFixture[str]) -> None:
    """Temporary errors are retried while polling; the batch is created once."""
    stub.statuses = ["in_progress", "completed"]
    # More faults than the client's own retries.
    stub.faults = [(r"GET /v1/batches/", 503, {"Retry-After-Ms": "1", "Retry-After": "0"})] * 4
    with pytest.warns(UserWarning, match="trying again") as warned:
        result, output, error = add(Batch("in.jsonl")).submit_wait_download(interval=0)
    assert (result.status, output, error) == ("completed", "batch_1-output.jsonl", None)
    assert {warning.filename for warning in warned} == {__file__}, "the caller's own line"
    assert capsys.readouterr().out == "in_progress\ncompleted\n"
    assert len(stub.seen("POST", "/v1/batches$")) == 1


def test_19_a_lost_answer_does_not_create_twice(stub: Stub) -> None:
    """If the answer to a create is lost, the batch is found, and not created again."""
    stub.lose_create = True
    batch = add(Batch("in.jsonl"))
    assert batch.submit() == "batch_1"
    assert batch.submit() == "batch_1"
    assert len(stub.seen("POST", "/v1/batches$")) == 1
    assert batch.status().status == "completed"


def test_20_score_keeps_parameters_and_rerank_keeps_the_callers_objects() -> None:
    """Extra parameters of a score are sent, and objects of the caller are not changed."""
    text = io.StringIO()
    Batch(text).add_to_batch(model="m", text_1="a", text_2="b", truncate_prompt_tokens=9)
    assert json.loads(text.getvalue())["body"]["truncate_prompt_tokens"] == 9
    documents = ["x", "y"]
    params = {"model": "m", "query": "q", "documents": documents}
    Batch(io.StringIO()).add_to_batch(**params)
    assert params == {"model": "m", "query": "q", "documents": ["x", "y"]}
    assert params["documents"] is documents


def test_21_prompts_are_not_changed() -> None:
    """Prompts are read as UTF-8 in any locale, keep their spaces, and blank lines are skipped."""
    Path("p.txt").write_bytes("  größer \n\n \u2028é\t\r\n".encode())
    env = os.environ | {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"}
    python("-m", "openai_batch.create_batch_input", "p.txt", "in.jsonl", env=env)
    lines = [json.loads(line) for line in Path("in.jsonl").read_bytes().splitlines()]
    assert [line["body"]["messages"][0]["content"] for line in lines] == ["  größer ", " \u2028é\t"]


def test_21_the_limits_of_the_named_provider_are_used(stub: Stub) -> None:
    """`-p` decides the limits, and the model if none is given."""
    text = Path(os.environ["OBATCH_CONFIG"]).read_text(encoding="utf-8")
    more = f'[providers.tiny]\nbase_url = "{stub.base_url}"\nmax_requests = 2\nchat_model = "tiny-chat"\n'
    Path(os.environ["OBATCH_CONFIG"]).write_text(f"{text}\n{more}", encoding="utf-8")
    Path("p.txt").write_text("a\nb\nc\n", encoding="utf-8")
    with pytest.raises(ValueError, match=r"Exceeded max number of requests per batch \(2\)"):
        create_batch_input.main(["p.txt", "in.jsonl", "-p", "tiny"])
    assert '"model":"tiny-chat"' in Path("in.jsonl").read_text(encoding="utf-8")


def test_22_transparent_images_and_bytes_have_their_types() -> None:
    """An image with transparency becomes a PNG, and the type of bytes is detected without `imghdr`."""
    from PIL import Image

    assert data_url(Image.new("RGBA", (2, 2))).startswith("data:image/png;base64,")
    for kind in ("PNG", "GIF", "WEBP", "JPEG", "BMP", "TIFF"):
        buffer = io.BytesIO()
        Image.new("RGB", (2, 2)).save(buffer, kind)
        code = (
            "import sys; sys.modules['imghdr'] = None\n"
            "from openai_batch import data_url; print(data_url(sys.stdin.buffer.read()).split(';')[0])"
        )
        done = python("-c", code, input=buffer.getvalue(), text=False)
        assert done.stdout.strip().decode() == f"data:image/{kind.lower()}"  # type: ignore[attr-defined]


def test_23_the_module_that_the_readme_names_exists() -> None:
    """`openai_batch.create_batch` and `create_input` can be run."""
    for name in ("create_batch", "create_input"):
        done = python("-m", f"openai_batch.{name}", "--model", "m", input="x\n")
        assert json.loads(done.stdout)["body"]["model"] == "m"


def test_a_line_may_have_as_many_bytes_as_the_profile_says() -> None:
    """Its newline does not count, as in a ready file."""
    add(Batch("whole.jsonl"))
    line = len(Path("whole.jsonl").read_bytes()) - 1
    for most in (line, line - 1):
        batch = Batch(f"{most}.jsonl", provider=Provider(name="tiny", batch_input_max_line_bytes=most))
        if most == line:
            add(batch)
        else:
            with pytest.raises(InputError, match=f"has {line} bytes, and tiny takes {most} a line"):
                add(batch)
