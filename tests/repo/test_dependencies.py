"""Each dependency is explained in the documentation, and the workflows install it by its hash."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

import pytest
from packaging.requirements import Requirement

ROOT = Path(__file__).parents[2]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
GROUPS: dict[str, list[str]] = {
    "always": PROJECT["project"]["dependencies"],
    **PROJECT["project"]["optional-dependencies"],
    **PROJECT["dependency-groups"],
}
DECLARED = {
    (group, requirement.name, str(requirement.specifier))
    for group, words in GROUPS.items()
    for requirement in map(Requirement, (word for word in words if isinstance(word, str)))
    if requirement.name != "openai-batch"
}


def test_the_page_has_every_dependency() -> None:
    """docs/dependencies.md has a row for each dependency, with its versions, and no other row."""
    told = set()
    for section in re.split(r"^## ", (ROOT / "docs/dependencies.md").read_text(encoding="utf-8"), flags=re.MULTILINE)[
        1:
    ]:
        group = re.match(r"`?(\w+)", section)
        assert group
        for name, versions, *rest in (
            row.strip("| ").split(" | ") for row in re.findall(r"^\| `.*$", section, re.MULTILINE)
        ):
            assert len(rest) == 4, name
            assert all(rest), name
            told.add((group[1], name.strip("`"), str(Requirement(f"x{versions.strip('`')}").specifier)))
    assert told == DECLARED


def _locked(file: str) -> dict[str, str]:
    """Return the packages of a lock with their versions; each must have hashes, and none a URL."""
    text = re.sub(r"^#.*\n", "", (ROOT / ".github" / file).read_text(encoding="utf-8"), flags=re.MULTILINE)
    assert "://" not in text
    assert "index" not in re.sub(r"^[\w-]+==.*", "", text, flags=re.MULTILINE)
    found = {}
    for entry in text.replace("\\\n", " ").splitlines():
        match = re.fullmatch(r"([\w.-]+)==(\S+)( ;[^\\]*?)?( +--hash=sha256:[0-9a-f]{64})+ *", entry)
        assert match, entry
        found[match[1]] = match[2]
    return found


@pytest.mark.parametrize(
    ("file", "groups"),
    [("requirements.txt", GROUPS.keys()), ("requirements-build.txt", {"build"})],
    ids=["requirements.txt", "requirements-build.txt"],
)
def test_the_lock_has_every_dependency(file: str, groups: set[str]) -> None:
    """The lock has each dependency in a version that pyproject.toml allows; if it does not, run .github/lock.sh."""
    locked = _locked(file)
    for group, name, specifier in DECLARED:
        if group in groups:
            version = locked[name.lower().replace(".", "-")]
            assert Requirement(f"{name}{specifier}").specifier.contains(version, prereleases=True), name


def test_the_workflows_install_by_hash() -> None:
    """Only the jobs that test other versions, or the wheel like users, install without hashes."""
    lines = [
        line.strip()
        for path in sorted((ROOT / ".github/workflows").glob("*.yml"))
        for line in path.read_text(encoding="utf-8").splitlines()
        if "pip install" in line
    ]
    assert set(lines) == {
        "python -m pip install --require-hashes -r .github/requirements.txt",
        "python -m pip install --require-hashes -r .github/requirements-build.txt",
        "python -m pip install --no-deps --no-build-isolation -e .",
        "uv pip install --resolution \"$RESOLUTION\" -e '.[local,tables,media,keyring,notify,cloud]'",
        "uv pip install --constraint direct.txt --group test",
        'fresh/bin/python -m pip install "${wheel}[local]"',
    }
