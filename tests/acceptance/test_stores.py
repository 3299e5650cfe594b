"""Inputs and outputs in an object store and on the web: transferred completely, not replaced without --force."""

from __future__ import annotations

import gzip
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from support.command import inside, invoke, request, write
from support.stores import Store, Web, s3_server, web_server

from openai_batch import Jobs
from openai_batch.errors import UsageError
from openai_batch.files.object_store import ObjectStore
from openai_batch.jobs.input_name import name_of_input

if TYPE_CHECKING:
    from collections.abc import Iterator

    from support.faults import FaultServer

TABLE = b"text,n\nhello,1\nworld,2\n"
RUN = ("-p", "faulty", "-m", "echo-1")


@pytest.fixture(scope="module")
def server() -> Iterator[Store]:
    """Run one store for these tests; each test uses its own folder."""
    with s3_server() as store:
        yield store


@pytest.fixture
def store(server: Store, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> ObjectStore:
    """Return a folder of the store, with its keys in the environment."""
    for name, value in server.env.items():
        monkeypatch.setenv(name, value)
    return ObjectStore(f"s3://bucket/{tmp_path.name}")


@pytest.fixture
def web() -> Iterator[Web]:
    """Run a web server with a table."""
    with web_server({"/t.csv": TABLE, "/t.csv?key=secret": TABLE}) as web:
        yield web


def lines(*ids: str) -> bytes:
    """Return a batch file with these ids."""
    return "".join(json.dumps(request(each)) + "\n" for each in ids).encode()


@pytest.mark.slow
def test_a_job_from_store_to_store(faulty: FaultServer, store: ObjectStore) -> None:
    """The input and the output can be objects, and `status` shows their addresses."""
    store.create("t.csv", TABLE)
    source, target = store.address("t.csv"), store.address("out/labels.csv")
    done = invoke("run", source, *RUN, "-o", target).succeeded()
    assert f"the results are in {target}" in done.err
    assert store.read("out/labels.csv").startswith(b"custom_id,text,n,answer")
    assert store.read("out/labels.csv").count(b"\n") == 3
    job = inside("status", "--json").json
    assert (job["input"], job["output"]) == (source, target)
    assert "2 prompts from column text" in done.err
    batches = len(faulty.batches)
    again = inside("run", source, *RUN, "-o", target, "--json").succeeded()
    assert again.json["results"]["path"] == target
    assert len(faulty.batches) == batches
    assert [info.key for info in store.list("out")] == ["out/labels.csv"]


def test_an_input_that_has_grown_continues(faulty: FaultServer, store: ObjectStore) -> None:
    """Only new rows are sent, and an output that others have changed is renamed, not replaced."""
    source, target = store.address("t.csv"), store.address("out.jsonl")
    store.create("t.csv", TABLE)
    inside("run", source, *RUN, "-o", target).succeeded()
    store.replace("t.csv", TABLE + b"more,3\n")
    inside("run", source, *RUN, "-o", target).succeeded()
    assert store.read("out.jsonl").count(b"\n") == 3
    assert [batch.view["request_counts"]["total"] for batch in faulty.batches.values()] == [2, 1]
    store.replace("out.jsonl", b"changed by somebody\n")
    store.replace("t.csv", TABLE + b"more,3\nand more,4\n")
    told = inside("run", source, *RUN, "-o", target).succeeded()
    assert f"had other results, which are now in {target}.1" in told.err
    assert store.read("out.jsonl.1") == b"changed by somebody\n"
    assert store.read("out.jsonl").count(b"\n") == 4


def test_an_object_is_replaced_only_with_force(faulty: FaultServer, store: ObjectStore) -> None:
    """An existing object is an error before anything is sent; --force replaces it."""
    store.create("t.csv", TABLE)
    store.create("out.jsonl", b"foreign")
    source, target = store.address("t.csv"), store.address("out.jsonl")
    for command in (["run", source, *RUN], ["prepare", source, *RUN]):
        inside(*command, "-o", target).failed(1, f"{target} already exists", "--force")
    inside("run", source, *RUN, "-o", "x.jsonl", "--missing", target).failed(1, f"{target} already exists", "--force")
    inside("run", source, *RUN, "-o", source, "--force").failed(2, "is an input file, which is never replaced")
    missing = target.replace("bucket", "nobody")
    inside("run", source, *RUN, "-o", missing).failed(6, "there is no bucket s3://nobody")
    assert not faulty.batches
    inside("run", source, *RUN, "-o", target, "--force").succeeded()
    assert store.read("out.jsonl").count(b"\n") == 2


@pytest.mark.usefixtures("faulty")
def test_other_commands_write_to_a_store(store: ObjectStore) -> None:
    """`prepare`, `download` and `results` write to a store, and `run` reads what `prepare` wrote."""
    Path("t.csv").write_bytes(TABLE)
    ready = store.address("ready.jsonl")
    done = inside("prepare", "t.csv", *RUN, "-o", ready, "--json").succeeded()
    assert done.json["output"] == ready
    inside("check", ready, "-p", "faulty").succeeded()
    assert inside("stats", ready, "--json").succeeded().json["requests"] == 2
    inside("run", ready, "-p", "faulty", "-o", "out.jsonl").succeeded()
    for command, name in (("download", "a.jsonl"), ("download", "a.csv"), ("results", "b.parquet")):
        inside(command, "1", "-o", store.address(name)).succeeded()
        assert inside(command, "1", "-o", store.address(name)).code == 0
    assert store.read("a.jsonl") == Path("out.jsonl").read_bytes()
    assert store.read("b.parquet").startswith(b"PAR1")
    store.replace("a.csv", b"changed")
    inside("download", "1", "-o", store.address("a.csv")).failed(1, "a.csv already exists", "--force")


@pytest.mark.usefixtures("faulty")
def test_every_kind_of_input(store: ObjectStore) -> None:
    """Compressed files, Parquet and patterns can be read, and problems are reported by address."""
    store.create("in/1.jsonl", lines("a", "b"))
    store.create("in/2.jsonl.gz", gzip.compress(lines("c")))
    store.create("in/deep/3.jsonl", lines("d"))
    pattern = store.address("in/*.jsonl*")
    inside("run", pattern, "-p", "faulty", "-o", "out.jsonl").succeeded()
    assert [json.loads(line)["custom_id"] for line in Path("out.jsonl").read_text().splitlines()] == ["a", "b", "c"]
    inside("check", store.address("no*.jsonl")).failed(3, "no object matches", "another pattern")
    inside("check", store.address("none.jsonl")).failed(3, "none.jsonl does not exist", "check the name")
    store.create("bad.jsonl", lines("a") + b"{broken\n")
    bad = inside("check", store.address("bad.jsonl"), "-p", "faulty")
    assert f"{store.address('bad.jsonl')}:2: " in bad.out
    Path("t.csv").write_bytes(TABLE)
    duckdb = pytest.importorskip("duckdb")
    duckdb.sql("COPY (FROM 't.csv') TO 't.parquet'")
    store.create("t.parquet", Path("t.parquet").read_bytes())
    done = inside("prepare", store.address("t.parquet"), *RUN).succeeded()
    assert done.out.count("\n") == 2


def test_a_query_reads_addresses(web: Web, store: ObjectStore) -> None:
    """A query can read files by their addresses; URLs in other texts are not fetched, and signatures are not stored."""
    pytest.importorskip("duckdb")
    store.create("it's.csv", TABLE)
    there = store.address("it's.csv").replace("'", "''")
    joined = "SELECT a.text FROM '{}' a JOIN read_csv('{}/t.csv?key=secret') b USING (n) WHERE a.text != "
    query = joined.format(there, web.url)
    done = inside("prepare", "--sql", f"{query} 'https://example.com/x'", "-m", "m", "-p", "parasail").succeeded()
    assert done.out.count("\n") == 2
    assert len(web.asked) == 1
    named = name_of_input([], sql=query)
    assert named is not None
    assert "secret" not in named


def test_a_file_on_the_web(faulty: FaultServer, web: Web) -> None:
    """A file on the web can be read, and the signature in its address is not stored."""
    done = inside("run", f"{web.url}/t.csv?key=secret#part", *RUN).succeeded()
    assert "the results are in t.results.jsonl" in done.err
    assert web.asked[0][0] == "/t.csv?key=secret"
    assert inside("status", "--json").json["input"] == f"{web.url}/t.csv"
    state = Path(os.environ["OBATCH_STATE_DIR"])
    assert not any(b"secret" in path.read_bytes() for path in state.rglob("*") if path.is_file())
    assert faulty.batches


def test_a_download_that_breaks_is_resumed(web: Web) -> None:
    """A download that breaks off is resumed with a range request."""
    web.pages["/big.jsonl"] = lines(*map(str, range(2000)))
    web.broken = True
    assert inside("stats", f"{web.url}/big.jsonl", "--json").succeeded().json["requests"] == 2000
    assert ["range" in headers for _, headers in web.asked] == [False, True]


@pytest.mark.parametrize(
    ("address", "code", "message", "hint"),
    [
        ("URL/none.csv", 3, "does not exist", "check the address"),
        ("URL/denied.csv", 4, "cannot be read", "signed URL"),
        ("http://me:secret@127.0.0.1/x", 2, "has a password in it", "leave it out"),
        ("http://", 2, "is not a URL", "https://"),
        ("hf://models/a/b", 2, "names no file of a data set", "hf://datasets/"),
        ("ftp://host/x.csv", 3, "No such file", "name a file"),
    ],
)
def test_an_address_that_cannot_be_read(web: Web, address: str, code: int, message: str, hint: str) -> None:
    """Each kind of unreadable address has its own error, hint and exit code."""
    web.pages["/denied.csv"] = 403
    told = inside("stats", address.replace("URL", web.url)).failed(code, message, hint)
    assert "secret" not in told.err


def test_a_file_of_a_data_set(web: Web, monkeypatch: pytest.MonkeyPatch) -> None:
    """The token is sent to the host of HF_ENDPOINT, but not to the host that it redirects to."""
    content = lines("a", "b")
    with web_server({"any": content}) as elsewhere:
        web.pages["/datasets/me/data/resolve/main/a%20file.jsonl"] = f"{elsewhere.url}/x"
        web.pages["/datasets/me/data/resolve/refs%2Fconvert%2Fparquet/in/x.jsonl"] = content
        web.pages["/datasets/me/data/resolve/v1/x.jsonl"] = "/same"
        web.pages["/same"] = content
        web.pages["/datasets/me/secret/resolve/main/x.jsonl"] = 401
        monkeypatch.setenv("HF_ENDPOINT", web.url)
        monkeypatch.setenv("HF_TOKEN", "hf_canary_0123456789")
        for name in ("data/a file.jsonl", "data@refs/convert/parquet/in/x.jsonl", "data@v1/x.jsonl"):
            done = inside("stats", f"hf://datasets/me/{name}", "--json").succeeded()
            assert done.json["requests"] == 2
        assert [headers.get("authorization") for _, headers in elsewhere.asked] == [None]
    assert {headers.get("authorization") for _, headers in web.asked} == {"Bearer hf_canary_0123456789"}
    inside("stats", "hf://datasets/me/secret/x.jsonl").failed(4, "cannot be read", "HF_TOKEN")
    monkeypatch.delenv("HF_TOKEN")
    saved = Path.home() / ".cache/huggingface/token"
    saved.parent.mkdir(parents=True)
    saved.write_text("hf_saved_token_0123456789\n", encoding="utf-8")
    inside("stats", "hf://datasets/me/data@v1/x.jsonl").succeeded()
    assert web.asked[-1][1]["authorization"] == "Bearer hf_saved_token_0123456789"
    monkeypatch.setenv("HF_ENDPOINT", "http://example.invalid")
    inside("stats", "hf://datasets/me/data@v1/x.jsonl").failed(2, "HF_ENDPOINT is not an https URL")


@pytest.mark.parametrize("scheme", ["https", "http", "hf", "ftp"])
def test_web_addresses_cannot_be_written(faulty: FaultServer, scheme: str) -> None:
    """An output on the web is an error; nothing is sent, and no folder is created."""
    write("in.jsonl", [request("a")])
    told = "only local files" if scheme == "ftp" else "can be read, but not written"
    for words in (["run", "in.jsonl", "-p", "faulty"], ["prepare", "in.jsonl", "-p", "faulty", "-m", "m"]):
        inside(*words, "-o", f"{scheme}://host/out.jsonl").failed(2, told, "local file")
    assert not faulty.requests
    assert [path.name for path in Path().iterdir()] == ["in.jsonl"]


def test_programs_read_from_a_store(faulty: FaultServer, store: ObjectStore) -> None:
    """`Jobs.submit` reads addresses and reuses answers; `Job.download` writes only local files."""
    store.create("in.jsonl", lines("a", "b"))
    address = store.address("in.jsonl")
    with Jobs() as jobs:
        job = jobs.submit(address, provider="faulty").wait()
        assert [result.custom_id for result in job.results()] == ["a", "b"]
        store.replace("in.jsonl", lines("a", "b", "c"))
        jobs.submit([address], provider="faulty", reuse=True).wait()
        with pytest.raises(UsageError, match="only local files"):
            job.download(store.address("out.jsonl"))
    assert [batch.view["request_counts"]["total"] for batch in faulty.batches.values()] == [2, 1]


def test_a_store_that_cannot_be_written_costs_nothing(
    faulty: FaultServer, store: ObjectStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A store that refuses access stops `run` before it sends anything; one that is down stops only the download."""
    write("in.jsonl", [request("a")])
    target = store.address("out.jsonl")
    run = ["run", "in.jsonl", "-p", "faulty", "-o", target]
    with web_server({"any": 403}) as refusing:
        inside(*run, env={"AWS_ENDPOINT_URL": refusing.url}).failed(4, "the store refused access", "AWS_ACCESS_KEY_ID")
    assert not faulty.batches
    inside("submit", "in.jsonl", "-p", "faulty").succeeded()
    inside("wait").succeeded()
    monkeypatch.setattr("openai_batch.files.object_store._RETRIES", 0)
    down = {"AWS_ENDPOINT_URL": "http://127.0.0.1:9"}
    inside("download", "-o", target, env=down).failed(1, f"{target}: the store does not answer", "check the network")
    inside(*run).succeeded()
    assert store.read("out.jsonl").count(b"\n") == 1
    assert len(faulty.batches) == 1


KILLED = """
import os, sys
from openai_batch.cli.main import main
from openai_batch.jobs import output_file
output_file.stamp = lambda target: os._exit(9)
main(sys.argv[1:])
"""


@pytest.mark.slow
@pytest.mark.parametrize("changed", [False, True])
def test_a_command_that_was_killed_after_the_upload_continues(
    faulty: FaultServer, store: ObjectStore, *, changed: bool
) -> None:
    """After a kill, the same command accepts its own results, but does not replace those of others."""
    write("in.jsonl", [request("a")])
    run = ["run", "in.jsonl", "-p", "faulty", "-o", store.address("out.jsonl")]
    assert subprocess.run([sys.executable, "-c", KILLED, *run], capture_output=True, check=False).returncode == 9
    assert store.read("out.jsonl").count(b"\n") == 1
    if changed:
        store.replace("out.jsonl", b"foreign")
        inside(*run).failed(1, "out.jsonl already exists", "--force")
    else:
        inside(*run).succeeded()
    assert store.read("out.jsonl").count(b"\n") == (0 if changed else 1)
    assert len(faulty.batches) == 1


PEAK = """
import re, sys
from pathlib import Path
from openai_batch.cli.main import main
code = main(sys.argv[1:])
print(re.search(r"VmHWM:\\s+(\\d+) kB", Path("/proc/self/status").read_text())[1], file=sys.stderr)
sys.exit(code)
"""


@pytest.mark.slow
@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="the peak is read from /proc")
@pytest.mark.parametrize("kind", ["store", "web"])
def test_memory_stays_flat(store: ObjectStore, web: Web, kind: str) -> None:
    """An input of 100 MB from a store or the web needs little memory."""
    rows = b"".join(b"%d,%b\n" % (number, b"x" * 1000) for number in range(100_000))
    if kind == "store":
        with store.writer("t.csv", replace=True) as out:
            out.write(b"n,text\n" + rows)
        source = store.address("t.csv")
    else:
        web.pages["/big.csv"] = b"n,text\n" + rows
        source = f"{web.url}/big.csv"
    words = ["prepare", source, "-p", "parasail", "-m", "m", "-o", store.address("big.jsonl")]
    done = subprocess.run([sys.executable, "-c", PEAK, *words], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    info = store.stat("big.jsonl")
    assert info is not None
    assert info.size > 110_000_000
    assert int(done.stderr.split()[-1]) < LIMIT


LIMIT = 115_000
"""Peak memory in KiB, including the interpreter, the imports, and the parts in transfer."""
