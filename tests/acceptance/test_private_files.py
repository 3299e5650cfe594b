"""Files that obatch writes are readable only by their user, and files of other users are not used."""

from __future__ import annotations

import contextlib
import json
import os
import socket
import stat
import subprocess
import sys
import threading
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from support.command import COMMAND, PATIENCE, environment, invoke, request, write

from openai_batch.files.locks import locked

if TYPE_CHECKING:
    from collections.abc import Iterator

    from support.faults import FaultServer

NOBODY = 65534
needs_root = pytest.mark.skipif(
    getattr(os, "geteuid", lambda: None)() != 0, reason="only root can give a file to somebody else"
)


def run(mask: int, *words: str) -> subprocess.CompletedProcess[str]:
    """Run the command under a umask."""
    shell = ["sh", "-c", f'umask {mask:04o}; exec "$@"', "sh", *COMMAND, *words]
    return subprocess.run(shell, capture_output=True, text=True, timeout=PATIENCE, env=environment(), check=False)


def modes(folder: Path) -> dict[str, int]:
    """Return the permissions of everything in a folder."""
    return {str(path.relative_to(folder)): stat.S_IMODE(path.lstat().st_mode) for path in folder.rglob("*")}


@pytest.mark.slow
@pytest.mark.parametrize("mask", [0o000, 0o022, 0o077, 0o177, 0o777])
def test_what_is_kept_is_private(faulty: FaultServer, home: Path, mask: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """State folders have mode 0700 and files 0600; an output follows the umask, but its owner can read and write it."""
    assert faulty.port
    state = home / "new" / "deeper" / "state"
    monkeypatch.setenv("OBATCH_STATE_DIR", str(state))
    write("in.jsonl", [request("a", model="m")])
    done = run(mask, "run", "in.jsonl", "-p", "faulty", "-o", "out.jsonl", "-q")
    assert done.returncode == 0, done
    found = modes(home / "new")
    assert {str(path.relative_to(home / "new")) for path in state.rglob("*.db")} <= set(found)
    for name, mode in found.items():
        assert mode == (0o700 if (home / "new" / name).is_dir() else 0o600), (name, oct(mode))
    assert stat.S_IMODE((home / "new").stat().st_mode) == 0o700
    assert stat.S_IMODE(Path("out.jsonl").stat().st_mode) == 0o666 & ~(mask & 0o077)


@pytest.mark.slow
@pytest.mark.parametrize("mode", [0o770, 0o707, 0o1777])
def test_a_folder_that_others_can_change_is_refused(faulty: FaultServer, home: Path, mode: int) -> None:
    """`ls` and `submit` refuse a state folder that other users can write to."""
    write("in.jsonl", [request("a", model="m")])
    (home / "state").mkdir()
    (home / "state").chmod(mode)
    for words in (["ls"], ["submit", "in.jsonl", "-p", "faulty"]):
        invoke(*words).failed(2, "other users can change", "chmod go-w")
    assert not faulty.uploads
    (home / "state").chmod(0o755)
    invoke("ls").succeeded()


@pytest.mark.slow
@needs_root
def test_a_folder_of_another_user_is_refused(faulty: FaultServer, home: Path) -> None:
    """A state folder, or a link to it, that belongs to another user is refused."""
    write("in.jsonl", [request("a", model="m")])
    (home / "theirs").mkdir(mode=0o700)
    os.chown(home / "theirs", NOBODY, NOBODY)
    (home / "mine").mkdir(mode=0o700)
    for place, link_owner in (("theirs", 0), ("mine", NOBODY)):
        (home / "state").unlink(missing_ok=True)
        (home / "state").symlink_to(home / place)
        os.chown(home / "state", link_owner, link_owner, follow_symlinks=False)
        for words in (["ls"], ["submit", "in.jsonl", "-p", "faulty"]):
            invoke(*words).failed(2, "belongs to another user", "OBATCH_STATE_DIR")
    assert not faulty.requests
    assert not list((home / "mine").iterdir())
    os.chown(home / "state", 0, 0, follow_symlinks=False)
    invoke("ls").succeeded()


@pytest.mark.slow
@needs_root
def test_a_registry_of_another_owner_is_not_treated_as_damaged(faulty: FaultServer, home: Path) -> None:
    """If the state folder gets another owner, the command refuses it, and leaves the registry where it is."""
    write("in.jsonl", [request("a", model="m")])
    invoke("submit", "in.jsonl", "-p", "faulty").succeeded()
    os.chown(home / "state", NOBODY, NOBODY)
    before = sorted(modes(home / "state"))
    invoke("submit", "in.jsonl", "-p", "faulty").failed(2, "belongs to another user")
    assert sorted(modes(home / "state")) == before
    assert len(faulty.creates) == 1


@contextlib.contextmanager
def served(home: Path) -> Iterator[list[bytes]]:
    """Write a server file for a port, hold the lock of a running server, and yield what is sent to the port."""
    door = socket.create_server(("127.0.0.1", 0))
    heard: list[bytes] = []

    def listen() -> None:
        while True:
            try:
                connection, _ = door.accept()
            except OSError:
                return
            with connection:
                heard.append(connection.recv(1 << 16))

    threading.Thread(target=listen, daemon=True).start()
    (home / "state" / "local").mkdir(parents=True, mode=0o700)
    content = {"base_url": f"http://127.0.0.1:{door.getsockname()[1]}/v1", "token": "t", "pid": 1, "fingerprint": "f"}
    (home / "state" / "local" / "server.json").write_text(json.dumps(content))
    with door, locked(home / "state" / "local" / "server.lock"):
        yield heard


@pytest.mark.parametrize("how", ["writable", pytest.param("owner", marks=needs_root), "folder"])
def test_the_server_of_another_user_is_not_used(home: Path, how: str) -> None:
    """A server file that belongs to another user, or that others can change, is not used."""
    file = home / "state" / "local" / "server.json"
    with served(home) as heard:
        invoke("recover")
        assert heard
        heard.clear()
        if how == "owner":
            os.chown(file, NOBODY, NOBODY)
        else:
            (file if how == "writable" else file.parent).chmod(0o777)
        told = invoke("recover")
        assert told.code == 2, told
        assert not heard


@pytest.mark.parametrize("how", ["writable", pytest.param("owner", marks=needs_root), "pipe"])
def test_a_configuration_of_another_user_is_refused(home: Path, how: str) -> None:
    """A configuration that belongs to another user, that others can change, or that is a pipe is refused."""
    file = home / "config.toml"
    if how == "owner":
        os.chown(file, NOBODY, NOBODY)
    elif how == "pipe":
        file.unlink()
        os.mkfifo(file)
    else:
        file.chmod(0o666)
    told = {"owner": "another user", "writable": "other users", "pipe": "a pipe"}[how]
    invoke("providers").failed(2, told)
    file.unlink()


def test_dev_null_is_an_empty_configuration(monkeypatch: pytest.MonkeyPatch) -> None:
    """/dev/null is an empty configuration."""
    monkeypatch.setenv("OBATCH_CONFIG", "/dev/null")
    invoke("providers").succeeded()


@pytest.mark.slow
def test_only_our_own_leftovers_are_removed(faulty: FaultServer) -> None:
    """The part file of a killed process is deleted; files with similar names, folders and pipes are not."""
    assert faulty.port
    write("in.jsonl", [request("a", model="m")])
    ours = Path(".out.jsonl.0123abcd.part")
    ours.touch()
    kept = [Path("out.jsonl.part"), Path(".out.jsonl.part"), Path(".out.jsonl.0123abcd.part.bak")]
    for path in kept:
        path.write_text("mine")
    folder = Path(".out.jsonl.01234567.part")
    folder.mkdir()
    (folder / "file").touch()
    os.mkfifo(".out.jsonl.89abcdef.part")
    invoke("run", "in.jsonl", "-p", "faulty", "-o", "out.jsonl").succeeded()
    assert not ours.exists()
    assert all(path.read_text() == "mine" for path in kept)
    assert (folder / "file").exists()
    assert Path(".out.jsonl.89abcdef.part").exists()


@pytest.mark.slow
@needs_root
def test_leftovers_of_another_user_stay(faulty: FaultServer) -> None:
    """A part file of another user is not deleted."""
    assert faulty.port
    write("in.jsonl", [request("a", model="m")])
    theirs = Path(".out.jsonl.0123abcd.part")
    theirs.touch()
    os.chown(theirs, NOBODY, NOBODY)
    invoke("run", "in.jsonl", "-p", "faulty", "-o", "out.jsonl").succeeded()
    assert theirs.exists()


@pytest.mark.parametrize(
    "given", [{"XDG_STATE_HOME": "here"}, {"HOME": "here"}, {"HOME": ""}, {"XDG_STATE_HOME": ""}], ids=str
)
def test_no_folder_depends_on_the_working_folder(given: dict[str, str], monkeypatch: pytest.MonkeyPatch) -> None:
    """The state folder is an absolute path, whatever HOME and XDG_STATE_HOME say."""
    monkeypatch.delenv("OBATCH_STATE_DIR")
    code = "from openai_batch.files import paths; print(paths.state_dir())"
    command = [sys.executable, "-c", code]
    done = subprocess.run(command, capture_output=True, text=True, env=environment(given), check=False)
    assert Path(done.stdout.strip()).is_absolute(), done


@needs_root
def test_without_a_home() -> None:
    """Without HOME and without a user entry, as in many containers, the error says that no home folder is known."""
    code = "import os, tempfile, platformdirs.unix; from openai_batch.files import paths; os.setuid(54321); "
    code += "paths.state_dir()"
    env = environment({"HOME": None, "OBATCH_STATE_DIR": None})
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env=env, check=False)
    assert "UsageError: no home folder is known for your state files" in done.stderr


def test_an_unknown_home_is_reported(monkeypatch: pytest.MonkeyPatch) -> None:
    """A path in the home folder of an unknown user is an error."""
    monkeypatch.setenv("OBATCH_STATE_DIR", "~nobody-of-that-name/x")
    invoke("ls").failed(2, "no home folder is known", "full path")
    assert not list(Path().iterdir())
