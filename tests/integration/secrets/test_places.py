"""A key is sent only to its own host: not along a redirect, to a proxy, or where the environment or a file points."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from support.canary import KEY, MARK, PROXIES, assert_key_absent, listener, run
from support.servers import echo_upstream

from openai_batch.errors import BatchError
from openai_batch.jobs.cancel import cancel
from openai_batch.jobs.collect import collect, raise_if_incomplete
from openai_batch.jobs.submit import start
from openai_batch.net import transfer
from openai_batch.providers import get_provider_by_name

if TYPE_CHECKING:
    from collections.abc import Callable

    from support.workbench import Workbench

    from openai_batch.jobs.store.records import JobRecord
    from openai_batch.jobs.workflow import Workflow


def _wait(workflow: Workflow, job: JobRecord, _shop: Workbench) -> object:
    return workflow.wait(job, timeout=30)


def _cancel(workflow: Workflow, job: JobRecord, _shop: Workbench) -> object:
    return cancel(workflow, job)


def _collect(workflow: Workflow, job: JobRecord, workbench: Workbench) -> object:
    return collect(workflow, workflow.wait(job, timeout=30), workbench.out)


CALLS: dict[str, tuple[str, Callable[[Workflow, JobRecord, Workbench], object]]] = {
    "upload": ("upload={}", _wait),
    "create": ("create={}", _wait),
    "a create that was done": ("create=made.{}", _wait),
    "list": ("create=made.reset;list={}*2", _wait),
    "look": ("poll={}", _wait),
    "cancel": ("cancel={};steps=in_progress", _cancel),
    "the record of a file": ("file={}", _collect),
}
"""Each kind of request: the plan that redirects it, and the function that sends it."""


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
@pytest.mark.parametrize("call", CALLS)
def test_no_other_request_follows_a_redirect(here: Workbench, call: str, status: int) -> None:
    """Redirects are not followed, except for files: nothing is sent to the other address."""
    here.configure(create_timeout=0.2, create_grace=0.1)
    plan, act = CALLS[call]
    workflow = here.workflow()
    told = ""
    try:
        act(workflow, start(workflow, here.spec(f"fault:{plan.format(status)}"))[0], here)
    except BatchError as exc:
        told = f"{exc} {exc.hint}"
    assert str(status) in [request.fault.kind for request in here.server.requests if request.fault]
    assert here.server.strays == []
    assert MARK not in told


@pytest.mark.parametrize("status", [302, 307])
def test_an_object_store_gets_no_headers_of_the_provider(
    here: Workbench, status: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A file at another host is downloaded without the key, the headers of the profile, and cookies."""
    here.configure()
    with (here.home / "config.toml").open("a") as config:
        config.write('headers = { "X-Secret" = "env:MARKED" }\n')
    monkeypatch.setenv("MARKED", MARK)
    workflow = here.workflow()
    job = workflow.wait(start(workflow, here.spec(f"fault:content={status}*9"))[0], timeout=30)
    monkeypatch.setattr(transfer, "MAX_TRIES", 1)
    with pytest.raises(BatchError) as told:
        collect(workflow, job, here.out)
    assert MARK not in f"{told.value} {told.value.hint}"
    (here.server.stored_elsewhere,) = (
        file.data for file in here.server.files.values() if file.purpose == "batch_output"
    )
    raise_if_incomplete(collect(workflow, job, here.out))
    assert [row["custom_id"] for row in here.rows()] == [f"id-{n}" for n in range(4)]
    for request in here.server.strays:
        head, *headers = request.decode().strip().split("\r\n")
        assert head == "GET /v1/elsewhere HTTP/1.1"
        assert {line.partition(":")[0].lower() for line in headers} == {"host", "accept-encoding", "connection"}


