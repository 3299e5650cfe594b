"""The pages for contributors name files that exist, and the workflows run only pinned actions."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

import openai_batch

ROOT = Path(__file__).parents[2]
MAIN = "https://github.com/parasail-ai/openai-batch/blob/main/"
PAGES = sorted([*ROOT.glob("*.md"), *ROOT.glob("docs/*.md")])


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_every_relative_link_leads_to_a_file(page: Path) -> None:
    """A link to a file of the repository is right, seen from the page. The README, which PyPI shows, has whole URLs."""
    text = page.read_text(encoding="utf-8")
    links = re.findall(r"\]\((?!https?:)([^)#\s]+)", text)
    assert [link for link in links if not (page.parent / link).exists()] == []
    urls = re.findall(rf"\]\({MAIN}([^)#\s]+)", text)
    assert [url for url in urls if not (ROOT / url).exists()] == []
    if page.name == "README.md":
        assert links == []
        assert len(urls) > 5


def test_every_file_to_change_exists() -> None:
    """The table "Where a change belongs" names files of the package."""
    section = (
        (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8").split("## Where a change belongs")[1].split("\n## ")[0]
    )
    paths = re.findall(r"`([a-z_0-9/]+(?:\.py|/))`", section)
    assert len(paths) > 30
    names = {path.name for path in (ROOT / "openai_batch").rglob("*.py")}
    missing = [
        path
        for path in paths
        if path not in names and not (ROOT / path).exists() and not (ROOT / "openai_batch" / path).exists()
    ]
    assert missing == []


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_every_link_to_a_section_leads_to_its_heading(page: Path) -> None:
    """A link with a # names a heading of its page."""
    for link, section in re.findall(r"\]\((?!https?:)([^)#\s]*)#([^)\s]+)\)", page.read_text(encoding="utf-8")):
        target = page.parent / link if link else page
        headings = re.findall(r"^#+ (.+)$", target.read_text(encoding="utf-8"), re.MULTILINE)
        names = {re.sub(r"[^\w -]", "", heading.lower()).replace(" ", "-") for heading in headings}  # GitHub's rule
        assert section in names


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_every_path_in_the_repository_exists(page: Path) -> None:
    """A path that a page names from the repository's root is there."""
    paths = re.findall(r"`((?:tests|docs|benchmarks|completions|openai_batch)/[a-z_0-9/.]*)`", page.read_text("utf-8"))
    assert [path for path in paths if not (ROOT / path).exists()] == []


def test_the_example_of_a_planted_bug_is_an_entry() -> None:
    """CONTRIBUTING shows an entry of mutants.toml as it is there."""
    example = (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8").split("```toml\n")[1].split("```")[0]
    assert example in (ROOT / "tests" / "mutants.toml").read_text(encoding="utf-8")


@pytest.mark.parametrize("path", sorted(ROOT.glob(".github/workflows/*.yml")), ids=lambda path: path.name)
def test_actions_are_pinned(path: Path) -> None:
    """Each action of others is pinned by its full commit hash, with the version beside it."""
    used = re.findall(r"uses: (?!\$/)(.*)", path.read_text(encoding="utf-8"))
    assert used
    assert [action for action in used if not re.fullmatch(r"[\w./-]+@[0-9a-f]{40} # v\d+\.\d+\.\d+", action)] == []


def test_the_reference_of_the_python_api_is_in_date() -> None:
    """`python docs/make_api.py` writes the page that is there, which has every public name."""
    written = (ROOT / "docs" / "api.md").read_text(encoding="utf-8")
    done = subprocess.run(
        [sys.executable, "-c", "import make_api; print(make_api.page(), end='')"],
        cwd=ROOT / "docs",
        capture_output=True,
        text=True,
        encoding="utf-8",
        check=True,
    )
    assert done.stdout == written
    names = {name.removesuffix("_async") for name in [*openai_batch.__all__, "map"]} - {"__version__"}
    assert {name for name in names if f"`{name}`" not in written} == set()