@pytest.mark.slow
def test_a_provider_on_this_machine_is_reached_past_every_proxy(
    here: Workbench, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Providers on this machine are reached without a proxy, whatever the proxy variables say."""
    here.write("fault:rows=mixed")
    with listener() as trap, echo_upstream() as echo:
        for name in PROXIES:
            monkeypatch.setenv(name, trap.url)
        ran = [run("run", "in.jsonl", "-p", "faulty", "-o", "out.jsonl")]
        ran.append(run("in.jsonl", "-p", "faulty", "-o", "old", "-e", "old.errors", module="openai_batch.run"))
        with (here.home / "config.toml").open("a", encoding="utf-8") as handle:
            handle.write(f'[providers.local]\nupstream = "{echo.base_url}"\n')
        try:
            ran.append(run("run", "-", "-p", "local", "-m", "echo-1", stdin="hello\n"))
        finally:
            run("serve", "--stop")
        assert trap.heard == []
    assert [result.code for result in ran] == [5, 5, 0], ran
    assert len(here.server.batches) == 2
    assert_key_absent(*ran, folders=(here.home, here.folder))


@pytest.mark.slow
def test_openai_base_url_has_no_effect(here: Workbench, monkeypatch: pytest.MonkeyPatch) -> None:
    """The SDK's variable OPENAI_BASE_URL changes the URL of no profile."""
    here.write("fault:end=completed")
    with listener() as trap:
        monkeypatch.setenv("OPENAI_BASE_URL", f"{trap.url}/v1")
        monkeypatch.setenv("OPENAI_API_KEY", KEY)
        assert run("run", "in.jsonl", "-p", "faulty", "-o", "out.jsonl").code == 0
        client = get_provider_by_name("openai").get_client()
        assert client.base_url.host == "api.openai.com"
        client.close()
        assert trap.heard == []
    assert len(here.server.batches) == 1


@pytest.mark.slow
def test_files_in_the_working_folder_have_no_effect(here: Workbench) -> None:
    """Configuration files, .env files and .netrc near the input do not change where the key is sent."""
    here.write("fault:end=completed")
    with listener() as trap:
        table = f'provider = "faulty"\n[providers.faulty]\nbase_url = "{trap.url}/v1"\napi_key_env = "FAULTY_KEY"\n'
        for name in ("config.toml", "obatch.toml", ".obatch.toml", "pyproject.toml"):
            (here.folder / name).write_text(table, encoding="utf-8")
        (here.folder / ".env").write_text(f"OPENAI_BASE_URL={trap.url}\nOBATCH_CONFIG=config.toml\n", encoding="utf-8")
        netrc = here.home / ".netrc"
        netrc.write_text("machine 127.0.0.1 login me password other\n", encoding="utf-8")
        netrc.chmod(0o600)
        assert run("run", "in.jsonl", "-p", "faulty", "-o", "out.jsonl").code == 0
        assert trap.heard == []
    assert {request.headers["authorization"] for request in here.server.requests} == {f"Bearer {KEY}"}


@pytest.mark.slow
def test_a_key_of_one_provider_does_not_go_to_another(here: Workbench, monkeypatch: pytest.MonkeyPatch) -> None:
    """With the keys of several providers set, each request has only its own key."""
    for name in ("OPENAI_API_KEY", "PARASAIL_API_KEY", "GROQ_API_KEY", "OPENAI_ADMIN_KEY"):
        monkeypatch.setenv(name, f"sk-{name}-0123456789")
    for name in ("OPENAI_ORG_ID", "OPENAI_PROJECT_ID", "OPENAI_WEBHOOK_SECRET"):
        monkeypatch.setenv(name, f"foreign-{name}")
    here.write("fault:end=completed")
    assert run("run", "in.jsonl", "-p", "faulty", "-o", "out.jsonl").code == 0
    assert here.server.requests
    for request in here.server.requests:
        assert request.headers.pop("authorization") == f"Bearer {KEY}"
        assert "0123456789" not in str(request.headers)
        assert "foreign-" not in str(request.headers)
